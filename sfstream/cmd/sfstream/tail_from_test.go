package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

func TestWhereTailStarts(t *testing.T) {
	lyon := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 27, 22, 0, 0, 0, lyon)
	ago := func(d time.Duration) string { return sfstream.ReplaySince(now.Add(-d)).String() }
	at := func(year, month, day, hour, minute int) string {
		return sfstream.ReplaySince(time.Date(year, time.Month(month), day, hour, minute, 0, 0, lyon)).String()
	}
	const both, pubsub, streaming = "both", "pubsub", "streaming"
	for _, test := range []struct{ text, api, want string }{
		{"new", both, "new"}, {"-1", both, "new"}, {"all", both, "all"}, {"-2", both, "all"},
		{"1h", both, ago(time.Hour)}, {"90m", both, ago(90 * time.Minute)}, {"2d", both, ago(48 * time.Hour)},
		{"1d12h30m", both, ago(36*time.Hour + 30*time.Minute)}, {"0.5h", both, ago(30 * time.Minute)},
		{"2026-11-27", both, at(2026, 11, 27, 0, 0)}, {"2026-11-27T10:30", both, at(2026, 11, 27, 10, 30)},
		{"2026-11-27 10:30", both, at(2026, 11, 27, 10, 30)}, {"2026-11-27T10:30:00", both, at(2026, 11, 27, 10, 30)},
		{"2026-11-27T09:30:00Z", both, at(2026, 11, 27, 10, 30)}, {"2026-11-27T09:30:00.000Z", both, at(2026, 11, 27, 10, 30)},
		{"2026-11-27T22:04:00+01:00", both, at(2026, 11, 27, 22, 4)}, // a clock may be slow

		{"12907478", streaming, "after 12907478"}, {"0", streaming, "after 0"}, {"20261127", streaming, "after 20261127"},
		{"00000000000c4f3d60000", streaming, "error"}, {"0012907478", streaming, "error"}, {"99999999999999999999", streaming, "error"},
		{"0000000000c4f3d60000", streaming, "error"}, {"AAAAAADE89YAAA==", streaming, "error"},

		{"0000000000c4f3d60000", pubsub, "after 0000000000c4f3d60000"}, {"0000000000C4F3D6", pubsub, "after 0000000000c4f3d6"},
		{"00000000000451230000", pubsub, "after 00000000000451230000"}, {"0000000000045123", pubsub, "after 0000000000045123"}, // digits only, and hex
		{"AAAAAADE89YAAA==", pubsub, "after 0000000000c4f3d60000"}, {"AAAAAADE89Y=", pubsub, "after 0000000000c4f3d6"},
		{"12907478", pubsub, "after 0000000000c4f3d60000"}, {"20261127", pubsub, "after 00000000013529070000"},
		{"1234567890123456", pubsub, "after 000462d53c8abac00000"},
		{"0012907478", pubsub, "error"}, {"c4f3d6", pubsub, "error"}, {"00c4f3d6", pubsub, "error"}, {"99999999999999999999", pubsub, "error"},

		{"", both, "error"}, {"yesterday", both, "error"}, {"-1h", both, "error"}, {"+1h", both, "error"}, {"0d", both, "error"}, {"h", both, "error"},
		{"d", both, "error"}, {"-3", both, "error"}, {"2d-1h", both, "error"}, {"27.11.2026", both, "error"}, {"2026-11-31", both, "error"},
		{"2027-01-01", both, "error"}, {"2026-11-27T23:00", both, "error"}, {" 1h", both, "error"},
	} {
		for _, streams := range []bool{false, true} {
			if test.api == pubsub && streams || test.api == streaming && !streams {
				continue
			}
			got, err := parseStart(test.text, streams, now)
			said := got.replay.String()
			if err != nil {
				said = "error"
			}
			if said != test.want {
				t.Errorf("%q, streaming %v: %s (%v), want %s", test.text, streams, said, err, test.want)
			}
		}
	}
}

// A decimal is never taken for the bytes of an id in silence.
func TestANumberIsTold(t *testing.T) {
	if got, err := parseStart("12907478", false, time.Now()); err != nil || got.told() != "the replay id 0000000000c4f3d60000 by its number" {
		t.Errorf("%q, %v", got.told(), err)
	}
	if got, err := parseStart("12907478", true, time.Now()); err != nil || got.told() != "" {
		t.Errorf("%q, %v: over the Streaming API it is the id", got.told(), err)
	}
	_, err := parseStart("00129074", false, time.Now())
	if err == nil || !strings.Contains(err.Error(), "0000000000c4f3d60000") || !strings.Contains(err.Error(), "12907478") {
		t.Errorf("%v does not name both forms", err)
	}
}

// What is printed of an id is read as that id again, and nothing is both a time and an id.
func FuzzWhereTailStarts(f *testing.F) {
	for _, text := range []string{"new", "-1", "2d", "90m", "2026-11-27", "12907478", "0000000000c4f3d60000", "AAAAAADE89YAAA==", "0012", "1e9h", "2026-11-27T10:00:00Z"} {
		f.Add(text, true)
		f.Add(text, false)
	}
	now := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string, streaming bool) {
		got, err := parseStart(text, streaming, now)
		if err != nil {
			if got.id != nil && len(got.id) == 0 || got.replay != (sfstream.Replay{}) && len(got.id) > 0 {
				t.Errorf("%q: %v with an error", text, got)
			}
			return
		}
		if len(got.id) == 0 {
			if since, ok := strings.CutPrefix(got.replay.String(), "since "); ok {
				if at, err := time.Parse(time.RFC3339Nano, since); err != nil || at.After(now.Add(clockSlack)) {
					t.Errorf("%q is %s", text, got.replay)
				}
			}
			return
		}
		printed := strings.TrimPrefix(got.replay.String(), "after ")
		again, err := parseStart(printed, streaming, now)
		if err != nil || !bytes.Equal(again.id, got.id) {
			t.Errorf("%q is printed as %s, which is %x (%v), want %x", text, printed, again.id, err, got.id)
		}
		if streaming {
			return
		}
		if again, err := parseStart(base64.StdEncoding.EncodeToString(got.id), false, now); len(got.id) == 10 && got.id[0] == 0 && (err != nil || !bytes.Equal(again.id, got.id)) {
			t.Errorf("base64 of %s is %x (%v)", hex.EncodeToString(got.id), again.id, err)
		}
		if got.number && fmt.Sprint(text) != strings.TrimLeft(text, "0") && text != "0" {
			t.Errorf("%q is a number with zeros", text)
		}
	})
}
