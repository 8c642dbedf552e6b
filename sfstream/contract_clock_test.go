package sfstream_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contractClock proves that only Salesforce's clock decides what is old.
func contractClock() []rule {
	return []rule{
		{number: 5, words: "the clock of a host that is not Salesforce's counts for nothing", run: clockOfAnotherHost},
		{number: 5, words: "a fast clock of our own counts for nothing where the token is from elsewhere", run: func(t *testing.T) {
			fastClock(t, false)
		}},
		{number: 5, words: "without a reading of Salesforce's clock nothing is skipped and no time is saved", run: func(t *testing.T) {
			fastClock(t, true)
		}},
		{number: 5, words: "with a token from elsewhere the instance is asked for the time once, and is not shown the token", pubsubOnly: true, run: askedOnce},
		{number: 5, words: "the first event that is skipped is told", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.pass(2 * time.Hour)
			l.follow()
			for n := 3; n < 5; n++ {
				l.outage(time.Minute, func() { l.publish(n) })
			}
			l.expect(3, 4)
			if n := l.log.count("skipping events that are older than the start"); n != 1 {
				t.Errorf("told %d times, want 1", n)
			}
		}},
		{number: 5, words: "to unsubscribe and subscribe within a second begins where it was", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2*time.Hour + 50*time.Millisecond)
			l.startWith(l.static())
			l.subscribe(labUndated) // a reading of a clock that is cut to seconds: .00
			l.pass(450 * time.Millisecond)
			l.subscribe(labOrders)
			l.pass(100 * time.Millisecond)
			l.must(l.client.Unsubscribe(t.Context(), labOrders))
			l.tellTime(350 * time.Millisecond) // .95: another reading, .00 too
			l.subscribe(labOrders)
			l.publish(2)
			l.expect(2)
			if l.log.count("marker is of the future") != 0 {
				t.Error("a marker of this second counts as one of the future")
			}
		}},
		{number: 5, words: "a stored start that is a little in the future is now", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			l.save(l.key(apiOf(t), labOrders), replaystore.Marker{Live: time.Now().Add(50 * time.Minute)})
			l.follow()
			l.publish(2)
			l.expect(2)
		}},
		{number: 5, words: "a stored start that is far in the future is none", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(2 * time.Hour)
			l.save(l.key(apiOf(t), labOrders), replaystore.Marker{Live: time.Now().Add(70 * time.Minute)})
			l.follow()
			l.publish(2)
			l.expect(1, 2)
			if l.log.count("marker is of the future") != 1 {
				t.Error("nothing is told")
			}
		}},
	}
}

// A login asks a vault for its secret, over the same HTTP client. The vault's clock
// is five hours fast.
func clockOfAnotherHost(t *testing.T) {
	l := newLab(t)
	vault := &vaulted{base: l.HTTPClient().Transport}
	static := l.static()
	l.startWith(authFunc(func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://vault.example/secret", nil)
		if err != nil {
			return nil, err
		}
		for range 10 {
			resp, err := login.HTTPClient.Do(req)
			if err != nil {
				return nil, err
			}
			_ = resp.Body.Close()
		}
		return static.Authenticate(ctx, login)
	}), sfstream.WithHTTPClient(&http.Client{Transport: vault}))
	l.subscribe(labOrders)
	l.pass(10 * time.Second)
	l.outage(time.Minute, func() { l.publish(1) })
	l.expect(1)
	if ahead := time.Until(l.marker(labOrders).Live); ahead > 0 {
		t.Errorf("the saved Live is %v ahead", ahead)
	}
	if !vault.asked.Load() {
		t.Error("the vault was not asked: the test proves nothing")
	}
}

