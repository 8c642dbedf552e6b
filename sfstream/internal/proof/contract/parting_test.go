package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// parting is the server's own end of a session.
const parting = `{"channel":"/meta/disconnect","clientId":"abc","successful":true,"advice":{"reconnect":"none"}}`

// partingOrg ends its first session by the reply to a request of a kind, the nth of them, after a
// time. Then it holds connects.
func partingOrg(kind string, nth int, after time.Duration, with string, alone bool) *scripted.Org {
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, k string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case k == kind && n == nth:
			select {
			case <-time.After(after):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			parts := []string{parting}
			if with != "" {
				parts = []string{with, parting}
			}
			if alone {
				return scripted.Body(200, "["+strings.Join(parts, ",")+"]"), nil
			}
			return scripted.OK(k, msgs, strings.Join(parts, ",")), nil
		case k == "connect" && n > 1:
			return scripted.Hold(r)
		}
		return nil, nil
	}
	return s
}

// partingRules prove what a client does when the server ends the session by a message of its own,
// alone or beside others, in any reply: what came with it is delivered, and a new session goes on,
// at once where the old one has lived or has brought something. Nobody is told of trouble.
func partingRules() []rule {
	rules := []rule{
		{number: 5, words: "a session after the server's disconnect goes on behind what that brought", run: partingPlace, only: sfstream.CometD},
		{number: 10, words: "a server that disconnects every session is not stormed", run: partingStorm, only: sfstream.CometD},
	}
	for _, test := range []partingTest{
		{"alone", "connect", 2, 20 * time.Second, "", true, 100 * time.Millisecond},
		{"beside a good reply", "connect", 2, 20 * time.Second, "", false, 100 * time.Millisecond},
		{"with an event", "connect", 2, time.Second, scripted.Event("/topic/Lab", 7), false, 100 * time.Millisecond},
		{"with an event and no reply", "connect", 2, time.Second, scripted.Event("/topic/Lab", 7), true, 100 * time.Millisecond},
		{"first connect", "connect", 1, 0, "", false, time.Second},
		{"with an event to the first connect", "connect", 1, 0, scripted.Event("/topic/Lab", 7), false, 100 * time.Millisecond},
		{"subscribe", "subscribe", 1, 0, "", false, time.Second},
		{"with an event to the subscribe", "subscribe", 1, 0, scripted.Event("/topic/Lab", 7), false, 100 * time.Millisecond},
		{"subscribe unanswered", "subscribe", 1, 0, "", true, time.Second},
		{"handshake", "handshake", 1, 0, "", false, time.Second},
	} {
		rules = append(rules, rule{number: 5, words: "the server's disconnect is no trouble, " + test.name, only: sfstream.CometD, run: test.run})
	}
	return rules
}

type partingTest struct {
	name  string
	kind  string
	nth   int
	after time.Duration
	with  string // an event
	alone bool
	most  time.Duration // until there is a new session
}

func (test partingTest) run(t *testing.T) {
	s := partingOrg(test.kind, test.nth, test.after, test.with, test.alone)
	inner, shaken, ended := s.Answer, []time.Time(nil), time.Time{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind == "handshake" {
			shaken = append(shaken, time.Now())
		}
		resp, err := inner(r, kind, n, msgs)
		if kind == test.kind && n == test.nth {
			ended = time.Now()
		}
		return resp, err
	}
	log := new(lab.Log)
	c := s.Client(t, sfstream.WithLogger(log.Logger()), sfstream.WithHooks(sfstream.Hooks{
		OnState: func(_ string, state sfstream.State, err error) {
			if err != nil {
				t.Errorf("%v: %v", state, err)
			}
		},
	}))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Minute)
	if len(shaken) != 2 || s.Count("disconnect") != 0 {
		t.Fatalf("%d sessions, %d goodbyes to a server that has ended the session", len(shaken), s.Count("disconnect"))
	}
	if wait := shaken[1].Sub(ended); wait > test.most {
		t.Errorf("a new session after %v", wait)
	}
	if ch := c.Status().Channels[0]; ch.State != sfstream.StateLive || ch.LastError != nil {
		t.Errorf("%+v", ch)
	}
	if said := log.String(); strings.Contains(said, "disconnected") {
		t.Error(said)
	}
	if got, want := lab.TakeReplayIDs(t, c, time.Second), strings.Fields(map[bool]string{true: "7"}[test.with != ""]); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// partingPlace: the event that came beside the disconnect is the place from which the next session
// goes on.
func partingPlace(t *testing.T) {
	s := partingOrg("connect", 2, time.Second, scripted.Event("/topic/Lab", 7), false)
	inner, asked := s.Answer, ""
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind == "subscribe" {
			asked = string(msgs[0].Ext.Replay)
		}
		return inner(r, kind, n, msgs)
	}
	c := s.Client(t)
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Minute)
	if want := `{"/topic/Lab":7}`; asked != want {
		t.Errorf("the second session asked for %s, want %s", asked, want)
	}
}

// partingStorm: the client does not storm a server that ends every session at once, and tells.
func partingStorm(t *testing.T) {
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind == "connect" {
			return scripted.OK(kind, msgs, parting), nil
		}
		return nil, nil
	}
	log := new(lab.Log)
	c := s.Client(t, sfstream.WithLogger(log.Logger()))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Hour)
	if n := s.Count("handshake"); n > 200 || n < 60 {
		t.Errorf("%d sessions in an hour", n)
	}
	if n := log.Count("level=INFO msg=disconnected"); n != 1 || c.Status().Channels[0].LastError == nil {
		t.Errorf("told %d times, LastError %v", n, c.Status().Channels[0].LastError)
	}
	if err := fmt.Sprint(c.Status().Channels[0].LastError); !strings.Contains(err, "the server has ended the session") {
		t.Error(err)
	}
}
