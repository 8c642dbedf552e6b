package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/health"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// prober asks a client's handler.
type prober struct {
	*lab.Lab
	handler http.Handler
}

func probe(l *lab.Lab, opts ...sfstream.CheckOption) *prober {
	h, err := health.New(l.Client.Status, opts...)
	l.Must(err)
	return &prober{l, h}
}

func get(h http.Handler, method, path, accept string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Accept", accept)
	h.ServeHTTP(w, r)
	return w
}

// expect wants a probe to be well where all parts are empty, else not to be, in words with them.
func (p *prober) expect(path string, parts ...string) {
	p.T.Helper()
	w := get(p.handler, "GET", path, "*/*")
	text, want := w.Body.String(), http.StatusOK
	if len(parts) > 0 {
		want = http.StatusServiceUnavailable
		lab.Contains(p.T, text, parts...)
	} else if text != "ok\n" {
		p.T.Errorf("%s: %s", path, text)
	}
	if w.Code != want {
		p.T.Errorf("%s: %d, want %d: %s", path, w.Code, want, text)
	}
	for _, secret := range []string{p.Account().Password, p.Account().SecurityToken, p.Account().ConsumerSecret} {
		if strings.Contains(text, secret) {
			p.T.Errorf("a secret is in %s", text)
		}
	}
}

// bothAPIs runs a test over each API.
func bothAPIs(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	for _, api := range []string{"pubsub", "cometd"} {
		t.Run(api, func(t *testing.T) { // lab takes the API from the name of a test
			t.Run("bubble", func(t *testing.T) { synctest.Test(t, run) })
		})
	}
}

func TestAQuietChannelIsWell(t *testing.T) {
	bothAPIs(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow()
		p := probe(l)
		for range 80 {
			l.Pass(time.Hour)
			p.expect("/livez")
			p.expect("/readyz")
		}
	})
}

func TestAStandbyIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		c := l.NewClient()
		p := probe(l)
		p.expect("/livez")
		p.expect("/readyz", "client: not open")
		l.Must(c.Open(t.Context()))
		l.Pass(100 * time.Hour)
		p.expect("/livez")
		p.expect("/readyz")
		l.Must(c.Close())
		p.expect("/livez")
		p.expect("/readyz", "client: closed, since")
	})
}

func TestAnOutageIsNoReasonToRestart(t *testing.T) {
	bothAPIs(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow()
		p := probe(l)
		l.Refuse(true)
		l.DropConnections()
		l.Pass(9 * time.Minute)
		p.expect("/livez")
		p.expect("/readyz")
		l.Pass(2 * time.Minute)
		p.expect("/readyz", lab.Orders+": disconnected for 1", ", since 2000-01-01T00:", "Unavailable")
		for range 8 {
			l.Pass(5 * time.Hour)
			p.expect("/livez")
		}
		p.expect("/readyz", "disconnected for 40h", "its marker is 40h", "keeps events for 72h0m0s")
		l.Refuse(false)
		l.Pass(10 * time.Minute)
		p.expect("/readyz")
	})
}

// A server that takes connections and says nothing is an outage, however often a stream opens.
func TestASilentServerIsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow()
		p := probe(l)
		l.SilenceKeepalive(true)
		l.Pass(20 * time.Minute)
		for range 10 {
			l.Pass(time.Minute)
			p.expect("/readyz", "disconnected for", "not even a keepalive")
			p.expect("/livez")
		}
		l.SilenceKeepalive(false)
		l.Pass(10 * time.Minute)
		p.expect("/readyz")
	})
}

func TestADenialIsToldAtOnce(t *testing.T) {
	bothAPIs(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow()
		p := probe(l)
		l.Revoke(lab.Orders)
		l.Pass(2 * time.Minute)
		p.expect("/readyz", lab.Orders+": refused for ", ", since 2000-01-01T00:", "PermissionDenied", "give the user Read on the event")
		p.expect("/livez")
		l.Pass(15 * time.Minute)
		p.expect("/livez", lab.Orders+": the client has stopped, since 2000-01-01T00:1", "PermissionDenied")
		p.expect("/readyz", lab.Orders+": the client has stopped, since 2000-01-01T00:1", "PermissionDenied")
	})
}

func TestAFailingStoreIsNotReady(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("the disk is full") }, "hangs": lab.Hang,
		"does not return": func(context.Context) error { time.Sleep(4 * time.Minute); return errors.New("late") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				l.Follow()
				p := probe(l)
				l.Store.BeforeSave(fail)
				l.PublishOrders(1)
				l.Expect(1)
				p.expect("/readyz")
				l.Pass(2 * time.Minute)
				p.expect("/readyz", "client: no marker was saved for ", "replay store: save")
				p.expect("/livez")
				l.Store.BeforeSave(nil)
				l.Pass(4 * time.Minute)
				p.expect("/readyz")
			})
		})
	}
}

