package main

import (
	"bytes"
	"context"
)

// readInput returns what read reads, without the mark with which programs of Windows begin a file
// of UTF-8. Ctrl-C ends the wait for a terminal or a pipe that tells nothing; the read itself goes
// on until the program ends.
func readInput(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := read()
		done <- result{bytes.TrimPrefix(data, []byte("\ufeff")), err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