// fastClock is a program with a token from elsewhere, whose own clock is five hours
// fast, in an org that tells the time or not.
func fastClock(t *testing.T, mute bool) {
	l := newLab(t, sfstreamtest.WithClockSkew(-5*time.Hour))
	opts := []sfstream.Option{}
	if mute {
		opts = append(opts, sfstream.WithHTTPClient(&http.Client{Transport: muted{l.HTTPClient().Transport}}))
	}
	l.startWith(l.static(), opts...)
	l.subscribe(labOrders)
	l.pass(10 * time.Second)
	l.outage(time.Minute, func() { l.publish(1) })
	l.expect(1)
	l.pass(3 * time.Hour) // keepalives
	org := time.Now().Add(-5 * time.Hour)
	if live := l.marker(labOrders).Live; live.After(org) {
		t.Errorf("the saved Live is %v ahead", live.Sub(org))
	}

	// A restart before the first event begins at the first start.
	l.must(l.client.Unsubscribe(t.Context(), labOrders))
	l.subscribe(labUndated)
	l.stop()
	_, err := l.Publish(labUndated, map[string]any{"N__c": 2.0})
	l.must(err)
	l.publish(2)
	l.pass(time.Minute)
	l.startWith(l.static(), opts...)
	l.subscribe(labUndated)
	l.expect(2)
	l.subscribe(labOrders)
	l.expect(2)
}

// askedOnce: the list of versions is there for everybody, and its Date is the reading.
func askedOnce(t *testing.T) {
	l := newLab(t)
	var asked atomic.Int64
	l.startWith(l.static(), sfstream.WithHTTPClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.URL.Path != "/services/data/" || r.Header.Get("Authorization") != "" {
			t.Errorf("it asks for %s %s with %v", r.Method, r.URL, r.Header)
		}
		return l.HTTPClient().Transport.RoundTrip(r)
	})}))
	l.subscribe(labOrders)
	l.subscribe(labUndated)
	l.publish(1)
	l.expect(1)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}

// static is a token of the org that somebody else has logged in for.
func (l *lab) static() authenticator.Static {
	l.t.Helper()
	creds, err := l.Authenticator().Authenticate(l.t.Context(), authenticator.Login{URL: l.LoginURL(), HTTPClient: l.HTTPClient()})
	l.must(err)
	return authenticator.Static{AccessToken: creds.AccessToken, InstanceURL: creds.InstanceURL, OrgID: creds.OrgID}
}

// startWith starts the program with another authenticator than the org's.
func (l *lab) startWith(auth authenticator.Authenticator, opts ...sfstream.Option) {
	l.t.Helper()
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithOrg(l), sfstream.WithTransport(transportOf(l.t)), sfstream.WithReplayStore(l.store), sfstream.WithLogger(l.log.logger()),
		sfstream.WithHooks(sfstream.Hooks{OnGap: l.gap}),
	}, opts...)...)
	l.must(err)
	l.client = c
	l.t.Cleanup(func() { _ = c.Close() })
	l.must(c.Open(l.t.Context()))
}

// tellTime lets time go by, at the end of which the client hears what time it is: over
// the Streaming API.
func (l *lab) tellTime(d time.Duration) {
	l.t.Helper()
	l.pass(d)
	if transportOf(l.t) == sfstream.CometD {
		l.must(l.client.Unsubscribe(l.t.Context(), labUndated))
		synctest.Wait()
	}
}

// vaulted is HTTP with a vault on it, whose clock is five hours fast.
type vaulted struct {
	base  http.RoundTripper
	asked atomic.Bool
}

func (v *vaulted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "vault.example" {
		return v.base.RoundTrip(r)
	}
	v.asked.Store(true)
	header := http.Header{"Date": {time.Now().Add(5 * time.Hour).UTC().Format(http.TimeFormat)}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}

// nowhere is HTTP without a network: nobody can be asked for the time.
var nowhere = &http.Client{Transport: noNetwork{}}

type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// muted is HTTP on which nobody tells the time.
type muted struct{ base http.RoundTripper }

func (m muted) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Date")
	}
	return resp, err
}
