package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// statusRules are the sentences of the contract that say what a program can see.
func statusRules() []rule {
	return []rule{
		{number: 10, words: "Status counts what came, went out and was handled, and how old the rest is", run: statusCounts},
		{number: 10, words: "hooks hear of states, reconnects, logins, saves and what came", run: hooksHear},
		{number: 10, words: "the hook of limits hears of a limit", run: hooksLimit},
	}
}

func statusCounts(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithAck(sfstream.AckManual))
	if c := l.Client.Status().Channels[0]; c.State != sfstream.StateLive || c.Received != 0 || c.Lag != 0 || !c.LastDate.IsZero() || c.LastReplayID != nil {
		t.Errorf("before any event: %+v", c)
	}
	sent := l.PublishOrders(1, 2, 3, 4)
	date := time.Now().Truncate(time.Millisecond)
	l.Pass(time.Minute)
	first, second := l.Receive(), l.Receive()
	second.Ack()
	c := l.Client.Status().Channels[0]
	if c.Received != 4 || c.Delivered != 2 || c.Handled != 1 || c.Pending != 2 || c.Unacked != 1 || c.OldestUnacked != first {
		t.Errorf("%+v", c)
	}
	if string(c.LastReplayID) != string(sent[3].ReplayID) || c.LastDate.Sub(date).Abs() > time.Second || (c.Lag-time.Minute).Abs() > 2*time.Second {
		t.Errorf("last %x of %v, want %x of %v; lag %v, want a minute", c.LastReplayID, c.LastDate, sent[3].ReplayID, date, c.Lag)
	}
	first.Ack()
	l.Receive().Ack()
	l.Receive().Ack()
	if c := l.Client.Status().Channels[0]; c.Lag != 0 || c.Handled != 4 {
		t.Errorf("when all is handled: %+v", c)
	}
	l.Stop()
}

// heard is what hooks were told.
type heard struct {
	mu     sync.Mutex
	states []string
	downs  []sfstream.Reconnect
	logins []sfstream.LoginEvent
	saved  []string
	raw    []string
	limits []*sfstream.ServerError
}

func (h *heard) hooks() sfstream.Hooks {
	locked := func(do func()) { h.mu.Lock(); defer h.mu.Unlock(); do() }
	return sfstream.Hooks{
		OnState: func(channel string, s sfstream.State, err error) {
			locked(func() { h.states = append(h.states, fmt.Sprintf("%s %s %t", channel, s, err != nil)) })
		},
		OnReconnect: func(r sfstream.Reconnect) { locked(func() { h.downs = append(h.downs, r) }) },
		OnLogin:     func(e sfstream.LoginEvent) { locked(func() { h.logins = append(h.logins, e) }) },
		OnSaved: func(key replaystore.Key, m replaystore.Marker) {
			locked(func() { h.saved = append(h.saved, key.Channel+" "+string(m.ReplayID)) })
		},
		OnLimit: func(e *sfstream.ServerError) { locked(func() { h.limits = append(h.limits, e) }) },
		OnRaw: func(channel string, raw []byte) {
			locked(func() { h.raw = append(h.raw, channel+" "+string(raw)) })
		},
	}
}

func hooksHear(t *testing.T) {
	l := lab.New(t)
	h := new(heard)
	l.Follow(sfstream.WithHooks(h.hooks()))
	sent := l.PublishOrders(1)
	l.Expect(1)
	l.Pass(time.Second)
	l.FailLogin(1, "503")
	l.ExpireToken()
	l.Outage(time.Minute, func() { l.PublishOrders(2) })
	l.Expect(2)
	l.Stop()

	h.mu.Lock()
	defer h.mu.Unlock()
	for _, want := range []string{"opening false", "live false", "waiting true", "ended false"} {
		if !slices.Contains(h.states, lab.Orders+" "+want) {
			t.Errorf("no state %q in %q", want, h.states)
		}
	}
	for i := 1; i < len(h.states); i++ {
		if h.states[i] == h.states[i-1] {
			t.Errorf("the same state twice: %q", h.states)
		}
	}
	if len(h.downs) == 0 || h.downs[0].Channel != lab.Orders || h.downs[0].Down < time.Minute || h.downs[0].Err == nil {
		t.Errorf("reconnects %+v", h.downs)
	}
	good := 0
	for _, e := range h.logins {
		if e.LoginURL != l.LoginURL() || (e.Err == nil) != (e.OrgID == l.Account().OrgID) {
			t.Errorf("login %+v", e)
		}
		if e.Err == nil {
			good++
		}
	}
	if good != 2 || len(h.logins) != 3 {
		t.Errorf("logins %+v", h.logins)
	}
	if !slices.Contains(h.saved, lab.Orders+" "+string(sent[0].ReplayID)) {
		t.Errorf("saved %q", h.saved)
	}
	if !slices.ContainsFunc(h.raw, func(raw string) bool { return hasEvent(t, raw, sent[0]) }) {
		t.Errorf("the event is not in %q", h.raw)
	}
}

// hasEvent reports whether a raw message or response holds an event.
func hasEvent(t *testing.T, raw string, e sfstreamtest.Event) bool {
	channel, text, _ := strings.Cut(raw, " ")
	if channel != lab.Orders {
		return false
	}
	if lab.TransportOf(t) == sfstream.CometD {
		var m struct {
			Data struct {
				Event struct{ ReplayID json.Number }
			}
		}
		return json.Unmarshal([]byte(text), &m) == nil && string(m.Data.Event.ReplayID) == string(e.ReplayID)
	}
	var response eventbus.FetchResponse
	if proto.Unmarshal([]byte(text), &response) != nil {
		return false
	}
	return slices.ContainsFunc(response.Events, func(c *eventbus.ConsumerEvent) bool { return string(c.ReplayId) == string(e.ReplayID) })
}

func hooksLimit(t *testing.T) {
	l := lab.New(t)
	h := new(heard)
	l.Follow(sfstream.WithHooks(h.hooks()))
	l.Reject(lab.Orders, 1, "subscription.limit.exceeded")
	l.DropConnections()
	l.PublishOrders(1)
	l.Expect(1)
	l.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.limits) != 1 || h.limits[0].Code != sfstream.LimitExceeded || h.limits[0].Channel != lab.Orders {
		t.Errorf("%+v", h.limits)
	}
}
