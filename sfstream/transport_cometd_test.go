package sfstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

// script is the other end of a session's two connections: the test answers each request when it
// likes.
type script struct {
	t        *testing.T
	requests map[string]chan chan string // by meta channel
	session  session
	inbox    *inbox.Inbox[Message]
	subs     map[string]*subscription
	changed  chan struct{}
	ended    chan struct{} // receive has ended
	cancel   context.CancelFunc

	mu  sync.Mutex
	got []string
}

// newScript opens a session that follows /topic/A, up to its first held connect.
func newScript(t *testing.T) *script {
	s := &script{t: t, inbox: gateInbox(t, AckAuto, 1000), requests: make(map[string]chan chan string), subs: make(map[string]*subscription), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	for _, channel := range []string{"handshake", "connect", "subscribe", "unsubscribe", "disconnect"} {
		s.requests["/meta/"+channel] = make(chan chan string, 10)
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(t.Context())
	transport := &cometd{client: &http.Client{Transport: s}, version: &apiVersion{configured: "60.0"}}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		var err error
		s.session, err = transport.open(ctx, &authenticator.Credentials{AccessToken: "t", InstanceURL: "https://acme.example"}, []request{s.want("/topic/A")})
		if err != nil {
			t.Error(err)
		}
	}()
	s.answer("/meta/handshake", `{"channel":"/meta/handshake","clientId":"c","successful":true}`)
	<-opened
	go s.receive() // ends with the session, or in close
	s.answer("/meta/subscribe", accepted("/topic/A"))
	s.answer("/meta/connect", connected)
	s.expect("accepted /topic/A")
	return s
}

func (s *script) want(channel string) request {
	sub := &s.inbox.Channel(channel, replaystore.Key{API: apiCometD, Channel: channel}).Credit
	s.subs[channel] = sub
	return request{sub: sub}
}

const connected = `{"channel":"/meta/connect","successful":true,"advice":{"timeout":110000,"interval":0,"reconnect":"retry"}}`

func accepted(channel string) string {
	return fmt.Sprintf(`{"channel":"/meta/subscribe","subscription":%q,"successful":true}`, channel)
}

// events are some of a channel, by replay id.
func events(channel string, ids ...int) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, `{"channel":%q,"data":{"event":{"replayId":%d},"sobject":{}}},`, channel, id)
	}
	return b.String()
}

// RoundTrip waits for the test's answer.
func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	var messages []struct{ Channel string }
	if err := json.NewDecoder(req.Body).Decode(&messages); err != nil {
		return nil, err
	}
	reply := make(chan string, 1)
	s.requests[messages[0].Channel] <- reply
	select {
	case text := <-reply:
		if text == "" {
			return nil, errors.New("connection reset")
		}
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(strings.NewReader("[" + text + "]")), Header: http.Header{}, Request: req}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// answer answers the request that waits on a meta channel; "" resets the connection.
func (s *script) answer(channel, text string) {
	s.t.Helper()
	synctest.Wait()
	select {
	case reply := <-s.requests[channel]:
		reply <- text
	default:
		s.t.Fatalf("no request waits on %s", channel)
	}
	synctest.Wait()
}

