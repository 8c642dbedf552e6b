package streaming

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A channel that is not accepted yet stands first in the link. What the session is told is its
// answer, and not the end of the others.
func TestADeniedSessionEndsNoChannelThatWasAccepted(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			switch {
			case kind == "subscribe":
				var parts []string
				for _, m := range msgs {
					if m.Subscription == "/topic/Busy" {
						parts = append(parts, fmt.Sprintf(`{"channel":%q,"id":%q,"successful":false,"subscription":%q,"error":"503::Server is too busy."}`, m.Channel, m.ID, m.Subscription))
						continue
					}
					parts = append(parts, fmt.Sprintf(`{"channel":%q,"id":%q,"successful":true,"subscription":%q}`, m.Channel, m.ID, m.Subscription))
				}
				return scripted.Body(200, "["+strings.Join(parts, ",")+"]"), nil
			case kind == "connect" && n == 2:
				<-time.After(10 * time.Second)
				return scripted.Failure(msgs[0], "403::Unknown client"), nil
			case kind == "connect" && n > 2:
				return scripted.Hold(r)
			case kind == "handshake" && n == 2:
				return scripted.Body(200, fmt.Sprintf(`[{"channel":"/meta/handshake","id":%q,"successful":false,"error":"403::User not enabled for streaming","advice":{"reconnect":"none"}}]`, msgs[0].ID)), nil
			}
			return nil, nil
		}
		c := s.Client(t)
		go func() { _ = c.Subscribe(t.Context(), "/topic/Busy") }()
		<-time.After(time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Hour)
		if err := c.Err(); err != nil {
			t.Errorf("/topic/Lab was accepted and got no second chance: %v", err)
		}
	})
}

// A session of new events has received an event and holds it when it breaks. The event is misdated,
// and not skipped for that in the next session.
func TestAHeldEventIsNewWhateverItsDate(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		const ch = "/event/Lab__e"
		s := &scripted.Org{}
		misdated := `{"channel":"/event/Lab__e","data":{"schema":"x","payload":{"CreatedDate":"` + time.Now().Add(-2*time.Hour).UTC().Format("2006-01-02T15:04:05.000Z") + `"},"event":{"replayId":7}}}`
		after := ""
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			switch {
			case kind == "subscribe" && n == 2:
				<-time.After(5 * time.Second)
				return nil, errors.New("connection reset")
			case kind == "subscribe" && n == 3:
				after = string(msgs[0].Ext.Replay)
				return scripted.OK(kind, msgs, misdated), nil // it is retained
			case kind == "connect" && n == 2:
				<-time.After(3 * time.Second)
				return scripted.OK(kind, msgs, misdated), nil // while the subscribe is in flight
			case kind == "connect" && n > 2:
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), ch))
		<-time.After(time.Second)
		go func() { _ = c.Subscribe(t.Context(), "/topic/Other") }()
		if got := lab.TakeReplayIDs(t, c, time.Minute); len(got) != 1 {
			t.Errorf("got %v, want [7], which the client had received; subscribed again with %s", got, after)
		}
	})
}

// The reply to a subscribe is missing in a list of replies: the server may follow the channel.
func TestAMissingReplyIsALostOne(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		two := scripted.Event("/topic/Lab", 2) // an event keeps its date
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			switch {
			case kind == "connect" && n == 2:
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", 1)), nil
			case kind == "connect" && n == 3:
				return scripted.Failure(msgs[0], "403::Unknown client"), nil
			case kind == "subscribe" && n == 2:
				return scripted.Body(200, "[]"), nil // accepted, after 1
			case kind == "connect" && n == 4:
				return scripted.OK(kind, msgs, two), nil
			case kind == "subscribe" && n == 3 && s.Count("handshake") > 2:
				return scripted.OK(kind, msgs, two), nil // a new session: replay
			case kind == "connect" && n > 5:
				return scripted.Hold(r)
			}
			return nil, nil // subscribed already: success
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		got := lab.TakeReplayIDs(t, c, 10*time.Minute)
		if strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2; %d sessions, %d subscribes", got, s.Count("handshake"), s.Count("subscribe"))
		}
	})
}

// A server that sends a space each 15 s and never ends a reply.
type trickle struct{ stop <-chan struct{} }

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-b.stop:
		return 0, errors.New("stopped")
	case <-time.After(15 * time.Second):
		p[0] = ' '
		return 1, nil
	}
}
func (trickle) Close() error { return nil }

func TestATrickleOfSpacesIsAnOutage(t *testing.T) {
	for _, where := range []string{"subscribe", "connect"} {
		t.Run(where, func(t *testing.T) {
			lab.InStreamingBubble(t, func(t *testing.T) {
				s := &scripted.Org{}
				s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
					if kind == where && n == 2 {
						resp := scripted.Body(200, "")
						resp.Body, resp.ContentLength = trickle{r.Context().Done()}, -1
						return resp, nil
					}
					if kind == "connect" && n > 1 {
						return scripted.Hold(r)
					}
					return nil, nil
				}
				c := s.Client(t, sfstream.WithReconnectTimeout(5*time.Minute))
				lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
				<-time.After(time.Second)
				if where == "subscribe" {
					go func() { _ = c.Subscribe(t.Context(), "/topic/Other") }()
				}
				<-time.After(24 * time.Hour)
				if n := s.Count("handshake"); n < 2 {
					t.Errorf("a day of spaces on a %s: still the same session, state %v", where, c.Status().Channels[0].State)
				}
			})
		})
	}
}
