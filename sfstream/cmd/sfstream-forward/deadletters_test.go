package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

const notes = "/event/Note__e"

// publishNotes publishes a short note, one that the stream small never takes, and a short one.
func publishNotes(t *testing.T, org *sfstreamtest.Server) {
	t.Helper()
	err := org.DefineEvent(notes, `{"type": "record", "name": "Note__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Text__c", "type": ["null", "string"], "default": null}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", strings.Repeat("long ", 1000), "last"} {
		if _, err := org.Publish(notes, map[string]any{"Text__c": text}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatTheQueueNeverTakesIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	org := startOrg(t)
	for _, variable := range login(org) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	address, js := startNATS(t)
	small, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "small", Subjects: []string{"small"}, MaxMsgSize: 2000})
	if err != nil {
		t.Fatal(err)
	}
	publishNotes(t, org)
	dir := t.TempDir()
	args := []string{"-sink", "nats://" + address + "/small", "-replay", filepath.Join(dir, "replay.db"), "-from", "all"}

	status, _, stderr := printed(t, append(args, notes)...)
	if status != 1 || !strings.Contains(stderr, notes) || !strings.Contains(stderr, "-dead-letter") {
		t.Errorf("without -dead-letter: status %d, %s", status, stderr)
	}

	letters := filepath.Join(dir, "letters")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan int)
	var log bytes.Buffer
	go func() { ended <- run(ctx, append(args, "-dead-letter", letters, notes), new(bytes.Buffer), &log) }()
	for ctx.Err() == nil {
		if info, err := small.Info(ctx); err == nil && info.State.Msgs >= 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	waited := ctx.Err()
	cancel()
	if status := <-ended; status != 0 || waited != nil {
		t.Fatalf("status %d, %v: %s", status, waited, &log)
	}
	text, err := os.ReadFile(letters)
	if err != nil {
		t.Fatal(err)
	}
	var letter deadLetter
	if err := json.Unmarshal(text, &letter); err != nil { // there is one line
		t.Fatalf("%v: %s", err, text)
	}
	if letter.Channel != notes || letter.Reason == "" || letter.SchemaID == "" || len(letter.Raw) == 0 ||
		!strings.Contains(letter.ID, "|"+notes+"|") || !strings.Contains(string(letter.Value), "long long") {
		t.Errorf("%s", text)
	}
}

// full is a disk that is full after some bytes, and for one write.
type full struct {
	bytes.Buffer
	left int
}

func (f *full) Write(p []byte) (int, error) {
	if f.left < 0 || len(p) <= f.left {
		return f.Buffer.Write(p)
	}
	n, _ := f.Buffer.Write(p[:f.left])
	f.left = -1
	return n, syscall.ENOSPC
}

func TestALineThatIsHalfThereIsNotPartOfTheNext(t *testing.T) {
	records := []sink.Record{{Value: []byte(`{"n":1}`)}, {Value: []byte(`{"n":2}`)}}
	for left := range 16 {
		disk := &full{left: left}
		out := &printer{lines{w: disk}}
		if err := out.Send(t.Context(), records); err == nil {
			t.Fatal("a full disk is not told")
		}
		if err := out.Send(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		if text := "\n" + disk.String(); !strings.HasSuffix(text, "\n{\"n\":1}\n{\"n\":2}\n") || strings.Contains(text, "\n\n") {
			t.Errorf("after %d bytes: %q", left, text)
		}
	}
}

func TestDeadLettersGoOnBehindALineThatACrashHasCutOff(t *testing.T) {
	for text, want := range map[string]string{"": "{}\n", "{}\n": "{}\n{}\n", "{\"a": "{\"a\n{}\n"} {
		path := write(t, text)
		d, err := openDeadLetters(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.write([]byte("{}\n")); err != nil {
			t.Error(err)
		}
		if err := d.close(); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("%q has become %q", text, got)
		}
	}
}

// A container has no place for files: its dead letters go into its log.
func TestDeadLettersCanGoToAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0) // it does not wait for a writer
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	d, err := openDeadLetters(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.keep(t.Context(), sink.Record{ID: "1", Message: new(sfstream.Message)}, syscall.EINVAL); err != nil {
		t.Error(err)
	}
}
