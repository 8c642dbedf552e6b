package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// isProgram is the variable that makes the test binary the program.
const isProgram = "SFSTREAM_EXAMPLE_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(isProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestAServiceGetsTheUpdatesOfEachLead(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, "-count", "6")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALESFORCE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, isProgram+"=1", "GORACE=atexit_sleep_ms=0")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, &log)
	}
	var records []string
	for _, m := range regexp.MustCompile(`(?m)^salesforce\.lead\.updated  (00Q\w{15})  \w{18}\|/data/LeadChangeEvent\|\S+$`).FindAllSubmatch(out, -1) {
		records = append(records, string(m[1]))
	}
	want := []string{"00Q000000000000AAA", "00Q000000000000AAA", "00Q000000000001AAA", "00Q000000000001AAA", "00Q000000000002AAA", "00Q000000000002AAA"}
	if !slices.Equal(records[:min(6, len(records))], want) {
		t.Errorf("it got updates of %v: %s", records, out)
	}
}
