package replaystore_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// The bytes are in users' files: these tests may gain cases and never change one.
func TestMarkerEncodingIsFrozen(t *testing.T) {
	date := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	for _, test := range []struct {
		name, hex string
		marker    replaystore.Marker
	}{
		{"nothing", "0100", replaystore.Marker{}},
		{"an id", "0100" + "0102", replaystore.Marker{ReplayID: []byte{1, 2}}},
		{"a date", "0101" + "0000000069572795" + "00000006", replaystore.Marker{Date: date}},
		{"all", "0103" + "0000000069572795" + "00000006" + "ffffffffffffffff" + "3b9ac9ff" + "37",
			replaystore.Marker{ReplayID: []byte("7"), Date: date, Live: time.Unix(0, -1)}},
		{"a year beyond int64 nanoseconds", "0102" + "0000003afff4417f" + "00000000",
			replaystore.Marker{Live: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := test.marker.MarshalBinary()
			if err != nil || hex.EncodeToString(b) != test.hex {
				t.Fatalf("encoded as %x, %v; want %s", b, err, test.hex)
			}
			var got replaystore.Marker
			if err := got.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			clear(b)
			want := test.marker
			if !bytes.Equal(got.ReplayID, want.ReplayID) || !got.Date.Equal(want.Date) || !got.Live.Equal(want.Live) ||
				got.Date.IsZero() != want.Date.IsZero() || got.Live.IsZero() != want.Live.IsZero() {
				t.Fatalf("decoded %+v, want %+v", got, want)
			}
		})
	}
}

func TestUnmarshalBinaryRefusesWhatIsNoMarker(t *testing.T) {
	for _, test := range []struct{ name, hex, text string }{
		{"nothing", "", "empty"},
		{"a newer version", "0200", "version 2"},
		{"no flags", "01", "damaged"},
		{"unknown flags", "0104", "damaged"},
		{"half a time", "0101" + "00000000", "cut off"},
		{"a second time missing", "0103" + "0000000069572795" + "00000006", "cut off"},
		{"too many nanoseconds", "0101" + "0000000069572795" + "3b9aca00", "not a time"},
		{"a zero time that should have been left out", "0101" + "fffffff1886e0900" + "00000000", "not a time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data, _ := hex.DecodeString(test.hex)
			marker := replaystore.Marker{ReplayID: []byte("untouched")}
			err := marker.UnmarshalBinary(data)
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want one about %q", err, test.text)
			}
			if string(marker.ReplayID) != "untouched" {
				t.Fatalf("the marker became %+v", marker)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	for _, marker := range []replaystore.Marker{
		{},
		{ReplayID: []byte("1")},
		{ReplayID: []byte("1"), Date: time.Unix(1, 2), Live: time.Unix(-3, 4)},
	} {
		b, _ := marker.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var marker replaystore.Marker
		if marker.UnmarshalBinary(data) != nil {
			return
		}
		if again, err := marker.MarshalBinary(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("% x became %+v became % x, %v", data, marker, again, err)
		}
	})
}
