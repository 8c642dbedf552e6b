package streaming

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A Save is under way and hangs when the channel is unsubscribed and subscribed again.
func TestSubscribeResumesAtWhatIsBeingSaved(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		l := lab.NewStreaming(t)
		l.Start()
		l.Subscribe(lab.Topic)
		l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		l.Pass(time.Second)
		l.Store.BeforeSave(lab.Hang)
		l.PublishNumbers(lab.Topic, 2, 3)
		l.Expect(2, 3)
		l.Pass(time.Second) // the Save is under way
		t.Logf("Unsubscribe: %v", l.Client.Unsubscribe(t.Context(), lab.Topic))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		l.Must(l.Client.Subscribe(ctx, lab.Topic))
		l.Store.BeforeSave(nil)
		l.PublishNumbers(lab.Topic, 4)
		l.Expect(4)
		synctest.Wait()
	})
}

// idleSpy knows whether it was told to close idle connections.
type idleSpy struct {
	*scripted.Org
	closed bool
}

func (s *idleSpy) CloseIdleConnections() { s.closed = true }

// The user's transport is told.
func TestCloseClosesIdleConnections(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &idleSpy{Org: &scripted.Org{}}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "connect" && n > 1 {
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t, sfstream.WithHTTPClient(&http.Client{Transport: s}))
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		lab.Must(t, c.Close())
		if !s.closed {
			t.Error("Close has not closed the idle connections: cometd.close does nothing")
		}
	})
}

// A proxy's error page shows the request's headers.
func TestATokenThatAServerEchoesIsNotPrinted(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		for _, how := range []string{"page", "reply"} {
			s := &scripted.Org{}
			s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
				echo := "Authorization: " + r.Header.Get("Authorization")
				if kind != "subscribe" {
					return nil, nil
				}
				if how == "page" {
					return scripted.Body(502, "<html>bad gateway\n"+echo), nil
				}
				return scripted.Failure(msgs[0], "404::no such thing for "+echo), nil
			}
			log := new(lab.Log)
			c := s.Client(t, sfstream.WithLogger(log.Logger()))
			err := c.Subscribe(t.Context(), "/topic/Lab")
			if strings.Contains(fmt.Sprint(err), "SECRET-") {
				t.Errorf("%s: the error has the token: %v", how, err)
			}
			if strings.Contains(log.String(), "SECRET-") {
				t.Errorf("%s: the log has the token", how)
			}
			lab.Must(t, c.Close())
		}
	})
}

// A connect is answered with an interval of a day.
func TestAdviceOfADaysPauseIsAnOutage(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "connect" && n == 2 {
				return scripted.OK(kind, nil, fmt.Sprintf(`{"channel":"/meta/connect","id":%q,"successful":true,"advice":{"interval":86400000,"reconnect":"retry"}}`, msgs[0].ID)), nil
			}
			if kind == "connect" && n > 2 {
				return scripted.Hold(r)
			}
			return nil, nil
		}
		log := new(lab.Log)
		c := s.Client(t, sfstream.WithLogger(log.Logger()))
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(12 * time.Hour)
		if n := s.Count("connect"); n < 3 {
			t.Errorf("%d connects in 12 h, state %v, Err %v", n, c.Status().Channels[0].State, c.Err())
		}
	})
}

// It would end each connect before it is sent.
func TestAdviceOfANegativeTimeoutIsNoAdvice(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		came := 0
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "handshake" {
				return scripted.OK(kind, nil, fmt.Sprintf(`{"channel":"/meta/handshake","clientId":"x","id":%q,"successful":true,"advice":{"interval":0,"timeout":-100000}}`, msgs[0].ID)), nil
			}
			if kind == "connect" {
				came++
				<-time.After(time.Second)
				if err := r.Context().Err(); err != nil {
					return nil, err
				}
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", came)), nil
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Hour)
		if n := c.Pending(); n == 0 {
			t.Errorf("nothing has come in an hour, %d handshakes: %v", s.Count("handshake"), c.Status().Channels[0].LastError)
		}
	})
}

// A 503 with a Retry-After of eleven days, or Unknown client with such an interval.
func TestALongRetryAfterIsCut(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		for _, how := range []string{"header", "advice"} {
			s := &scripted.Org{}
			s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
				if kind == "connect" && n == 2 {
					if how == "advice" {
						return scripted.Body(200, fmt.Sprintf(`[{"channel":"/meta/connect","id":%q,"successful":false,"error":"403::Unknown client","advice":{"reconnect":"handshake","interval":1e11}}]`, msgs[0].ID)), nil
					}
					resp := scripted.Body(503, "busy")
					resp.Header.Set("Retry-After", "1000000")
					return resp, nil
				}
				if kind == "connect" && n > 3 {
					return scripted.Hold(r)
				}
				return nil, nil
			}
			c := s.Client(t)
			lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
			<-time.After(10 * 24 * time.Hour)
			if n := s.Count("handshake"); n < 2 {
				t.Errorf("%s: no new session in ten days, Err %v", how, c.Err())
			}
			lab.Must(t, c.Close())
		}
	})
}
