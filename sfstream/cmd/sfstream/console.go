package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// errReaderGone is why nothing can be written to standard output: its reader, such as head, has
// enough. That is no failure.
var errReaderGone = errors.New("the reader of the output has gone")

// pipe is standard output, whose reader may go.
type pipe struct{ io.Writer }

func (p pipe) Write(data []byte) (int, error) {
	n, err := p.Writer.Write(data)
	if errors.Is(err, syscall.EPIPE) {
		err = errReaderGone
	}
	return n, err
}

// console is what a command that runs for long shows: results on standard output, and for people
// notes, and below them a status line, on standard error. Both may be one terminal: then none of
// these is written into another.
type console struct {
	mu     sync.Mutex
	out    io.Writer
	err    io.Writer
	on     terminal // standard output
	below  terminal // standard error
	status string   // is shown; empty: none
}

func newConsole(stdout, stderr io.Writer) *console {
	return &console{out: stdout, err: stderr, on: terminalOf(stdout), below: terminalOf(stderr)}
}

// result writes a line to standard output.
func (c *console) result(line []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on.is {
		c.clearLocked()
	}
	_, err := c.out.Write(line)
	return err
}

// note writes lines to standard error.
func (c *console) note(lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
	for _, line := range lines {
		fmt.Fprintln(c.err, harmless(line))
	}
}

// show writes the status line over the one before. It does so only on a terminal. An empty text
// clears it.
func (c *console) show(status string) {
	if !c.below.rewrites() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
	if status != "" {
		io.WriteString(c.err, painter{{dim, harmless(status)}}.line(c.below))
		c.status = status
	}
}

// watch shows a status line once a second, on a terminal, until stop.
func (c *console) watch(status func() string) (stop func()) {
	if !c.below.rewrites() {
		return func() {}
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { // stop waits for it
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				c.show("")
				return
			case <-ticker.C:
				c.show(status())
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

func (c *console) clearLocked() {
	if c.status != "" {
		io.WriteString(c.err, "\r\x1b[K")
		c.status = ""
	}
}

// The pauses before a command tells what it waits for, for the first time and again.
const (
	firstPatience = 5 * time.Second
	morePatience  = 15 * time.Second
)

// patience tells what a command waits for, unless it has stopped waiting before firstPatience is
// over, and again from time to time. why returns the last failure, nil for none; it may itself be
// nil.
func (c *console) patience(what string, why func() error) (stop func()) {
	began, waits := time.Now(), make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { // stop waits for it
		for pause := firstPatience; ; pause = morePatience {
			select {
			case <-waits:
				return
			case <-time.After(pause):
			}
			text := fmt.Sprintf("sfstream: still trying to %s, for %s", what, time.Since(began).Round(time.Second))
			if why != nil && why() != nil {
				said, _ := explain(why())
				text += ": " + said + `; "sfstream doctor" looks for the cause`
			}
			c.note(text)
		}
	})
	return func() { close(waits); told.Wait() }
}
