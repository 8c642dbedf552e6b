package lab

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// Log keeps all log lines at all levels.
type Log struct {
	OnRecord func(slog.Record) // if set, called for each record

	mu    sync.Mutex
	text  bytes.Buffer
	warns []string
}

// Logger logs to the Log.
func (l *Log) Logger() *slog.Logger {
	return slog.New(&logHandler{slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}), l})
}

// Write keeps a line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count is how often a text was logged.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Warnings are the messages of the warnings and errors so far that contain a text.
func (l *Log) Warnings(containing string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.warns {
		if strings.Contains(w, containing) {
			found = append(found, w)
		}
	}
	return found
}

// logHandler writes a Log's text.
type logHandler struct {
	text slog.Handler
	log  *Log
}

func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.text.WithAttrs(attrs), h.log}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.text.WithGroup(name), h.log}
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.text.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.log.mu.Lock()
		h.log.warns = append(h.log.warns, r.Message)
		h.log.mu.Unlock()
	}
	if h.log.OnRecord != nil {
		h.log.OnRecord(r)
	}
	return err
}

// ExpectUnworried expects that nothing above Info was logged.
func (l *Lab) ExpectUnworried() {
	l.T.Helper()
	for line := range strings.Lines(l.Log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			l.T.Errorf("logged: %s", line)
		}
	}
}
