package oneline

import (
	"errors"
	"io"
	"testing"
)

func TestATextIsOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "one two": "one two", "one\r\n\ttwo\x1b[31m\u2028three\u0085four": "one two [31m three four",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestJoinedErrorsAreFoundAgain(t *testing.T) {
	if err := Join(nil, nil); err != nil {
		t.Errorf("nothing is %v", err)
	}
	if err := Join(nil, io.EOF); err != io.EOF {
		t.Errorf("one is %v", err)
	}
	err := Join(io.EOF, nil, io.ErrUnexpectedEOF)
	if !errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "EOF; unexpected EOF" {
		t.Errorf("%v", err)
	}
}