// receive is the link: it takes what comes, at once.
func (s *script) receive() {
	defer close(s.ended)
	for {
		b, err := s.session.recv(s.changed)
		s.mu.Lock()
		switch {
		case err != nil:
			s.got = append(s.got, "end")
		case b.kind == batchAccepted:
			s.got = append(s.got, "accepted "+b.sub.Name)
		case b.kind == batchRefused:
			s.got = append(s.got, "refused "+b.sub.Name)
		}
		for _, m := range b.messages {
			s.got = append(s.got, b.sub.Name+" "+string(m.ReplayID))
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// expect compares all that came since the last time.
func (s *script) expect(want ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.got, want) {
		s.t.Errorf("got %q, want %q", s.got, want)
	}
	s.got = nil
}

func (s *script) close() {
	done := make(chan struct{})
	go func() { defer close(done); s.session.close() }()
	synctest.Wait()
	for len(s.requests["/meta/disconnect"]) > 0 {
		s.answer("/meta/disconnect", `{"channel":"/meta/disconnect","successful":true}`)
	}
	<-done
	s.cancel()
	<-s.ended
}

// Events of any channel may come with the reply to a call, and that may come late or never.
func TestNothingOvertakesTheReplyToACall(t *testing.T) {
	for name, test := range map[string]func(s *script){
		"the reply comes late, with older events": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/connect", events("/topic/A", 5, 6)+connected)
			s.expect()
			s.answer("/meta/subscribe", events("/topic/A", 3, 4)+accepted("/topic/B"))
			s.expect("accepted /topic/B") // a connect is under way again: it may bring some of before
			s.answer("/meta/connect", events("/topic/A", 7)+connected)
			s.expect("/topic/A 3", "/topic/A 4", "/topic/A 5", "/topic/A 6", "/topic/A 7")
		},
		"the reply comes late, without events": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/connect", events("/topic/A", 5, 6)+connected)
			s.answer("/meta/subscribe", accepted("/topic/B"))
			s.expect("accepted /topic/B", "/topic/A 5", "/topic/A 6")
		},
		"the reply never comes": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/connect", events("/topic/A", 5, 6)+connected)
			s.answer("/meta/subscribe", "")
			s.expect("end") // 5 and 6 come again, after what was lost
		},
		"the connect comes late, with older events": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", events("/topic/A", 5, 6)+accepted("/topic/B"))
			s.expect("accepted /topic/B")
			s.answer("/meta/connect", events("/topic/A", 3, 4)+connected)
			s.expect("/topic/A 3", "/topic/A 4", "/topic/A 5", "/topic/A 6")
		},
		"the connect is lost": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", events("/topic/A", 5, 6)+accepted("/topic/B"))
			s.answer("/meta/connect", "")
			s.expect("accepted /topic/B", "end")
		},
		"the connect does not end": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", events("/topic/A", 5, 6)+accepted("/topic/B"))
			s.expect("accepted /topic/B")
			<-time.After(overtakeTime) // 3 and 4 may be on the way, or lost with the connect
			s.expect("end")
		},
		"the connect is held, and the events are of the new channel": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", events("/topic/B", 5, 6)+accepted("/topic/B"))
			s.expect("accepted /topic/B")
			<-time.After(overtakeTime)
			s.expect("/topic/B 5", "/topic/B 6")
			s.answer("/meta/connect", events("/topic/A", 7)+connected)
			s.expect("/topic/A 7")
		},
		"two calls after one another": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", events("/topic/A", 5)+accepted("/topic/B"))
			s.session.update([]request{s.want("/topic/C")}, nil)
			s.answer("/meta/connect", events("/topic/A", 4)+connected)
			s.expect("accepted /topic/B")
			s.answer("/meta/subscribe", accepted("/topic/C"))
			s.expect("accepted /topic/C", "/topic/A 4", "/topic/A 5")
		},
		"an unsubscribe": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", accepted("/topic/B"))
			s.expect("accepted /topic/B")
			s.session.update(nil, []*subscription{s.subs["/topic/B"]})
			s.answer("/meta/connect", events("/topic/A", 5)+events("/topic/B", 1)+connected)
			s.expect()
			s.answer("/meta/unsubscribe", events("/topic/A", 4)+`{"channel":"/meta/unsubscribe","subscription":"/topic/B","successful":true}`)
			s.answer("/meta/connect", connected)
			s.expect("/topic/A 4", "/topic/A 5")
		},
		"a channel that comes back too soon needs a new session": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", accepted("/topic/B"))
			s.expect("accepted /topic/B")
			s.session.update(nil, []*subscription{s.subs["/topic/B"]})
			s.answer("/meta/unsubscribe", `{"channel":"/meta/unsubscribe","subscription":"/topic/B","successful":true}`)
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.expect("end")
		},
		"a channel that comes back later does not": func(s *script) {
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", accepted("/topic/B"))
			s.session.update(nil, []*subscription{s.subs["/topic/B"]})
			s.answer("/meta/unsubscribe", `{"channel":"/meta/unsubscribe","subscription":"/topic/B","successful":true}`)
			s.answer("/meta/connect", connected)
			s.answer("/meta/connect", connected)
			s.session.update([]request{s.want("/topic/B")}, nil)
			s.answer("/meta/subscribe", accepted("/topic/B"))
			s.expect("accepted /topic/B", "accepted /topic/B")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t)
				test(s)
				s.close()
			})
		})
	}
}
