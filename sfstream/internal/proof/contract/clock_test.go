package contract

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
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// clockRules prove that only Salesforce's clock decides what is old.
func clockRules() []rule {
	return []rule{
		{number: 5, words: "the clock of a host that is not Salesforce's counts for nothing", run: clockOfAnotherHost},
		{number: 5, words: "a fast clock of our own counts for nothing where the token is from elsewhere", run: fastClockOfOurs},
		{number: 5, words: "without a reading of Salesforce's clock nothing is skipped and no time is saved", run: noClock},
		{number: 5, words: "with a token from elsewhere the instance is asked for the time once, and is not shown the token", only: sfstream.PubSub, run: askedOnce},
		{number: 5, words: "the first event that is skipped is told", run: firstSkippedTold},
		{number: 5, words: "to unsubscribe and subscribe within a second begins where it was", run: subscribedWithinASecond},
		{number: 5, words: "a stored start that is a little in the future is now", run: startInNearFuture},
		{number: 5, words: "a stored start that is far in the future is none", run: startInFarFuture},
	}
}

func fastClockOfOurs(t *testing.T) {
	fastClock(t, false)
}

func noClock(t *testing.T) {
	fastClock(t, true)
}

func firstSkippedTold(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Pass(2 * time.Hour)
	l.Follow()
	for n := 3; n < 5; n++ {
		l.Outage(time.Minute, func() { l.PublishOrders(n) })
	}
	l.Expect(3, 4)
	if n := l.Log.Count("skipping events that are older than the start"); n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
}

func subscribedWithinASecond(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2*time.Hour + 50*time.Millisecond)
	startWith(l, static(l))
	l.Subscribe(lab.Undated) // a reading of a clock that is cut to seconds: .00
	l.Pass(450 * time.Millisecond)
	l.Subscribe(lab.Orders)
	l.Pass(100 * time.Millisecond)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	l.Pass(350 * time.Millisecond)
	if lab.TransportOf(t) == sfstream.CometD { // which tells the time in its answer: .95, another reading of .00
		l.Must(l.Client.Unsubscribe(t.Context(), lab.Undated))
		synctest.Wait()
	}
	l.Subscribe(lab.Orders)
	l.PublishOrders(2)
	l.Expect(2)
	if l.Log.Count("marker is of the future") != 0 {
		t.Error("a marker of this second counts as one of the future")
	}
}

func startInNearFuture(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{Live: time.Now().Add(50 * time.Minute)})
	l.Follow()
	l.PublishOrders(2)
	l.Expect(2)
}

func startInFarFuture(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{Live: time.Now().Add(70 * time.Minute)})
	l.Follow()
	l.PublishOrders(2)
	l.Expect(1, 2)
	if l.Log.Count("marker is of the future") != 1 {
		t.Error("nothing is told")
	}
}

// clockOfAnotherHost has a login that asks a vault for its secret, over the same HTTP client. The
// vault's clock is five hours fast.
func clockOfAnotherHost(t *testing.T) {
	l := lab.New(t)
	vault := &vaulted{base: l.HTTPClient().Transport}
	static := static(l)
	startWith(l, authenticator.Func(func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
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
	l.Subscribe(lab.Orders)
	l.Pass(10 * time.Second)
	l.Outage(time.Minute, func() { l.PublishOrders(1) })
	l.Expect(1)
	if ahead := time.Until(l.Marker(lab.Orders).Live); ahead > 0 {
		t.Errorf("the saved Live is %v ahead", ahead)
	}
	if !vault.asked.Load() {
		t.Error("the vault was not asked: the test proves nothing")
	}
}

// fastClock is a program with a token from elsewhere, whose own clock is five hours fast, in an org
// that tells the time or not.
func fastClock(t *testing.T, mute bool) {
	l := lab.New(t, sfstreamtest.WithClockSkew(-5*time.Hour))
	opts := []sfstream.Option{}
	if mute {
		opts = append(opts, sfstream.WithHTTPClient(&http.Client{Transport: muted{l.HTTPClient().Transport}}))
	}
	startWith(l, static(l), opts...)
	l.Subscribe(lab.Orders)
	l.Pass(10 * time.Second)
	l.Outage(time.Minute, func() { l.PublishOrders(1) })
	l.Expect(1)
	l.Pass(3 * time.Hour) // keepalives
	org := time.Now().Add(-5 * time.Hour)
	if live := l.Marker(lab.Orders).Live; live.After(org) {
		t.Errorf("the saved Live is %v ahead", live.Sub(org))
	}

	// A restart before the first event begins at the first start.
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	l.Subscribe(lab.Undated)
	l.Stop()
	_, err := l.Publish(lab.Undated, map[string]any{"N__c": 2.0})
	l.Must(err)
	l.PublishOrders(2)
	l.Pass(time.Minute)
	startWith(l, static(l), opts...)
	l.Subscribe(lab.Undated)
	l.Expect(2)
	l.Subscribe(lab.Orders)
	l.Expect(2)
}

// askedOnce: the list of versions is there for everybody, and its Date is the reading.
func askedOnce(t *testing.T) {
	l := lab.New(t)
	var asked atomic.Int64
	startWith(l, static(l), sfstream.WithHTTPClient(&http.Client{Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.URL.Path != "/services/data/" || r.Header.Get("Authorization") != "" {
			t.Errorf("it asks for %s %s with %v", r.Method, r.URL, r.Header)
		}
		return l.HTTPClient().Transport.RoundTrip(r)
	})}))
	l.Subscribe(lab.Orders)
	l.Subscribe(lab.Undated)
	l.PublishOrders(1)
	l.Expect(1)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}

// static is a token of the org that somebody else has logged in for.
func static(l *lab.Lab) authenticator.Static {
	l.T.Helper()
	creds, err := l.Authenticator().Authenticate(l.T.Context(), authenticator.Login{URL: l.LoginURL(), HTTPClient: l.HTTPClient()})
	l.Must(err)
	return authenticator.Static{AccessToken: creds.AccessToken, InstanceURL: creds.InstanceURL, OrgID: creds.OrgID}
}

// startWith starts the program with another authenticator than the org's.
func startWith(l *lab.Lab, auth authenticator.Authenticator, opts ...sfstream.Option) {
	l.T.Helper()
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithOrg(l), sfstream.WithTransport(lab.TransportOf(l.T)), sfstream.WithReplayStore(l.Store), sfstream.WithLogger(l.Log.Logger()),
		sfstream.WithHooks(sfstream.Hooks{OnGap: l.OnGap}),
	}, opts...)...)
	l.Must(err)
	l.Client = c
	l.T.Cleanup(func() { _ = c.Close() })
	l.Must(c.Open(l.T.Context()))
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

// muted is HTTP on which nobody tells the time.
type muted struct{ base http.RoundTripper }

func (m muted) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Date")
	}
	return resp, err
}

// followedUntil is when a channel was last followed by its marker.
func followedUntil(m replaystore.Marker) time.Time {
	if m.Followed.After(m.Live) {
		return m.Followed
	}
	return m.Live
}
