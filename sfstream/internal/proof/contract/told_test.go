package contract

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// toldRules are what a program, or who runs it, is told.
func toldRules() []rule {
	rules := []rule{
		{number: 10, words: "endpoints are taken in the forms that people copy", run: endpointForms, only: sfstream.PubSub},
		{number: 10, words: "channel names with white space are refused", run: whiteSpace},
		{number: 10, words: "an unknown channel of the Streaming API gets its own advice", run: unknownStreaming, only: sfstream.CometD},
		{number: 10, words: "events under almost the name of their channel are told of once", run: almostTheName, only: sfstream.CometD},
		{number: 10, words: "a response over the size limit says so", run: oversizeResponse, only: sfstream.PubSub},
		{number: 10, words: "an outage is told once", run: outageOfStreams, only: sfstream.PubSub},
	}
	r := rule{number: 10, words: "an outage is told once, of the %s", only: sfstream.CometD}
	return append(rules, each(r, []string{"handshake", "subscribe", "connect"}, outageOfSessions)...)
}

func endpointForms(t *testing.T) {
	for endpoint, good := range map[string]bool{
		sfstream.EndpointGlobal: true, sfstream.EndpointEU: true, "api.pubsub.salesforce.com:7443": true,
		"https://api.pubsub.salesforce.com:7443": true, "https://api.pubsub.salesforce.com:7443/": true,
		"https://api.pubsub.salesforce.com": true, "https://api.pubsub.salesforce.com/": true, "http://127.0.0.1:7443/": true,
		"acme.my.salesforce.com:7443": false, "https://acme.my.salesforce.com": false, "https://ACME--x.sandbox.my.salesforce.com:443/": false,
		"login.salesforce.com:443": false, "https://acme.lightning.force.com": false, "https://host:7443/path": false, "http://host:80": false, "https://": false,
	} {
		_, err := sfstream.New(authenticator.Static{}, sfstream.WithPubSubEndpoint(endpoint))
		if (err == nil) != good || err != nil && !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", endpoint, err)
		}
		if err != nil && strings.Contains(endpoint, "my.salesforce") {
			lab.Contains(t, err.Error(), sfstream.EndpointGlobal)
		}
	}
}

func whiteSpace(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start()
	for _, channel := range []string{"/event/Order__e ", "/event/Lab Order__e", "/event/Order__e\n", "/data/Account\tChangeEvent", "/data/AccountChangeEvent\x00",
		"/event/Order__e\u00a0", "/topic/LabTopic\n", "/u/a\tb", "/u/a\x00b", "/topic/LabTopic?Name='a\nb'"} {
		if err := l.Client.Subscribe(t.Context(), channel); !errors.Is(err, sfstream.ErrInvalidOption) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", channel, err)
		}
	}
	if got := l.Client.Subscriptions(); len(got) > 0 {
		t.Errorf("subscriptions %q", got)
	}
	l.Must(l.Client.Subscribe(t.Context(), "/topic/LabTopic?Name='a b'")) // over the Streaming API, whatever the transport
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func unknownStreaming(t *testing.T) {
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind == "subscribe" {
			return scripted.Body(200, fmt.Sprintf(`[{"channel":"/meta/subscribe","id":%q,"successful":false,"error":"404::Unknown channel"}]`, msgs[0].ID)), nil
		}
		return nil, nil
	}
	c := s.Client(t)
	lab.Contains(t, c.Subscribe(t.Context(), "/topic/Nowhere").Error(), "PushTopic")
	lab.Contains(t, c.Subscribe(t.Context(), "/u/nowhere").Error(), "StreamingChannel")
	lab.Contains(t, c.Subscribe(t.Context(), "/event/Nowhere__e").Error(), "check the channel's spelling")
}

