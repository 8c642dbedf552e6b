package authenticator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const redacted = "[redacted]"

// hide returns what is shown of a secret: whether there is one.
func hide(secret string) string {
	if secret == "" {
		return ""
	}
	return redacted
}

// view is what a type that holds secrets shows of itself, the same in fmt, JSON and slog.
type view struct {
	name  string
	attrs []slog.Attr
}

func (v view) String() string {
	var b strings.Builder
	for i, a := range v.attrs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %q", a.Key, a.Value.String())
	}
	return "authenticator." + v.name + "{" + b.String() + "}"
}

func (v view) marshal() ([]byte, error) {
	m := make(map[string]string, len(v.attrs))
	for _, a := range v.attrs {
		m[a.Key] = a.Value.String()
	}
	return json.Marshal(m)
}

// opaque is embedded by the types that hold secrets and cannot be copied. Because it is empty it
// can have value receivers without copying a mutex, so that even a RefreshToken kept by value in
// another struct shows nothing.
type opaque struct{}

func (opaque) String() string               { return redacted }
func (opaque) GoString() string             { return redacted }
func (opaque) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (opaque) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (opaque) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// shortSecret is the length in bytes up to which redact leaves a secret alone: a password of three
// characters protects nothing, and replacing it would blot out every "key" or "a" of a text.
const shortSecret = 3

// redact replaces the secrets in s, also as HTML forms, URLs and %q escape them. net/http uses %q
// to quote a reply that it cannot parse.
func redact(s string, secrets []string) string {
	var known []string
	for _, secret := range secrets {
		if len(secret) > shortSecret {
			quoted := strconv.Quote(secret)
			known = append(known, secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1:len(quoted)-1])
		}
	}
	// The longest first: one secret may be the beginning of another, as a password is of password +
	// token.
	slices.SortFunc(known, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, k := range known {
		pairs = append(pairs, k, redacted)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// redactError returns err, or if its text holds a secret an error with a clean text, through which
// only [errors.Is] and [errors.As] see err.
func redactError(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := redact(text, secrets); clean != text {
		return &redactedError{clean, func(target error) bool { return errors.Is(err, target) },
			func(target any) bool { return errors.As(err, target) }}
	}
	return err
}

// redactedError keeps the original error in closures, where no formatting verb reaches it.
type redactedError struct {
	text string
	is   func(error) bool
	as   func(any) bool
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return e.is(target) }
func (e *redactedError) As(target any) bool   { return e.as(target) }
