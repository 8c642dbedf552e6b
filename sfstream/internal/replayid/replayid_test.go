package replayid_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

func TestTextIsDigitsOrHex(t *testing.T) {
	for id, want := range map[string]string{"": "", "42": "42", "0": "0", "\x00\x00\x01\xab": "000001ab", "4x": "3478"} {
		if got := replayid.Text([]byte(id)); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestNumbersAreComparedWithoutTheirZeros(t *testing.T) {
	for _, pair := range [][2]string{{"9", "10"}, {"7", "8"}, {"007", "8"}, {"99999999999999999999", "100000000000000000000"}} {
		a, b := []byte(pair[0]), []byte(pair[1])
		if replayid.Compare(a, b) >= 0 || replayid.Compare(b, a) <= 0 || !replayid.Before(a, b) || replayid.Before(b, a) {
			t.Errorf("%s is not before %s", a, b)
		}
	}
	if replayid.Compare([]byte("007"), []byte("7")) != 0 {
		t.Error("zeros count")
	}
}

func TestOnlyIDsOfOneFormHaveAnOrder(t *testing.T) {
	for _, pair := range [][2]string{{"", "1"}, {"1", ""}, {"\x00\x01", "\x00\x01"}, {"\x00\x01", "\x00\x00\x02"}, {"\x00\x02", "\x00\x01"}, {"9", "\x00\x01"}} {
		if replayid.Before([]byte(pair[0]), []byte(pair[1])) {
			t.Errorf("%q is before %q", pair[0], pair[1])
		}
	}
	if !replayid.Before([]byte("\x00\x01"), []byte("\x00\x02")) {
		t.Error("opaque ids of one length have no order")
	}
}

func TestEventsWithoutAnIDStayBehindTheOneBefore(t *testing.T) {
	id := func(event *string) []byte { return bytes.TrimRight([]byte(*event), "abc") }
	for events, want := range map[string]string{
		"": "", "9 10": "9 10", "10 9": "9 10", "10a 9a 10b 9b": "9a 9b 10a 10b", "10 a b 9 c": "9 c 10 a b", "a 10 9": "a 9 10",
	} {
		got := replayid.InOrder(strings.Fields(events), id)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", events, got, want)
		}
	}
}
