package sfstreamtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// visit uses each part of an org whose values are random or dated, and returns all that it is told.
func visit(t *testing.T, r *rig) string {
	t.Helper()
	var told strings.Builder
	tell := func(v any) {
		text, err := json.Marshal(v)
		check(t, err)
		fmt.Fprintf(&told, "%s\n", text)
	}
	check(t, r.DefineObject("Account", accountFields()...))
	check(t, r.DefineMembers("/data/Sales__chn", sfstreamtest.Member{Channel: "/data/AccountChangeEvent", Enriched: []string{"Industry"}}))
	check(t, r.DefineGenericChannel("/u/notices"))
	check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accounts", Query: "SELECT Id, Phone, LastModifiedDate FROM Account"}))
	resp, reply := r.post(r.passwordForm())
	tell(resp.Header.Get("Date"))
	tell(reply)
	next, rotated := r.post(map[string][]string{"grant_type": {"refresh_token"}, "client_id": {r.Account().ConsumerKey}, "refresh_token": {r.Account().RefreshToken}})
	if next.StatusCode != http.StatusOK {
		t.Errorf("%v", rotated)
	}
	tell(rotated)
	b := r.shaken()
	tell(b.clientID)
	for _, channel := range []string{"/u/notices", "/topic/Accounts", "/data/Sales__chn", orders} {
		b.follow(channel, -1)
	}
	r.publish(3)
	_, err := r.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA", "001000000000002AAA"},
		Set: map[string]any{"Phone": "1"}})
	check(t, err)
	_, err = r.Push("/u/notices", "hello")
	check(t, err)
	_, err = r.PublishTopic("Accounts", "deleted", map[string]any{"Id": "001000000000001AAA"})
	check(t, err)
	events, _ := b.connect()
	if len(events) != 9 {
		t.Errorf("%d events", len(events))
	}
	for _, e := range events {
		tell(e.Data)
	}
	stream := recv(t, r.open(earliest(orders, 2)))
	tell(stream.RpcId)
	for _, e := range stream.Events {
		tell(e)
	}
	return told.String()
}

func TestASeedMakesAnOrgReproducible(t *testing.T) {
	told := func(pause time.Duration, opts ...sfstreamtest.Option) (text string) {
		bubble(t, func(t *testing.T, r *rig) {
			time.Sleep(pause)
			text = visit(t, r)
		}, append(opts, sfstreamtest.WithRefreshRotation())...)
		return text
	}
	first := told(0, sfstreamtest.WithSeed(7))
	if later := told(time.Hour, sfstreamtest.WithSeed(7)); later != first {
		t.Errorf("the same seed, an hour later:\n%s\nat first:\n%s", later, first)
	}
	if !strings.Contains(first, `Thu, 01 Jan 2026 00:00:00 GMT`) {
		t.Errorf("the clock does not begin where it should:\n%s", first)
	}
	for name, other := range map[string]string{"another seed": told(0, sfstreamtest.WithSeed(8)), "no seed": told(0)} {
		lines := strings.Split(other, "\n")
		if len(lines) < 15 {
			t.Fatalf("%s: %d lines", name, len(lines))
		}
		for line := range strings.Lines(first) {
			if line = strings.TrimSpace(line); !strings.Contains(line, "GMT") && line != "" && slices.Contains(lines, line) {
				t.Errorf("%s: the same line: %s", name, line)
			}
		}
	}
}

// TestASeedDoesNotRepeatIDsAfterARestart proves it for an org that continues a log.
func TestASeedDoesNotRepeatIDsAfterARestart(t *testing.T) {
	with := []sfstreamtest.Option{sfstreamtest.WithSeed(7), sfstreamtest.WithLog(filepath.Join(t.TempDir(), "org.log"))}
	var before, after []sfstreamtest.Event
	bubble(t, func(t *testing.T, r *rig) { before = r.publish(3) }, with...)
	bubble(t, func(t *testing.T, r *rig) {
		after = r.publish(3)
		if got := r.Retained(orders); len(got) != 6 {
			t.Errorf("%d events are retained", len(got))
		}
	}, with...)
	for i, e := range slices.Concat(before, after) {
		if want := time.Date(2026, 1, 1, 0, 0, i+1, 0, time.UTC); !e.Date.Equal(want) {
			t.Errorf("event %d is of %v, want %v", i, e.Date, want)
		}
	}
	for _, e := range after {
		if slices.ContainsFunc(before, func(old sfstreamtest.Event) bool { return old.ID == e.ID || bytes.Equal(old.ReplayID, e.ReplayID) }) {
			t.Errorf("%s comes again", e.ID)
		}
	}
}

// TestSessionsOfASeededOrgEnd proves that a clock that stands still does not keep tokens alive.
func TestSessionsOfASeededOrgEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.want(http.StatusOK, "GET", "/", "")
		time.Sleep(3 * time.Hour)
		r.want(http.StatusUnauthorized, "GET", "/", "")
	}, sfstreamtest.WithSeed(1))
}
