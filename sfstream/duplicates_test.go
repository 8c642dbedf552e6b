package sfstream

import (
	"fmt"
	"testing"
)

func TestDuplicatesAreTheSameInAll(t *testing.T) {
	event := func(replayID, id string) *Message { return &Message{ReplayID: []byte(replayID), ID: id} }
	var d duplicates
	for range 2 {
		if d.seen(event("1", "a")) {
			t.Error("known before any reconnect")
		}
	}
	d.seen(event("", "nameless"))
	d.expect()
	for _, row := range []struct {
		m    *Message
		want bool
	}{
		{event("1", "a"), true},
		{event("1", "b"), false}, // an org that moved
		{event("2", "a"), false}, // an id that the publisher chose
		{event("", "a"), false},
		{event("", "nameless"), false},
		{event("1", ""), false},
		{event("1", "a"), true},
	} {
		if got := d.seen(row.m); got != row.want {
			t.Errorf("%s/%s: %v, want %v", row.m.ReplayID, row.m.ID, got, row.want)
		}
	}
	d.forget()
	d.expect()
	if d.seen(event("1", "a")) {
		t.Error("known after a fallback")
	}
}

func TestDuplicatesRememberAThousand(t *testing.T) {
	var d duplicates
	event := func(n int) *Message { return &Message{ReplayID: fmt.Append(nil, n), ID: "x"} }
	for n := range 2500 {
		d.seen(event(n))
	}
	d.expect()
	known := 0
	for n := 1400; n < 2500; n++ {
		if d.seen(event(n)) {
			known++
			if n < 1500 {
				t.Fatalf("number %d is known", n)
			}
		}
	}
	if known != remembered {
		t.Errorf("%d are known", known)
	}
	d.expect()
	if !d.seen(event(2499)) {
		t.Error("the last one is forgotten")
	}
	if cap(d.ring) > 2*remembered {
		t.Errorf("the memory has grown to %d", cap(d.ring))
	}
}
