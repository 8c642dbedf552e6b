package contract

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	oldInstance = "https://old.my.salesforce.com"
	newInstance = "https://new.my.salesforce.com"
)

// movingOrg answers at its instance; at others as absent says.
type movingOrg struct {
	scripted.Org
	absent func(r *http.Request) (*http.Response, error)

	mu       sync.Mutex
	instance string
	logins   []time.Time
}

func (o *movingOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	here := o.instance == "https://"+r.URL.Host
	o.mu.Unlock()
	<-time.After(time.Millisecond)
	if !here {
		return o.absent(r)
	}
	if r.Method == http.MethodGet {
		return scripted.Body(200, `[{"version":"62.0"},{"version":"63.0"}]`), nil
	}
	return o.Org.RoundTrip(r)
}

func (o *movingOrg) move(to string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.instance = to
}

// login gives a token of the instance where the org is, or where it thinks it is.
func (o *movingOrg) login(thinks string) authenticator.Authenticator {
	return authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.logins = append(o.logins, time.Now())
		at := o.instance
		if thinks != "" {
			at = thinks
		}
		return &authenticator.Credentials{AccessToken: fmt.Sprint("SECRET-", len(o.logins)), InstanceURL: at, OrgID: "00D000000000001AAA"}, nil
	})
}

// newMovingOrg holds connects, but for the one that is under way when the org moves.
func newMovingOrg(absent func(r *http.Request) (*http.Response, error)) *movingOrg {
	o := &movingOrg{instance: oldInstance, absent: absent}
	o.Counts = make(map[string]int)
	o.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind != "connect" || n == 1 {
			return nil, nil
		}
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(30 * time.Second):
			return scripted.OK(kind, msgs, ""), nil
		}
	}
	return o
}

func (o *movingOrg) start(t *testing.T, auth authenticator.Authenticator, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithTransport(sfstream.CometD), sfstream.WithReplayStore(replaystore.NewMemory()),
		sfstream.WithHTTPClient(&http.Client{Transport: o}),
	}, opts...)...)
	lab.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	lab.Must(t, c.Open(t.Context()))
	return c
}

func moved(r *http.Request) (*http.Response, error) {
	resp := scripted.Body(301, "")
	resp.Header.Set("Location", newInstance+r.URL.Path+"?sid=SECRET-1")
	return resp, nil
}

func notFound(*http.Request) (*http.Response, error) {
	return scripted.Body(404, "<html>URL No Longer Exists</html>"), nil
}

func noSuchHost(r *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
}

// movedRules are orgs that live elsewhere now.
func movedRules() []rule {
	rules := []rule{
		{number: 5, words: "an instance that is nowhere costs few logins", run: nowhereInstance, only: sfstream.CometD},
		{number: 5, words: "an instance whose name is not found holds nothing up", run: namelessInstance, only: sfstream.PubSub},
		{number: 10, words: "a moved instance of a token from elsewhere is told, with what to change", run: movedStatic},
		{number: 10, words: "a moved instance of a token from elsewhere may come back", run: movedStaticAndBack, only: sfstream.CometD},
	}
	for version, words := range map[string]string{"": "the newest API version", "62.0": "an API version that is given"} {
		for how, said := range map[string]string{
			"301": "redirects", "302": "redirects for once", "307": "redirects for now", "404": "has a page", "gone": "has lost its name", "login": "sends to the login page",
		} {
			r := rule{number: 5, words: "a new login finds an instance whose old host " + said + ", " + words, run: func(t *testing.T) { movedInstance(t, how, version) }}
			if how == "login" { // the gRPC endpoint sends nobody there
				r.only = sfstream.CometD
			}
			rules = append(rules, r)
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.words, b.words) })
	return rules
}

// movedInstance moves the org three times. Over the Pub/Sub API, whose endpoint is the same for all
// instances, the token of the old instance is refused; over the Streaming API the old host answers,
// as how says.
func movedInstance(t *testing.T, how, version string) {
	var org []sfstreamtest.Option
	if how != "login" { // which is on the same host
		org = append(org, sfstreamtest.WithInstanceHosts())
	}
	l := lab.New(t, org...)
	var instances []string // of the logins
	opts := []sfstream.Option{sfstream.WithHooks(sfstream.Hooks{OnGap: l.OnGap, OnLogin: func(e sfstream.LoginEvent) {
		instances = append(instances, e.InstanceURL)
	}})}
	if version != "" {
		opts = append(opts, sfstream.WithAPIVersion(version))
	}
	startAndHurt(l, opts, func(l *lab.Lab) {
		if how == "login" {
			l.RedirectToLogin(1)
			l.Pass(3 * time.Minute) // until the next connect
			return
		}
		l.Must(l.LeaveInstance(how))
		l.DropConnections()
	})
	if n := l.Logins(); n != 5 { // the first one, one for each move, and one of the restarted program
		t.Errorf("%d logins, want 5", n)
	}
	if how == "login" {
		return
	}
	if n := len(slices.Compact(instances)); n != 4 {
		t.Errorf("logins at %q", instances)
	}
	for _, instance := range instances[1:] {
		lab.Contains(t, l.Log.String(), `msg="the org has another instance now"`, "to="+instance)
	}
}

