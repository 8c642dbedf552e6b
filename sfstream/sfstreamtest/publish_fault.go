package sfstreamtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/peer"
)

// FailPublish fails the next n requests that publish over the Pub/Sub API on a channel ("": any),
// with a code, see the package documentation: calls of Publish, and requests on a stream, which
// ends with it. Nothing of the request is published. n < 0: all, until ClearFaults.
func (s *Server) FailPublish(channel string, n int, code string) {
	s.faults.add(fault{name: "FailPublish", at: atPublishRequest, channel: channel, left: n, code: code})
}

// LosePublish carries out the next n requests that publish over the Pub/Sub API on a channel ("":
// any), and cuts the connection of each in place of the answer. n < 0: all, until ClearFaults.
func (s *Server) LosePublish(channel string, n int) {
	s.faults.add(fault{name: "LosePublish", at: atPublishAnswer, channel: channel, left: n})
}

// DelayPublish carries out the next n requests that publish over the Pub/Sub API on a channel ("":
// any), and answers each after a delay. Further requests of a stream are carried out meanwhile. n <
// 0: all, until ClearFaults.
func (s *Server) DelayPublish(channel string, n int, delay time.Duration) {
	s.faults.add(fault{name: "DelayPublish", at: atPublishDelay, channel: channel, left: n, wait: delay})
}

// EndPublishStreams ends the open streams on which clients publish on a channel ("": all) with a
// code, see the package documentation; "" or "OK" ends them without an error. EndStreams leaves
// them alone.
func (s *Server) EndPublishStreams(channel, code string) {
	s.observe(channel, func(t *topic) {
		for st := range t.publishStreams {
			select {
			case st.end <- s.newFailure(code, t.name):
			default: // it is ending already
			}
		}
	})
}

// FailEvents refuses events that clients publish over the Pub/Sub API on a channel ("": any), each
// with an error of its own, as the rule says: it is given the event's id, "" if the client sent
// none, and its payload, and returns the text of the error, "" for none. See [EveryNth]. A further
// rule is asked where those before it refuse nothing; nil takes the rules of the channel back, or
// all. The rule is called from several goroutines.
func (s *Server) FailEvents(channel string, rule func(id string, payload []byte) string) {
	if rule == nil {
		s.eventRules.remove(channel)
		return
	}
	s.eventRules.add(eventRule{channel: channel, refuse: rule})
}

// EveryNth returns a rule for [Server.FailEvents] that refuses every n-th event with a text; none
// if n < 1. An event that is sent again counts again.
func EveryNth(n int, text string) func(id string, payload []byte) string {
	var seen atomic.Int64
	return func(string, []byte) string {
		if n < 1 || seen.Add(1)%int64(n) != 0 {
			return ""
		}
		return text
	}
}

// eventRule is a rule of FailEvents.
type eventRule struct {
	channel string
	refuse  func(id string, payload []byte) string
	every   int    // of EveryNth, where the control API asked for it
	text    string // likewise
}

// eventRules has the rules of FailEvents, oldest first. The zero value is empty.
type eventRules struct {
	mu   sync.Mutex
	list []eventRule
}

func (e *eventRules) add(rule eventRule) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(slices.Clip(e.list), rule)
}

func (e *eventRules) remove(channel string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := slices.Clone(e.list) // judge may read the old list at the same time
	e.list = slices.DeleteFunc(left, func(r eventRule) bool { return channel == "" || r.channel == channel })
}

// judge returns why an event is refused, "" if it is not.
func (e *eventRules) judge(channel, id string, payload []byte) string {
	e.mu.Lock()
	list := e.list
	e.mu.Unlock()
	for _, rule := range list {
		if rule.channel == "" || rule.channel == channel {
			if text := rule.refuse(id, payload); text != "" {
				return text
			}
		}
	}
	return ""
}

// requests returns the rules, each as the control request that would ask for it.
func (e *eventRules) requests() []faultRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []faultRequest
	for _, r := range e.list {
		list = append(list, faultRequest{Fault: "FailEvents", Channel: r.channel, N: &r.every, Text: r.text})
	}
	return list
}

// controlFailEvents is FailEvents with EveryNth.
func (s *Server) controlFailEvents(f faultRequest) error {
	if f.n() < 0 {
		return fmt.Errorf("n is %d: it is 0, or 1 for every event, 2 for every second one, and so on", f.n())
	}
	if f.n() == 0 {
		s.eventRules.remove(f.Channel)
		return nil
	}
	text := or(f.Text, "The event can't be published.")
	s.eventRules.add(eventRule{channel: f.Channel, refuse: EveryNth(f.n(), text), every: f.n(), text: text})
	return nil
}

// cutPeer cuts the connection on which a call came.
func cutPeer(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if at, ok := p.Addr.(peerAddr); ok {
			at.conn.cut()
		}
	}
}
