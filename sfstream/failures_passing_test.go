package sfstream_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// failingOrg answers connects with a failure from a moment on, for as long as it is
// told to: a reply without its braces, such as `"error":"500::x"`.
func failingOrg(failure func(since time.Duration) string) *scriptedOrg {
	s := &scriptedOrg{}
	var began time.Time
	s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
		if kind != "connect" || n == 1 {
			return nil, nil
		}
		if began.IsZero() {
			began = time.Now()
		}
		if said := failure(time.Since(began)); said != "" {
			return scriptedBody(200, fmt.Sprintf(`[{"channel":"/meta/connect","id":%q,"successful":false,%s"advice":{"reconnect":"none","interval":0}}]`, msgs[0].ID, said)), nil
		}
		return scriptedHold(r)
	}
	return s
}

// Salesforce says "none" beside what passes by itself. Nobody is given up for it.
func TestErrorsThatPassAreRetriedForEver(t *testing.T) {
	for _, said := range []string{`"error":"500::Internal error",`, `"error":"502::",`, `"error":"504::Gateway Timeout",`, `"error":"408::",`, `"error":"409::Conflict",`, "", `"error":"",`} {
		t.Run(said, func(t *testing.T) {
			inStreamingBubble(t, func(t *testing.T) {
				s := failingOrg(func(since time.Duration) string {
					if since > 24*time.Hour {
						return ""
					}
					return said + " "
				})
				c := s.client(t)
				must(t, c.Subscribe(t.Context(), "/topic/Lab"))
				<-time.After(12 * time.Hour)
				if n := s.count("handshake"); n < 12*60/2 || n > 12*60*4 || s.logins != 1 {
					t.Errorf("%d sessions in 12 hours, %d logins", n, s.logins)
				}
				<-time.After(13 * time.Hour)
				if ch := c.Status().Channels[0]; c.Err() != nil || ch.State != sfstream.StateLive {
					t.Errorf("%v, %+v", c.Err(), ch)
				}
			})
		})
	}
}

// An answer that nobody knows is believed when it has been the only one for ten
// minutes.
func TestUnknownWordsAreFinalAfterTenMinutesOfThem(t *testing.T) {
	for _, test := range []struct {
		name  string
		words func(since time.Duration) string
		final bool
	}{
		{"passes", func(since time.Duration) string {
			if since > 9*time.Minute {
				return ""
			}
			return "999::made up"
		}, false},
		{"stays", func(time.Duration) string { return "999::made up" }, true},
		{"says the request is bad", func(time.Duration) string { return "400::made up" }, true},
		{"changes", func(since time.Duration) string { return fmt.Sprint("999::made up ", int(since.Minutes()/4)) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Run("cometd", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := failingOrg(func(since time.Duration) string {
						if words := test.words(since); words != "" {
							return fmt.Sprintf(`"error":%q,`, words)
						}
						return ""
					})
					c := s.client(t)
					must(t, c.Subscribe(t.Context(), "/topic/Lab"))
					judgeUnknown(t, c, test.final, func() int { return s.count("handshake") })
				})
			})
			t.Run("pubsub", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					script := &scriptedStreams{answer: func(int, *eventbus.FetchRequest, int) (*eventbus.FetchResponse, error) {
						if words := test.words(time.Since(began)); words != "" {
							return nil, status.Error(codes.InvalidArgument, words)
						}
						return nil, nil
					}}
					c := newScene(t).client(script.option())
					must(t, c.Subscribe(t.Context(), orders))
					judgeUnknown(t, c, test.final, script.count)
				})
			})
		})
	}
}

func judgeUnknown(t *testing.T, c *sfstream.Client, final bool, attempts func() int) {
	t.Helper()
	<-time.After(9*time.Minute + 50*time.Second)
	if n := attempts(); c.Err() != nil || n < 5 || n > 60 {
		t.Errorf("%d attempts, %v", n, c.Err())
	}
	<-time.After(time.Hour)
	var server *sfstream.ServerError
	if err := c.Err(); errors.As(err, &server) != final {
		t.Errorf("the end is %v", err)
	}
}

