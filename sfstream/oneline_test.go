package sfstream

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestErrorsAreOneLine(t *testing.T) {
	cause := errors.New("one\r\n\ttwo\x1b[31m\u2028three\u0085four")
	for _, err := range []error{
		&ServerError{API: apiCometD, Message: cause.Error()}, &ServerError{API: apiPubSub, Channel: "/event/X__e", err: cause},
		&AuthError{LoginURL: "https://x", err: cause}, &AuthError{Channel: "/event/X__e", err: cause},
		&ReplayError{Channel: "/event/X__e", err: cause}, &DecodeError{Channel: "/event/X__e", err: cause},
		&StoreError{Op: "save", err: cause}, &StoreError{Op: "load", Channel: "/event/X__e", err: cause},
		&TimeoutError{Channel: "/event/X__e", err: cause}, join(cause, nil, io.EOF),
	} {
		if text := err.Error(); strings.ContainsFunc(text, breaks) {
			t.Errorf("%q", text)
		}
	}
}

func TestJoinedErrorsAreFoundAgain(t *testing.T) {
	if err := join(nil, nil); err != nil {
		t.Errorf("nothing is %v", err)
	}
	if err := join(nil, io.EOF); err != io.EOF {
		t.Errorf("one is %v", err)
	}
	err := join(io.EOF, nil, io.ErrUnexpectedEOF)
	if !errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "EOF; unexpected EOF" {
		t.Errorf("%v", err)
	}
}
