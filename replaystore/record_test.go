package replaystore_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// These bytes are in the files of users: the tests may get more cases, but no case may change.
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
		{"followed", "0206" + "0000000069572795" + "00000006" + "0000000069572796" + "00000000" + "37",
			replaystore.Marker{ReplayID: []byte("7"), Live: date, Followed: date.Add(time.Second - 6)}},
		{"a group", "0208" + "01" + "0000000069572795" + "00000006" + "00023130" + "0002" + "0000000000000001" + "fffffffffffffffe" + "39",
			replaystore.Marker{ReplayID: []byte("9"), Group: replaystore.Group{ReplayID: []byte("10"), Date: date, Handled: []uint64{1, 1<<64 - 2}}}},
		{"a group before the first id", "0208" + "00" + "00023130" + "0000",
			replaystore.Marker{Group: replaystore.Group{ReplayID: []byte("10")}}},
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
			if !bytes.Equal(got.ReplayID, want.ReplayID) || !got.Date.Equal(want.Date) || !got.Live.Equal(want.Live) || !got.Followed.Equal(want.Followed) ||
				got.Date.IsZero() != want.Date.IsZero() || got.Live.IsZero() != want.Live.IsZero() || got.Followed.IsZero() != want.Followed.IsZero() ||
				!bytes.Equal(got.Group.ReplayID, want.Group.ReplayID) || !got.Group.Date.Equal(want.Group.Date) || !slices.Equal(got.Group.Handled, want.Group.Handled) {
				t.Fatalf("decoded %+v, want %+v", got, want)
			}
		})
	}
}

func TestUnmarshalBinaryRefusesWhatIsNoMarker(t *testing.T) {
	for _, test := range []struct{ name, hex, text string }{
		{"nothing", "", "empty"},
		{"a newer version", "0300", "version 3"},
		{"a version 2 that says no more than version 1", "0200", "damaged"},
		{"a group in version 1", "0108", "damaged"},
		{"a group without its id", "0208" + "00" + "0000" + "0000", "cut off"},
		{"a group that is neither dated nor not", "0208" + "02" + "000137" + "0000", "cut off"},
		{"a group without its count", "0208" + "00" + "000137", "cut off"},
		{"a group with too few events", "0208" + "00" + "000137" + "0002" + "0000000000000001", "cut off"},
		{"a group with too many events", "0208" + "00" + "000137" + "1001" + strings.Repeat("0000000000000001", 4097), "cut off"},
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

func TestAGroupThatIsTooLargeIsAnError(t *testing.T) {
	marker := replaystore.Marker{Group: replaystore.Group{ReplayID: []byte("1"), Handled: make([]uint64, replaystore.MaxHandled)}}
	if b, err := marker.MarshalBinary(); err != nil || new(replaystore.Marker).UnmarshalBinary(b) != nil {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	marker.Group.Handled = append(marker.Group.Handled, 1)
	if _, err := marker.MarshalBinary(); err == nil || !strings.Contains(err.Error(), "4097") {
		t.Fatal(err)
	}
}

func FuzzRecord(f *testing.F) {
	for _, marker := range []replaystore.Marker{
		{},
		{ReplayID: []byte("1")},
		{ReplayID: []byte("1"), Date: time.Unix(1, 2), Live: time.Unix(-3, 4)},
		{ReplayID: []byte("1"), Followed: time.Unix(5, 6), Group: replaystore.Group{ReplayID: []byte("2"), Date: time.Unix(7, 8), Handled: []uint64{9, 10}}},
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