// A stale id whose code is lost on the way, and whose text is another one than
// today's.
func TestAStaleIDInOtherWordsLeadsToThePolicyInTheEnd(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			gaps := 0
			script := &scriptedStreams{answer: func(_ int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
				switch {
				case req.ReplayPreset == eventbus.ReplayPreset_CUSTOM:
					return nil, status.Error(codes.InvalidArgument, "Replay position unknown")
				case sent == 0:
					return keepalive(9), nil
				}
				return nil, nil
			}}
			c := newScene(t).client(script.option(), sfstream.WithReplayFallback(sfstream.FallbackAll),
				sfstream.WithHooks(sfstream.Hooks{OnGap: func(sfstream.Gap) { gaps++ }}))
			must(t, c.Subscribe(t.Context(), orders, sfstream.From(sfstream.ReplayAfter([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}))))
			<-time.After(time.Hour)
			if ch := c.Status().Channels[0]; c.Err() != nil || gaps != 1 || ch.State != sfstream.StateLive {
				t.Errorf("%v, %d gaps, %+v", c.Err(), gaps, ch)
			}
		})
	})
}

// The org's REST API answers for the Streaming API where nothing may be asked.
func TestRESTErrorsOnTheStreamingAPI(t *testing.T) {
	for _, test := range []struct {
		kind, code, message string
		final               bool
		limits              int // at least
	}{
		{"connect", "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", true, 0},
		{"connect", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
		{"subscribe", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
		{"handshake", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
	} {
		t.Run(test.kind+" "+test.code, func(t *testing.T) {
			inStreamingBubble(t, func(t *testing.T) {
				s, limits := &scriptedOrg{}, 0
				s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
					switch {
					case kind == test.kind && n > 1:
						return scriptedBody(403, fmt.Sprintf(`[{"message":%q,"errorCode":%q}]`, test.message, test.code)), nil
					case kind == "connect" && s.count("handshake") == 1 && n == 2:
						return scriptedFailure(msgs[0], "403::Unknown client"), nil
					case kind == "connect":
						return scriptedHold(r)
					}
					return nil, nil
				}
				c := s.client(t, sfstream.WithHooks(sfstream.Hooks{OnLimit: func(e *sfstream.ServerError) { limits++ }}))
				must(t, c.Subscribe(t.Context(), "/topic/Lab"))
				<-time.After(time.Hour)
				if err := c.Err(); (err != nil) != test.final {
					t.Errorf("the end is %v", err)
				}
				if limits < test.limits || limits > 7 || s.logins != 1 {
					t.Errorf("%d limits in an hour, %d logins", limits, s.logins)
				}
				contains(t, fmt.Sprint(c.Status().Channels[0].LastError), test.code+": "+test.message)
			})
		})
	}
}

// A handshake that may not create a session has a dead token.
func TestCreateDeniedOnAHandshakeIsADeadToken(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		s := &scriptedOrg{}
		s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
			switch {
			case kind == "handshake" && r.Header.Get("Authorization") == "Bearer SECRET-1" && n > 1:
				return scriptedBody(200, fmt.Sprintf(`[{"channel":"/meta/handshake","id":%q,"successful":false,"error":"403:denied_by_security_policy:create_denied","advice":{"reconnect":"none"}}]`, msgs[0].ID)), nil
			case kind == "connect" && n == 2:
				return scriptedFailure(msgs[0], "403::Unknown client"), nil
			case kind == "connect" && n > 2:
				return scriptedHold(r)
			}
			return nil, nil
		}
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Minute)
		if ch := c.Status().Channels[0]; ch.State != sfstream.StateLive || s.logins != 2 || s.count("handshake") != 3 {
			t.Errorf("%d logins, %d handshakes, %+v", s.logins, s.count("handshake"), ch)
		}
	})
}