// namelessInstance: the instance is asked for the time only. A token that is good all the same
// brings all events, and none is skipped for want of a clock.
func namelessInstance(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	auth := static(l)
	startWith(l, auth, sfstream.WithHTTPClient(&http.Client{Transport: lab.RoundTrip(noSuchHost)}))
	l.Subscribe(lab.Orders)
	l.Outage(time.Minute, func() { l.PublishOrders(2) })
	l.Expect(1, 2) // nobody knows that the first one is older than the start
	l.ExpectStillWorks(lab.Orders)
}

// movedStatic is a token that nobody can renew.
func movedStatic(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithInstanceHosts())
	startWith(l, static(l))
	l.Subscribe(lab.Orders)
	l.PublishOrders(1)
	l.Expect(1)
	logins := l.Logins()
	l.Must(l.LeaveInstance("301"))
	now := static(l) // which is a login of somebody else
	l.DropConnections()
	l.PublishOrders(2)
	l.Pass(time.Hour)
	if n := l.Logins() - logins; n != 1 {
		t.Errorf("%d logins with a token from elsewhere", n-1)
	}
	channels := l.Client.Status().Channels
	if lab.TransportOf(t) == sfstream.PubSub { // one that is refused for good
		lab.Contains(t, lab.ExpectEnd[*sfstream.AuthError](l).Error(), lab.Orders, "the instance URL and org id are the token's own")
	} else {
		l.Must(l.Client.Err())
		lab.Contains(t, fmt.Sprint(channels[0].LastError), "set its InstanceURL to "+now.InstanceURL, "Static")
	}
	_ = l.Client.Close() // says the same
	startWith(l, now)
	l.Subscribe(lab.Orders)
	l.Expect(2)
}

// nowhereInstance is an org that is not where its logins say: more logins would be of no use, and
// count.
func nowhereInstance(t *testing.T) {
	o := newMovingOrg(notFound)
	c := o.start(t, o.login(oldInstance), sfstream.WithAPIVersion("62.0"))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(10 * time.Second)
	o.move("https://elsewhere.example.com")
	<-time.After(3 * time.Hour)
	o.mu.Lock()
	if n := len(o.logins) - 1; c.Err() != nil || n < 14 || n > 18 {
		t.Errorf("%d logins in three hours, %v", n, c.Err())
	}
	for i := 2; i < len(o.logins); i++ {
		least := time.Minute
		if i > 5 {
			least = 15 * time.Minute
		}
		if wait := o.logins[i].Sub(o.logins[i-1]); wait < least {
			t.Errorf("login %d came after %v", i, wait)
		}
	}
	o.mu.Unlock()
	o.move(oldInstance)
	<-time.After(2 * time.Minute)
	if ch := c.Status().Channels[0]; ch.State != sfstream.StateLive {
		t.Errorf("%+v", ch)
	}
}

// movedStaticAndBack has a token that no login renews: the user is told what to change.
func movedStaticAndBack(t *testing.T) {
	o, log := newMovingOrg(moved), new(lab.Log)
	c := o.start(t, authenticator.Static{AccessToken: "SECRET-1", InstanceURL: oldInstance, OrgID: "00D000000000001AAA"},
		sfstream.WithAPIVersion("62.0"), sfstream.WithLogger(log.Logger()))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(10 * time.Second)
	o.move(newInstance)
	<-time.After(time.Hour)
	err := fmt.Sprint(c.Status().Channels[0].LastError)
	lab.Contains(t, err, "set its InstanceURL to "+newInstance, "Static")
	if c.Err() != nil || strings.Contains(err+log.String(), "SECRET") {
		t.Errorf("%v, %s, %s", c.Err(), err, log)
	}
	o.move(oldInstance)
	<-time.After(2 * time.Minute)
	if ch := c.Status().Channels[0]; ch.State != sfstream.StateLive {
		t.Errorf("%+v", ch)
	}
}
