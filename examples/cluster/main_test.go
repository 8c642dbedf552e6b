package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// isProgram is the variable that makes the test binary the program, and its replicas too.
const isProgram = "SFSTREAM_EXAMPLE_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(isProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestAnotherReplicaGoesOnWhereTheLeaderWasKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), isProgram+"=1", "GORACE=atexit_sleep_ms=0")
	var log bytes.Buffer
	cmd.Stderr = &log
	text, err := cmd.Output()
	out := string(text)
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, &log)
	}
	killed := regexp.MustCompile(`kill -9 (\w+),`).FindStringSubmatch(out)
	leaders := regexp.MustCompile(`(\w+): leading`).FindAllStringSubmatch(out, -1)
	if killed == nil || len(leaders) != 2 || leaders[0][1] != killed[1] || leaders[1][1] == killed[1] {
		t.Errorf("the leaders were %v, and killed was %v: %s", leaders, killed, out)
	}
	pause := regexp.MustCompile(`all 100 orders are handled, \d+ of them twice; the longest pause was (\S+) s`).FindStringSubmatch(out)
	if pause == nil {
		t.Fatalf("not all orders are handled: %s", out)
	}
	if seconds, err := strconv.ParseFloat(pause[1], 64); err != nil || seconds < 1 || seconds > 5 {
		t.Errorf("the pause was %s: %s", pause[1], out)
	}
	if strings.Contains(log.String(), "panic") {
		t.Errorf("standard error has %s", &log)
	}
}
