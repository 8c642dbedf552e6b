package sfstream_test

import (
	"net/http"
	"testing"
	"time"
)

// A load balancer without stickiness: each session brings an event with its first
// connect, and is unknown to the next one.
func TestAServerThatForgetsEachSessionIsNotStormed(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		s := &scriptedOrg{}
		s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
			if kind == "connect" && n%2 == 1 {
				return scriptedOK(kind, msgs, scriptedEvent("/topic/Lab", 1)), nil // the same one each time
			}
			if kind == "connect" {
				return scriptedFailure(msgs[0], "403::Unknown client"), nil
			}
			return nil, nil
		}
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		if n := s.count("handshake"); n > 60 {
			t.Errorf("%d handshakes in a minute, with one event in all", n)
		}
	})
}

// A server answers each connect at once, and has nothing to say.
func TestAServerThatHoldsNoConnectIsNotStormed(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		s := &scriptedOrg{}
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		if n := s.count("connect"); n > 600 {
			t.Errorf("%d connects in a minute, all empty", n)
		}
	})
}
