package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// journal is a slog.Handler for people: it writes notes. While it is held it keeps them back: a
// command that fails at its start says so in its error, and need not say it twice.
type journal struct {
	console *console
	level   slog.Level
	attrs   []slog.Attr
	kept    *kept
}

// kept are notes that are kept back. Journals of one console share it.
type kept struct {
	mu    sync.Mutex
	held  bool
	notes []string
}

func newJournal(c *console, level slog.Level) *journal {
	return &journal{console: c, level: level, kept: new(kept)}
}

// hold keeps notes back until release, unless all is to be told.
func (j *journal) hold() {
	j.kept.mu.Lock()
	defer j.kept.mu.Unlock()
	j.kept.held = j.level > slog.LevelDebug
}

// release writes what was kept back, and from now on each note at once.
func (j *journal) release() {
	j.kept.mu.Lock()
	defer j.kept.mu.Unlock()
	for _, text := range j.kept.notes {
		j.console.note(text)
	}
	j.kept.held, j.kept.notes = false, nil
}

// Enabled reports whether the level is to be told. The client logs at Error only what it ends with,
// and that is the error of the command.
func (j *journal) Enabled(_ context.Context, level slog.Level) bool {
	return level >= j.level && level < slog.LevelError
}

// Handle writes the time, the channel, the message, the other attributes, and of an error what has
// happened. A warning has the next step, too.
func (j *journal) Handle(_ context.Context, record slog.Record) error {
	var channel, failure, next string
	var others []string
	attrs := append([]slog.Attr(nil), j.attrs...)
	record.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	for _, a := range attrs {
		err, failed := a.Value.Any().(error)
		switch {
		case a.Key == "channel" && channel == "":
			channel = a.Value.String()
		case failed:
			failure, next = explain(err)
			if server, ok := errors.AsType[*sfstream.ServerError](err); ok && server.Code == sfstream.ReplayInvalid {
				next = "" // it is taken: a refused id that is logged has not ended anything
			}
		default:
			others = append(others, attribute(a)...)
		}
	}
	if channel != "" {
		failure = strings.TrimPrefix(failure, channel+": ")
	}
	text := concerning(channel, inWords.Replace(record.Message))
	if len(others) > 0 {
		text += " (" + strings.Join(others, ", ") + ")"
	}
	if failure != "" {
		text += ": " + failure
	}
	if record.Level >= slog.LevelWarn {
		text = "warning: " + text
		if next != "" {
			text += "; " + next
		}
	}
	text = record.Time.Local().Format(time.DateTime) + " " + text
	j.kept.mu.Lock()
	defer j.kept.mu.Unlock()
	if j.kept.held {
		j.kept.notes = append(j.kept.notes, text)
		return nil
	}
	j.console.note(text)
	return nil
}

// attribute returns an attribute in words; none for one that is false or says nothing to people.
func attribute(a slog.Attr) []string {
	name := strings.ReplaceAll(a.Key, "_", " ")
	switch value := a.Value.Resolve(); value.Kind() {
	case slog.KindBool:
		if !value.Bool() {
			return nil
		}
		return []string{name}
	case slog.KindTime:
		return []string{name + " " + value.Time().Local().Format(time.DateTime)}
	default:
		if text := value.String(); text != "" {
			return []string{name + " " + text}
		}
	}
	return nil
}

// WithAttrs returns a journal whose notes have attrs, too.
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *j
	with.attrs = append(append([]slog.Attr(nil), j.attrs...), attrs...)
	return &with
}

// WithGroup returns the journal: people need no groups.
func (j *journal) WithGroup(string) slog.Handler { return j }
