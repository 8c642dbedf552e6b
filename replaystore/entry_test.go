package replaystore_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Processes of several releases read these bytes at once: no case may change.
func TestEntryEncodingIsFrozen(t *testing.T) {
	for _, test := range []struct {
		name, hex string
		entry     replaystore.Entry
	}{
		{"nothing", "01" + "0000000000000000" + "0000000000000000" + "0000" + "0000" + "0100", replaystore.Entry{}},
		{"all", "01" + "0000000000000007" + "00000002540be400" + "00026131" + "00017a" + "010038", replaystore.Entry{
			Owner: "a1", Incarnation: "z", Lease: 10 * time.Second, Counter: 7, Marker: replaystore.Marker{ReplayID: []byte("8")}}},
		{"released", "01" + "ffffffffffffffff" + "0000000000000001" + "0000" + "00017a" + "0100", replaystore.Entry{
			Incarnation: "z", Lease: 1, Counter: 1<<64 - 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := test.entry.MarshalBinary()
			if err != nil || hex.EncodeToString(b) != test.hex {
				t.Fatalf("encoded as %x, %v; want %s", b, err, test.hex)
			}
			var got replaystore.Entry
			if err := got.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			clear(b)
			if !reflect.DeepEqual(got, test.entry) {
				t.Fatalf("decoded %+v, want %+v", got, test.entry)
			}
		})
	}
}

func TestWhatIsNoEntryIsRefused(t *testing.T) {
	for _, test := range []struct{ name, hex, text string }{
		{"nothing", "", "0 bytes"},
		{"a newer version", "02", "version 2"},
		{"no lease", "01" + "0000000000000007", "9 bytes"},
		{"a negative lease", "01" + "0000000000000000" + "8000000000000000" + "0000" + "0000" + "0100", "negative"},
		{"half an owner", "01" + "0000000000000000" + "0000000000000000" + "000261", "cut off"},
		{"no incarnation", "01" + "0000000000000000" + "0000000000000000" + "0000", "cut off"},
		{"no marker", "01" + "0000000000000000" + "0000000000000000" + "0000" + "0000", "empty"},
		{"a marker of a newer version", "01" + "0000000000000000" + "0000000000000000" + "0000" + "0000" + "0300", "version 3"},
		{"too much", "01" + "0000000000000000" + "0000000000000000" + "0000" + "0000" + "0100" + strings.Repeat("00", 64<<10), "bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data, _ := hex.DecodeString(test.hex)
			entry := replaystore.Entry{Owner: "untouched"}
			if err := entry.UnmarshalBinary(data); err == nil || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want one about %q", err, test.text)
			}
			if entry.Owner != "untouched" {
				t.Fatalf("the entry became %+v", entry)
			}
		})
	}
}

func TestAnEntryThatIsTooLargeIsAnError(t *testing.T) {
	largest := replaystore.Entry{Owner: strings.Repeat("o", 255), Incarnation: strings.Repeat("i", 26), Marker: replaystore.Marker{
		ReplayID: make([]byte, 1024), Group: replaystore.Group{ReplayID: make([]byte, 1024), Handled: make([]uint64, replaystore.MaxHandled)}}}
	if b, err := largest.MarshalBinary(); err != nil || new(replaystore.Entry).UnmarshalBinary(b) != nil {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for name, entry := range map[string]replaystore.Entry{
		"65536 bytes is too long":                    {Owner: strings.Repeat("o", 1<<16)},
		"too large: a register takes 65536":          {Marker: replaystore.Marker{ReplayID: make([]byte, 64<<10)}},
		"a group of 4097 handled events":             {Marker: replaystore.Marker{Group: replaystore.Group{ReplayID: []byte("1"), Handled: make([]uint64, 4097)}}},
		"the lease of an entry is -1ns, it must not": {Lease: -1},
	} {
		if _, err := entry.MarshalBinary(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one about %q", err, name)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, entry := range []replaystore.Entry{
		{},
		{Owner: "a", Incarnation: "b", Lease: time.Second, Counter: 5, Marker: replaystore.Marker{ReplayID: []byte("1"), Date: time.Unix(1, 2)}},
	} {
		b, _ := entry.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var entry replaystore.Entry
		if entry.UnmarshalBinary(data) != nil {
			return
		}
		if again, err := entry.MarshalBinary(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("% x became %+v became % x, %v", data, entry, again, err)
		}
	})
}
