package main

import (
	"context"
	"io"
	"log/slog"
)

// newLog returns the log, each line of which is in the words of the command line.
func newLog(s *settings, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if s.verbose {
		options.Level = slog.LevelDebug
	}
	options.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
		switch err, failed := a.Value.Any().(error); {
		case failed:
			return slog.String(a.Key, inWords(err.Error()))
		case a.Value.Kind() == slog.KindDuration: // nanoseconds else, which nobody reads
			return slog.String(a.Key, a.Value.Duration().String())
		case a.Key == slog.MessageKey:
			return slog.String(a.Key, inWords(a.Value.String()))
		}
		return a
	}
	if s.logFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// noRedisLog drops what go-redis, which has one log for all of a program and writes no JSON, tells of
// connections: what becomes of them is told by those that use them.
type noRedisLog struct{}

func (noRedisLog) Printf(context.Context, string, ...any) {}
