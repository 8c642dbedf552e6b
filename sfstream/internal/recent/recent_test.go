package recent

import (
	"fmt"
	"testing"
)

// received reports whether e was received before, and remembers it if not.
func received(r *Events, e Event) bool {
	if r.Seen(e) {
		return true
	}
	r.Remember(e)
	return false
}

func TestEventsAreTheSameInAll(t *testing.T) {
	event := func(replayID, id string) Event { return Event{ReplayID: []byte(replayID), ID: id} }
	var r Events
	for range 2 {
		if received(&r, event("1", "a")) {
			t.Error("known before any reconnect")
		}
	}
	received(&r, event("", "nameless"))
	r.Expect()
	for _, row := range []struct {
		e    Event
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
		if got := received(&r, row.e); got != row.want {
			t.Errorf("%s/%s: %v, want %v", row.e.ReplayID, row.e.ID, got, row.want)
		}
	}
	r.Forget()
	r.Expect()
	if received(&r, event("1", "a")) {
		t.Error("known after a fallback")
	}
}

func TestEventsAreTheSameInIdentity(t *testing.T) {
	var r Events
	r.Remember(Event{ReplayID: []byte("1"), Identity: 7})
	r.Expect()
	if r.Seen(Event{ReplayID: []byte("1"), Identity: 8}) || !r.Seen(Event{ReplayID: []byte("1"), Identity: 7}) {
		t.Error("the identity does not count")
	}
}

func TestAThousandEventsAreRemembered(t *testing.T) {
	var r Events
	event := func(n int) Event { return Event{ReplayID: fmt.Append(nil, n), ID: "x"} }
	for n := range 2500 {
		received(&r, event(n))
	}
	r.Expect()
	known := 0
	for n := 1400; n < 2500; n++ {
		if received(&r, event(n)) {
			known++
			if n < 1500 {
				t.Fatalf("number %d is known", n)
			}
		}
	}
	if known != Remembered {
		t.Errorf("%d are known", known)
	}
	r.Expect()
	if !received(&r, event(2499)) {
		t.Error("the last one is forgotten")
	}
	if cap(r.ring) > 2*Remembered {
		t.Errorf("the memory has grown to %d", cap(r.ring))
	}
}
