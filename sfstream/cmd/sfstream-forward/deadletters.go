package main

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// deadLetters is a file of events that the queue will never take, a line of JSON each.
type deadLetters struct {
	mu   sync.Mutex
	file *os.File
}

func openDeadLetters(path string) (*deadLetters, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mistaken("-dead-letter: %v", err)
	}
	return &deadLetters{file: file}, nil
}

// keep is for [sink.WithDeadLetter]: the line is on the disk when it returns.
func (d *deadLetters) keep(_ context.Context, r sink.Record, reason error) error {
	line, err := json.Marshal(struct {
		At                       time.Time
		ID, Channel, Key, Reason string
		Raw                      []byte
	}{time.Now().UTC(), r.ID, r.Channel, r.Key, reason.Error(), r.Message.Raw()})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return d.file.Sync()
}

func (d *deadLetters) close() error { return d.file.Close() }
