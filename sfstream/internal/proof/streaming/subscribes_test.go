package streaming

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

func hangUp(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// The server does not take the disconnect of the session that was for it.
func TestSubscribeEndsWithItsContextWhateverTheGoodbyeTakes(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind != "handshake" {
				return hangUp(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.EndsWith(t, func(ctx context.Context) error { return c.Subscribe(ctx, "/topic/Lab") })
	})
}

// One reply has a wrong Date at the moment of Subscribe.
func TestOneWrongDateSkipsNothing(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		var event string
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			date := func(resp *http.Response, ahead time.Duration) *http.Response {
				resp.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
				return resp
			}
			switch {
			case kind == "unsubscribe":
				return date(scripted.OK(kind, msgs, ""), 0), nil
			case kind == "connect" && n == 2:
				<-time.After(5 * time.Second)
				event = scripted.Event("/topic/Lab", 7) // and lost with its connect
				<-time.After(5 * time.Second)
				return date(scripted.Failure(msgs[0], "403::Unknown client"), 0), nil
			case kind == "connect" && n == 1: // one node's clock, or a proxy's
				return date(scripted.OK(kind, msgs, ""), 3*time.Hour), nil
			case kind == "subscribe" && n == 3:
				return date(scripted.OK(kind, msgs, event), 0), nil
			case kind == "connect" && n > 2:
				resp, err := scripted.Hold(r)
				if err == nil {
					resp = date(scripted.OK(kind, msgs, ""), 0)
				}
				return resp, err
			}
			return date(scripted.OK(kind, msgs, ""), 0), nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/First"))
		<-time.After(time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		if got := lab.TakeReplayIDs(t, c, time.Minute); len(got) != 1 {
			t.Errorf("got %v, want [7], published after Subscribe", got)
		}
	})
}

// The server's error is 8 MB long.
func TestAHugeErrorIsCut(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "subscribe" {
				return scripted.Body(200, fmt.Sprintf(`[{"channel":"/meta/subscribe","id":%q,"successful":false,"error":"404::%s"}]`, msgs[0].ID, strings.Repeat("x", 8<<20))), nil
			}
			return nil, nil
		}
		log := new(lab.Log)
		c := s.Client(t, sfstream.WithLogger(log.Logger()))
		err := c.Subscribe(t.Context(), "/topic/Lab")
		if n := len(err.Error()); n > 10_000 || len(log.String()) > 100_000 {
			t.Errorf("an error of %d bytes, a log of %d", n, len(log.String()))
		}
	})
}

// A subscribe takes the server 22 s.
func TestASlowSubscribeStopsNoOtherChannel(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "subscribe" && strings.Contains(fmt.Sprint(msgs), "/topic/Slow") {
				select {
				case <-time.After(22 * time.Second):
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			}
			if kind == "connect" && n > 1 && s.Count("handshake") == 1 {
				return scripted.Hold(r)
			}
			if kind == "connect" && n > 2 {
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		err := c.Subscribe(t.Context(), "/topic/Slow", sfstream.From(sfstream.ReplayAll))
		if err != nil || s.Count("handshake") > 1 {
			t.Errorf("Subscribe: %v; %d handshakes; status of /topic/Lab %v", err, s.Count("handshake"), c.Status().Channels[0].State)
		}
	})
}

// What the server had queued of an unsubscribed channel comes in many small replies.
func TestLeftoversOfAnUnsubscribedChannelAreNotTheNewOnes(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		sent := 10
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if s.Count("handshake") > 1 { // a new session has no queue
				sent = max(sent, 20)
			}
			if kind == "connect" && n > 1 && s.Count("unsubscribe") > 0 && sent < 20 {
				<-time.After(time.Second)
				sent++
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", sent)), nil // old queue: 11 to 20, in small replies
			}
			if kind == "connect" && n > 1 && sent == 20 {
				sent++
				var all []string
				for i := 6; i <= 20; i++ { // then what the new subscription replays: after 5
					all = append(all, scripted.Event("/topic/Lab", i))
				}
				return scripted.OK(kind, msgs, strings.Join(all, ",")), nil
			}
			if kind == "connect" && n > 1 && sent < 20 {
				<-time.After(time.Second)
				return nil, nil
			}
			if kind == "connect" && n > 1 {
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Keep"))
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab", sfstream.From(sfstream.ReplayAfter([]byte("5")))))
		<-time.After(5 * time.Second)
		lab.Must(t, c.Unsubscribe(t.Context(), "/topic/Lab"))
		<-time.After(4 * time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab", sfstream.From(sfstream.ReplayAfter([]byte("5")))))
		got := lab.TakeReplayIDs(t, c, time.Minute)
		if len(got) == 0 || got[0] != "6" {
			t.Errorf("got %v, want 6 to 20 in order; %d handshakes", got, s.Count("handshake"))
		}
	})
}
