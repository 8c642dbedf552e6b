package lab

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// LogBuffer keeps all log lines at all levels.
type LogBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps a line.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was logged.
func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Count is how often a text was logged.
func (b *LogBuffer) Count(text string) int { return strings.Count(b.String(), text) }

// Logger logs to the buffer.
func (b *LogBuffer) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// WatchedLog keeps what is logged.
type WatchedLog struct {
	mu       sync.Mutex
	warns    []string
	OnRecord func(slog.Record) // if set, called for each record
}

// Enabled is true at all levels.
func (l *WatchedLog) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is the log itself.
func (l *WatchedLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup is the log itself.
func (l *WatchedLog) WithGroup(string) slog.Handler { return l }

// Handle keeps a record.
func (l *WatchedLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	if r.Level >= slog.LevelWarn {
		l.warns = append(l.warns, r.Message)
	}
	also := l.OnRecord
	l.mu.Unlock()
	if also != nil {
		also(r)
	}
	return nil
}

// Warnings are the warnings and errors so far that contain a text.
func (l *WatchedLog) Warnings(containing string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, w := range l.warns {
		if strings.Contains(w, containing) {
			found = append(found, w)
		}
	}
	return found
}