// outageOfStreams: one outage is one "disconnected", and one "connected again" when the server has
// really answered.
func outageOfStreams(t *testing.T) {
	var down atomic.Bool
	script := &scripted.Streams{Answer: func(n int, _ *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		switch {
		case down.Load() && sent == 0 && n%3 == 0:
			return scripted.Keepalive(1), nil // a server that greets and fails
		case down.Load():
			return nil, status.Error(codes.Unavailable, "down")
		}
		<-time.After(3 * time.Second)
		if down.Load() {
			return nil, status.Error(codes.Unavailable, "down")
		}
		return scripted.Keepalive(2), nil
	}}
	log := new(lab.Log)
	c := lab.New(t).StartFromOldest(script.Option(), sfstream.WithLogger(log.Logger()))
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	<-time.After(10 * time.Minute)
	outageIsToldOnce(t, log, &down, true)
}

func outageOfSessions(t *testing.T, kind string) {
	var down, polled atomic.Bool
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, k string, n int, msgs []scripted.Message) (*http.Response, error) {
		first := k == "connect" && !polled.Load()
		polled.Store(k == "connect" || polled.Load() && k != "handshake")
		if k != "connect" || first {
			if down.Load() && k == kind && !first {
				return scripted.Body(503, "busy"), nil
			}
			return nil, nil
		}
		for range 20 {
			if down.Load() {
				return scripted.Body(503, "busy"), nil
			}
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		return scripted.OK(k, msgs, ""), nil
	}
	log := new(lab.Log)
	c := s.Client(t, sfstream.WithLogger(log.Logger()))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(10 * time.Minute)
	outageIsToldOnce(t, log, &down, kind == "connect")
}

func outageIsToldOnce(t *testing.T, log *lab.Log, down *atomic.Bool, answers bool) {
	t.Helper()
	for round := 1; round <= 2; round++ {
		down.Store(true)
		<-time.After(time.Hour)
		if n := log.Count(`msg="connected again"`); n != round-1 && !answers {
			t.Errorf("connected again %d times while the server is down", n)
		}
		down.Store(false)
		<-time.After(time.Hour)
		if a, b := log.Count("level=INFO msg=disconnected"), log.Count(`msg="connected again"`); a != round || b != round {
			t.Errorf("after %d outages: disconnected %d times, connected again %d times", round, a, b)
		}
	}
}

func almostTheName(t *testing.T) {
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case kind == "connect" && n == 2:
			return scripted.OK(kind, msgs, scripted.Event("/topic/lab", 1)+","+scripted.Event("/topic/Lab/", 2)+","+scripted.Event("/topic/Else", 3)), nil
		case kind == "connect" && n == 3:
			return scripted.Failure(msgs[0], "403::Unknown client"), nil
		case kind == "connect" && n == 5:
			return scripted.OK(kind, msgs, scripted.Event("/topic/lab", 4)), nil
		case kind == "connect" && n > 5:
			return scripted.Hold(r)
		}
		return nil, nil
	}
	log := new(lab.Log)
	c := s.Client(t, sfstream.WithLogger(log.Logger()))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Minute)
	if n := log.Count("events come under another name"); n != 1 {
		t.Errorf("told %d times: %s", n, log)
	}
	lab.Contains(t, log.String(), "level=WARN", "channel=/topic/Lab", "events=/topic/Lab/")
}

// oversizeResponse: a response over grpc-go's own limit says nothing about the allocations that
// Salesforce limits.
func oversizeResponse(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 100)
	limits := 0
	c := s.StartFromOldest(sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithHooks(sfstream.Hooks{OnLimit: func(*sfstream.ServerError) { limits++ }}),
		sfstream.WithPubSubDialOptions(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(500))))
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	<-time.After(time.Minute)
	err := fmt.Sprint(c.Status().Channels[0].LastError)
	lab.Contains(t, err, "larger than max", "WithPubSubDialOptions", "3 MB")
	if strings.Contains(err, "allocations") || limits != 0 {
		t.Errorf("%d limits, %s", limits, err)
	}
	if m, err := c.Receive(t.Context()); err != nil || m.ID != "1" { // one at a time fits
		t.Errorf("%v, %v", m, err)
	}
}
