package cluster

import (
	"errors"
	"testing"
	"time"
)

// A replica that others prune is not put back by one that has not noticed yet, and comes back by
// itself when it moves.
func TestMembersComeAndGo(t *testing.T) {
	cfg, err := newConfig([]Option{WithName("me")})
	if err != nil {
		t.Fatal(err)
	}
	m := newMembers(&cfg, "00D000000000001EAA", "1", nil)
	now := time.Now()
	other := func(counter uint64) []member {
		return []member{{Name: "other", Incarnation: "2", Counter: counter, LeaseMS: 20_000}}
	}
	for i, step := range []struct {
		after   time.Duration
		list    []member
		present bool
	}{
		{0, other(1), true},
		{19 * time.Second, other(1), true}, // its lease is the longer one
		{time.Second, other(1), false},
		{time.Second, nil, false},
		{time.Second, other(1), false}, // somebody has put it back
		{time.Second, other(2), true},
		{time.Second, nil, false}, // it has left
	} {
		now = now.Add(step.after)
		m.observe(step.list, now)
		if present := len(m.present(now)) == 1; present != step.present {
			t.Errorf("step %d: present %v", i, present)
		}
	}
	m.observe(nil, now.Add(time.Hour))
	if len(m.others) != 0 {
		t.Error("who has left is remembered for ever")
	}
}

// A list of a newer release is told from a damaged one.
func TestAListOfAnotherVersionIsRefused(t *testing.T) {
	for text, newer := range map[string]bool{
		`{"version":2,"members":[]}`: true, `{"version":9,"members":{}}`: true,
		`{"version":1,"members":[{"name":"a"},5]}`: false, `{}`: false, `[]`: false, ``: false,
	} {
		if _, err := decodeMembers([]byte(text)); err == nil || errors.Is(err, errNewer) != newer {
			t.Errorf("%q: %v", text, err)
		}
	}
}
