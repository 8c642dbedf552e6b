package sfstream_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

const (
	oldInstance = "https://old.my.salesforce.com"
	newInstance = "https://new.my.salesforce.com"
)

// movingOrg answers at its instance; at others as absent says.
type movingOrg struct {
	scriptedOrg
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
		return scriptedBody(200, `[{"version":"62.0"},{"version":"63.0"}]`), nil
	}
	return o.scriptedOrg.RoundTrip(r)
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

func (o *movingOrg) loginCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.logins)
}

// newMovingOrg holds connects, but for the one that is under way when the org moves.
func newMovingOrg(absent func(r *http.Request) (*http.Response, error)) *movingOrg {
	o := &movingOrg{instance: oldInstance, absent: absent}
	o.counts = make(map[string]int)
	o.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
		if kind != "connect" || n == 1 {
			return nil, nil
		}
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(30 * time.Second):
			return scriptedOK(kind, msgs, ""), nil
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
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.Open(t.Context()))
	return c
}

func moved(r *http.Request) (*http.Response, error) {
	resp := scriptedBody(301, "")
	resp.Header.Set("Location", newInstance+r.URL.Path+"?sid=SECRET-1")
	return resp, nil
}

func notFound(*http.Request) (*http.Response, error) {
	return scriptedBody(404, "<html>URL No Longer Exists</html>"), nil
}

func noSuchHost(r *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
}

func expired(*http.Request) (*http.Response, error) {
	resp := scriptedBody(302, "")
	resp.Header.Set("Location", "/?ec=302&startURL=%2Fcometd")
	return resp, nil
}

// An org moves to another instance. A new login tells where it is.
func TestAMovedInstanceIsFoundByANewLogin(t *testing.T) {
	for name, absent := range map[string]func(*http.Request) (*http.Response, error){
		"redirect": moved, "page": notFound, "unknown host": noSuchHost, "login page": expired,
	} {
		for _, version := range []string{"62.0", ""} {
			t.Run(name+" "+version, func(t *testing.T) {
				inStreamingBubble(t, func(t *testing.T) {
					o, log := newMovingOrg(absent), new(logBuffer)
					var logins []sfstream.LoginEvent
					opts := []sfstream.Option{sfstream.WithLogger(log.logger()), sfstream.WithHooks(sfstream.Hooks{OnLogin: func(e sfstream.LoginEvent) { logins = append(logins, e) }})}
					if version != "" {
						opts = append(opts, sfstream.WithAPIVersion(version))
					}
					c := o.start(t, o.login(""), opts...)
					must(t, c.Subscribe(t.Context(), "/topic/Lab"))
					<-time.After(10 * time.Second)
					o.move(newInstance)
					<-time.After(2 * time.Minute)
					if ch := c.Status().Channels[0]; c.Err() != nil || ch.State != sfstream.StateLive || o.loginCount() != 2 {
						t.Errorf("%v, %d logins, %+v", c.Err(), o.loginCount(), ch)
					}
					if len(logins) != 2 || logins[1].InstanceURL != newInstance {
						t.Errorf("%+v", logins)
					}
					contains(t, log.String(), "another instance", newInstance)
					if strings.Contains(log.String(), "SECRET") {
						t.Error("the token is shown: " + log.String())
					}
				})
			})
		}
	}
}

// The org is not where its logins say: they would be of no use, and count.
func TestAnInstanceThatIsNowhereCostsFewLogins(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		o := newMovingOrg(notFound)
		c := o.start(t, o.login(oldInstance), sfstream.WithAPIVersion("62.0"))
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(10 * time.Second)
		o.move("https://elsewhere.example.com")
		<-time.After(3 * time.Hour)
		if n := o.loginCount() - 1; c.Err() != nil || n < 14 || n > 18 {
			t.Errorf("%d logins in three hours, %v", n, c.Err())
		}
		o.mu.Lock()
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
	})
}

// There is no login: the user is told what to change.
func TestAMovedInstanceOfStaticCredentialsIsTold(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		o := newMovingOrg(moved)
		c := o.start(t, authenticator.Static{AccessToken: "SECRET-1", InstanceURL: oldInstance, OrgID: "00D000000000001AAA"}, sfstream.WithAPIVersion("62.0"))
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(10 * time.Second)
		o.move(newInstance)
		<-time.After(time.Hour)
		err := fmt.Sprint(c.Status().Channels[0].LastError)
		contains(t, err, "set its InstanceURL to "+newInstance, "Static")
		if c.Err() != nil || strings.Contains(err, "SECRET") {
			t.Errorf("%v, %s", c.Err(), err)
		}
		o.move(oldInstance)
		<-time.After(2 * time.Minute)
		if ch := c.Status().Channels[0]; ch.State != sfstream.StateLive {
			t.Errorf("%+v", ch)
		}
	})
}
