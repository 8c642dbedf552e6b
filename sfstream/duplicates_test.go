package sfstream

import (
	"fmt"
	"testing"
)

// received reports whether m was received before, and remembers it if not.
func received(d *duplicates, m *Message) bool {
	if d.seen(m, 0) {
		return true
	}
	d.remember(m, 0)
	return false
}

func TestDuplicatesAreTheSameInAll(t *testing.T) {
	event := func(replayID, id string) *Message { return &Message{ReplayID: []byte(replayID), ID: id} }
	var d duplicates
	for range 2 {
		if received(&d, event("1", "a")) {
			t.Error("known before any reconnect")
		}
	}
	received(&d, event("", "nameless"))
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
		if got := received(&d, row.m); got != row.want {
			t.Errorf("%s/%s: %v, want %v", row.m.ReplayID, row.m.ID, got, row.want)
		}
	}
	d.forget()
	d.expect()
	if received(&d, event("1", "a")) {
		t.Error("known after a fallback")
	}
}

func TestDuplicatesAreTheSameInIdentity(t *testing.T) {
	var d duplicates
	m := &Message{ReplayID: []byte("1")}
	d.remember(m, 7)
	d.expect()
	if d.seen(m, 8) || !d.seen(m, 7) {
		t.Error("the identity does not count")
	}
}

func TestDuplicatesRememberAThousand(t *testing.T) {
	var d duplicates
	event := func(n int) *Message { return &Message{ReplayID: fmt.Append(nil, n), ID: "x"} }
	for n := range 2500 {
		received(&d, event(n))
	}
	d.expect()
	known := 0
	for n := 1400; n < 2500; n++ {
		if received(&d, event(n)) {
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
	if !received(&d, event(2499)) {
		t.Error("the last one is forgotten")
	}
	if cap(d.ring) > 2*remembered {
		t.Errorf("the memory has grown to %d", cap(d.ring))
	}
}