func TestASlowConsumerIsWell(t *testing.T) {
	bothAPIs(t, func(t *testing.T) {
		l := lab.New(t)
		c := l.Follow(sfstream.WithPrefetch(3))
		p, strict := probe(l), probe(l, sfstream.WithMaxLag(time.Hour))
		l.PublishOrders(lab.Numbers(1, 10)...)
		for m := range c.Messages(t.Context()) {
			for range 3 {
				l.Pass(time.Hour)
				p.expect("/livez")
				p.expect("/readyz")
				strict.expect("/livez")
			}
			strict.expect("/readyz", lab.Orders+": the oldest unhandled event is ")
			if c.Status().Channels[0].State != sfstream.StateParked {
				t.Errorf("%+v", c.Status().Channels[0])
			}
			if m.Ack(); l.Number(m) == 5 {
				break
			}
		}
		l.Pass(40 * time.Hour)
		p.expect("/livez")
		p.expect("/readyz", lab.Orders+": its marker is ")
	})
}

// A hook that does not return stops a link for good: nothing but a restart helps.
func TestAStuckConnectionIsNotAlive(t *testing.T) {
	bothAPIs(t, func(t *testing.T) {
		l := lab.New(t)
		release := make(chan struct{})
		l.Follow(sfstream.WithHooks(sfstream.Hooks{OnState: func(_ string, s sfstream.State, _ error) {
			if s == sfstream.StateWaiting {
				<-release
			}
		}}))
		p := probe(l)
		l.DropConnections()
		l.Pass(9 * time.Minute)
		p.expect("/livez")
		l.Pass(2 * time.Minute)
		p.expect("/livez", lab.Orders+": its connection does nothing", "a hook may not return")
		close(release)
		l.Pass(10 * time.Minute)
		p.expect("/livez")
		p.expect("/readyz")
	})
}

func TestMessagesAndAConsumerThatBothWait(t *testing.T) {
	status := sfstream.Status{At: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), Waiting: 1, Channels: []sfstream.ChannelStatus{{Channel: lab.Orders, Delivered: 7, Pending: 3}}}
	h, err := health.New(func() sfstream.Status { return status })
	lab.Must(t, err)
	expect := func(code int, after time.Duration) {
		t.Helper()
		status.At = status.At.Add(after)
		if w := get(h, "GET", "/livez", ""); w.Code != code {
			t.Errorf("%d %s, want %d", w.Code, w.Body, code)
		}
	}
	expect(200, 0)
	expect(200, 59*time.Second)
	expect(503, time.Second)
	status.Channels[0].Delivered++
	expect(200, time.Minute)
	expect(503, time.Minute)
	status.Waiting = 0 // the consumer is slow
	expect(200, time.Minute)
	status.Waiting = 1
	expect(200, time.Minute)
	status.Channels[0].Pending = 0 // the channel is quiet
	expect(200, time.Minute)
	expect(200, time.Hour)
}

// TestASlowRunBesideAnIdleConsumer: under AckManual one consumer waits for what another one holds.
func TestASlowRunBesideAnIdleConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		c := l.Follow(sfstream.WithAck(sfstream.AckManual))
		p := probe(l)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		run := func(ctx context.Context) {
			ended <- c.Run(ctx, func(context.Context, *sfstream.Message) error {
				time.Sleep(5 * time.Minute)
				return nil
			}, sfstream.Workers(1))
		}
		go run(ctx)
		l.Pass(time.Second)
		l.PublishOrders(1, 2, 3)
		l.Pass(time.Second)
		go run(ctx)
		for range 10 {
			p.expect("/livez")
			l.Pass(70 * time.Second)
		}
		cancel()
		<-ended
		<-ended
	})
}

func TestAnswers(t *testing.T) {
	since := time.Date(2026, 11, 27, 11, 0, 0, 0, time.FixedZone("", 3600))
	status := sfstream.Status{At: since.Add(time.Hour), Channels: []sfstream.ChannelStatus{{Channel: "/event/A__e", State: sfstream.StateWaiting, DisconnectedSince: since}}}
	h, err := health.New(func() sfstream.Status { return status }, sfstream.WithMaxDisconnected(time.Minute))
	lab.Must(t, err)
	w := get(h, "GET", "/readyz", "application/json, text/plain")
	var got, want any
	lab.Must(t, json.Unmarshal(w.Body.Bytes(), &got))
	lab.Must(t, json.Unmarshal([]byte(`{"status":"not ready","problems":[{"channel":"/event/A__e","trouble":"disconnected","since":"2026-11-27T10:00:00Z",
		"detail":"disconnected for 1h0m0s","text":"sfstream: /event/A__e: disconnected for 1h0m0s, since 2026-11-27T10:00:00Z"}]}`), &want))
	gotText, _ := json.Marshal(got)
	wantText, _ := json.Marshal(want)
	if string(gotText) != string(wantText) || w.Code != 503 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := get(h, "GET", "/livez", "application/json"); w.Body.String() != "{\"status\":\"ok\"}\n" {
		t.Errorf("%s", w.Body)
	}
	for request, code := range map[string]int{
		"HEAD /livez": 200, "HEAD /readyz": 503, "POST /livez": 405, "DELETE /readyz": 405, "GET /": 404, "GET /livez/x": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		if w := get(h, method, path, ""); w.Code != code || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", request, w.Code, w.Header())
		}
	}
	if _, err := health.New(func() sfstream.Status { return status }, sfstream.WithMaxLag(-1)); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("%v", err)
	}
	if _, err := health.New(nil); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("%v", err)
	}
}
