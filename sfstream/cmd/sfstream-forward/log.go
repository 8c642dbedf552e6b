package main

import (
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
