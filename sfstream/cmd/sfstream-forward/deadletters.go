package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// deadLetters is a file of events that the queue will never take, a line of JSON each.
type deadLetters struct {
	lines
	file *os.File
	sync bool // the file is on a disk: no pipe or terminal, such as /dev/stderr
}

// A deadLetter is a line of the file.
type deadLetter struct {
	At                       time.Time
	ID, Channel, Key, Reason string
	Value                    json.RawMessage `json:",omitempty"` // what the queue was to get, where that is JSON
	SchemaID                 string          `json:",omitempty"` // of Raw, if it is Avro
	Raw                      []byte          // as it came
}

func openDeadLetters(path string) (*deadLetters, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mistaken("-dead-letter: %v", err)
	}
	d := &deadLetters{lines: lines{w: file}, file: file}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		d.sync, d.torn = true, endsWithinLine(path)
	}
	return d, nil
}

// endsWithinLine tells of a file whose last line a crash has cut off.
func endsWithinLine(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false // it can only be written
	}
	defer file.Close()
	last := make([]byte, 1)
	if _, err := file.Seek(-1, io.SeekEnd); err != nil { // it is empty
		return false
	}
	n, _ := file.Read(last)
	return n == 1 && last[0] != '\n'
}

// keep is for [sink.WithDeadLetter]: the line is on the disk when it returns.
func (d *deadLetters) keep(_ context.Context, r sink.Record, reason error) error {
	letter := deadLetter{
		At: time.Now().UTC(), ID: r.ID, Channel: r.Channel, Key: r.Key, Reason: reason.Error(),
		SchemaID: r.Message.SchemaID, Raw: r.Message.Raw(),
	}
	if json.Valid(r.Value) {
		letter.Value = r.Value
	}
	line, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	if err := d.write(append(line, '\n')); err != nil || !d.sync {
		return err
	}
	return d.file.Sync()
}

func (d *deadLetters) close() error { return d.file.Close() }
