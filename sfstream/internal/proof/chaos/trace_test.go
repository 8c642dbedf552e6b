package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	traceKept    = 120 // lines before the first deviation that a failure prints
	traceMaxLine = 240
)

// chaosTrace is the timeline of a scenario.
type chaosTrace struct {
	start time.Time

	mu    sync.Mutex
	lines []string
	total int
}

func newTrace() *chaosTrace { return &chaosTrace{start: time.Now()} }

func (tr *chaosTrace) elapsed() time.Duration { return time.Since(tr.start) }

func (tr *chaosTrace) add(format string, args ...any) {
	line := fmt.Sprintf("%12s  %s", tr.elapsed().Round(time.Millisecond), fmt.Sprintf(format, args...))
	if len(line) > traceMaxLine {
		line = line[:traceMaxLine] + "…"
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.total++
	tr.lines = append(tr.lines, line)
	if len(tr.lines) >= 2*traceKept {
		tr.lines = append(tr.lines[:0], tr.lines[traceKept:]...)
	}
}

// String is the newest part.
func (tr *chaosTrace) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	lines := tr.lines[max(0, len(tr.lines)-traceKept):]
	return fmt.Sprintf("the last %d of %d lines:\n%s", len(lines), tr.total, strings.Join(lines, "\n"))
}

// traceLog is a client's log, as lines of the timeline.
type traceLog struct {
	trace *chaosTrace
	life  int
}

func (l traceLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l traceLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l traceLog) WithGroup(string) slog.Handler                    { return l }

func (l traceLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	l.trace.add("life %d  log %s: %s%s", l.life, r.Level, r.Message, &b)
	return nil
}
