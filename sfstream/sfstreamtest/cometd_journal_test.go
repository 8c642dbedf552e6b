package sfstreamtest_test

import (
	"path/filepath"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestTheLogKeepsTopicsAndGenericChannels(t *testing.T) {
	with := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "org.log"))
	var topics, pushes []sfstreamtest.Event
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		withTopics(t, r)
		for range 3 {
			topics = append(topics, publishTopic(t, r, map[string]any{"Id": "1"}))
			p, err := r.Push("/u/ops", "hello")
			check(t, err)
			pushes = append(pushes, p.Event)
		}
	}, with)
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		topics = append(topics, publishTopic(t, r, map[string]any{"Id": "2"}))
		events := b.follow(accounts, topics[0].Number)
		wantEvents(t, events, topics[1:]...)
		if got := sobjects(t, events)[0]; got != `updated {"Id":"1"}` {
			t.Errorf("got %s", got)
		}
		wantEvents(t, b.follow("/u/ops", -2), pushes...)
		check(t, r.RestartReplay(accounts, 3))
		check(t, r.Remove("/u/ops"))
	}, with)
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		if e := publishTopic(t, r, map[string]any{"Id": "3"}); e.Number != 3 {
			t.Errorf("number %d", e.Number)
		}
		if _, m := b.subscribe("/u/ops", nil); m.ok() {
			t.Error("a removed channel is there")
		}
	}, with)
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		if got := numbers(t, b.follow(accounts, -2)); len(got) != 1 || got[0] != 3 {
			t.Errorf("got %v", got)
		}
	}, with)
}
