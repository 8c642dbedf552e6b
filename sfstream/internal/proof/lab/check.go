package lab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Must fails the test if there is an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ExpectError fails the test unless the error is, or wraps, one of type E.
func ExpectError[E error](t *testing.T, err error) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error %v (%T), want a %T", err, err, want)
	}
	return want
}

// Contains fails the test unless a text contains all the parts.
func Contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	if missing := slices.DeleteFunc(parts, func(p string) bool { return strings.Contains(text, p) }); len(missing) > 0 {
		t.Errorf("%q does not contain %q", text, missing)
	}
}

// NewStop is a ctx that the test ends.
func NewStop(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// Within fails the test if do takes longer, by the bubble's clock.
func Within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > limit {
		t.Errorf("took %s, want at most %s", took, limit)
	}
}

// EndsWith runs a call with a ctx that ends after a second, and fails the test unless the call then
// ends with it.
func EndsWith(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	if took := time.Since(start); took < time.Second || took > time.Second+10*time.Millisecond {
		t.Errorf("took %s, want it to end with its ctx after 1s: %v", took, err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the ctx's error", err)
	}
}
