package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// publishResult is a line of the output.
type publishResult struct {
	Line     int    `json:"line"`
	ID       string `json:"id,omitempty"`
	ReplayID string `json:"replayId,omitempty"`
	Outcome  string `json:"outcome"`
	Error    string `json:"error,omitempty"`

	err error
}

func (r *publishResult) good() bool { return r.Outcome == "published" || r.Outcome == "valid" }

// publishResults prints what has become of lines, in their order, and counts it.
type publishResults struct {
	console *console
	flags   *publishFlags
	name    string // of the input
	began   time.Time

	mu        sync.Mutex
	good, bad int
	doubt     int // of bad: those that may be published
	unwritten error
}

// inFlight is how many lines may wait for their results. The publisher has its own bounds.
const inFlight = 10_000

// toldFailures is how many failures are told to people; the output tells all.
const toldFailures = 20

func newPublishResults(console *console, flags *publishFlags) *publishResults {
	name := flags.file
	if name == "-" {
		name = "standard input"
	}
	return &publishResults{console: console, flags: flags, name: name, began: time.Now()}
}

// run reads lines and sends them, and returns when the results of all are printed.
func (p *publishResults) run(ctx context.Context, file io.Reader, send func(<-chan publishLine, chan<- pendingResult) error) error {
	in := &publishInput{file: file, generic: strings.HasPrefix(p.flags.channel, "/u/"), keepIDs: p.flags.keepIDs, rate: p.flags.rate}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	lines, out := in.read(reading), make(chan pendingResult, inFlight)
	stopWatching := p.watch()
	var printing sync.WaitGroup
	printing.Go(func() { // it ends when out is closed, below
		for result := range out {
			p.print(result())
		}
	})
	err := send(lines, out)
	close(out)
	printing.Wait()
	stopWatching()
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = errInterrupted
	default: // lines is closed
		err = in.err
	}
	return p.summary(err)
}

// print prints a result. Publishing goes on where nobody reads the results.
func (p *publishResults) print(r publishResult) {
	if r.err != nil {
		r.Error = p.why(r.err)
	}
	line, err := plainJSON(r)
	if err == nil {
		err = p.console.result(append(line, '\n'))
	}
	p.mu.Lock()
	if err != nil && p.unwritten == nil && !errors.Is(err, errReaderGone) {
		p.unwritten = err
	}
	if r.good() {
		p.good++
	} else {
		p.bad++
	}
	if r.Outcome == "in doubt" {
		p.doubt++
	}
	tell := !r.good() && p.bad <= toldFailures
	more := !r.good() && p.bad == toldFailures
	p.mu.Unlock()
	if tell {
		p.console.note(fmt.Sprintf("sfstream: %s: line %d: %s: %s", p.name, r.Line, r.Outcome, r.Error))
	}
	if more {
		p.console.note("sfstream: further failures are told on standard output only")
	}
}

// why says an error of a line, without what is the same for all lines.
func (p *publishResults) why(err error) string {
	field := ""
	if bad, ok := errors.AsType[*avro.Error](err); ok { // of -dry-run
		field, err = bad.Field, bad.Err
	}
	what, _ := explain(err)
	return concerning(field, strings.TrimPrefix(what, p.flags.channel+": "))
}

// watch shows how far it is, once a second, until stop.
func (p *publishResults) watch() (stop func()) {
	before := 0
	return p.console.watch(func() string {
		p.mu.Lock()
		good, bad, doubt := p.good, p.bad, p.doubt
		p.mu.Unlock()
		status := fmt.Sprintf("%s, %s/s", p.counted(good, bad, doubt), thousands(int64(good+bad-before)))
		before = good + bad
		return status
	})
}

// counted says how many lines are what.
func (p *publishResults) counted(good, bad, doubt int) string {
	what := "published"
	if p.flags.dryRun {
		what = "valid"
	}
	text := events(count{printed: good}) + " " + what
	if bad > 0 {
		text += ", " + thousands(int64(bad)) + " not" + doubted(doubt)
	}
	return text
}

// doubted says how many of the lines that were not published may be published all the same.
func doubted(n int) string {
	if n == 0 {
		return ""
	}
	return " (" + thousands(int64(n)) + " in doubt)"
}

// summary says what was done, and returns the error of the command.
func (p *publishResults) summary(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console.note(fmt.Sprintf("sfstream: %s: %s in %s", p.flags.channel, p.counted(p.good, p.bad, p.doubt), time.Since(p.began).Round(time.Millisecond)))
	switch {
	case err == errInterrupted:
		return err
	case err != nil:
		return fmt.Errorf("%s: %w", p.name, err)
	case p.unwritten != nil:
		return fmt.Errorf("the results cannot be written: %w", p.unwritten)
	case p.bad > 0:
		return fmt.Errorf("%s: %s of %s lines were not %s%s", p.name, thousands(int64(p.bad)), thousands(int64(p.good+p.bad)),
			map[bool]string{true: "valid", false: "published"}[p.flags.dryRun], doubted(p.doubt))
	}
	return nil
}
