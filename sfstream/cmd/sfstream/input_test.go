package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestCtrlCEndsAReadOfStandardInput(t *testing.T) {
	nobody, writer, err := os.Pipe() // to which nobody writes
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	defer writer.Close()
	path := filepath.Join(t.TempDir(), "new.db")
	cmd := program(t, nil, "markers", path, "-import", "-")
	cmd.Stdin = nobody
	child := startProgram(t, cmd)
	// A pipe does not hold so much: when it is written the program reads.
	if _, err := writer.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer ended.Stop()
	_ = cmd.Wait() // the status is looked at below
	if status := cmd.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d, want 1; stderr %s", status, child.stderr)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file of markers was touched: %v", err)
	}
}

func TestMarkersThatWindowsWroteAreImported(t *testing.T) {
	dir := files(t, map[string]string{"markers.json": "\ufeff{\"/topic/A\": 12}"})
	path := filepath.Join(dir, "new.db")
	status, _, stderr := printed(t, "markers", path, "-import", filepath.Join(dir, "markers.json"), "-org", "00D000000000062EAA")
	if status != 0 || len(markersIn(t, path)) != 1 {
		t.Errorf("exit status %d, stderr %s", status, stderr)
	}
}
