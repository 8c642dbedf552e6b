package streaming

import (
	"net/http"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A load balancer without stickiness: each session brings an event with its first connect, and is
// unknown to the next one.
func TestAServerThatForgetsEachSessionIsNotStormed(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "connect" && n%2 == 1 {
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", 1)), nil // the same one each time
			}
			if kind == "connect" {
				return scripted.Failure(msgs[0], "403::Unknown client"), nil
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		if n := s.Count("handshake"); n > 60 {
			t.Errorf("%d handshakes in a minute, with one event in all", n)
		}
	})
}

// A server answers each connect at once, and has nothing to say.
func TestAServerThatHoldsNoConnectIsNotStormed(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		if n := s.Count("connect"); n > 600 {
			t.Errorf("%d connects in a minute, all empty", n)
		}
	})
}
