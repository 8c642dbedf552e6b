package authenticator_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// counter logs in after a delay, with a new access token each time. It also counts the logins that
// were cancelled.
type counter struct {
	delay            time.Duration
	begun, cancelled atomic.Int32
	fail             atomic.Bool
}

var errTrouble = errors.New("trouble")

func (c *counter) Authenticate(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
	n := c.begun.Add(1)
	select {
	case <-time.After(c.delay):
	case <-ctx.Done():
		c.cancelled.Add(1)
		return nil, ctx.Err()
	}
	if c.fail.Load() {
		return nil, errTrouble
	}
	return &authenticator.Credentials{AccessToken: fmt.Sprint("token ", n), OrgID: orgID, InstanceURL: login.URL}, nil
}

func TestManyGetsMakeOneLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counter{delay: time.Second}
		cache := authenticator.NewCache(a)
		for range 2 { // the second round is served from the cache
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if c, err := cache.Get(t.Context(), authenticator.Login{}); err != nil || c.AccessToken != "token 1" {
						t.Error(c, err)
					}
				})
			}
			wg.Wait()
		}
		if n := a.begun.Load(); n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}

func TestInvalidateDropsOnlyWhatIsCached(t *testing.T) {
	a := &counter{}
	cache := authenticator.NewCache(a)
	cache.Invalidate(&authenticator.Credentials{}) // nothing is cached yet
	first := mustLogin(t, cache, authenticator.Login{})
	var wg sync.WaitGroup
	for range 50 { // as if so many streams failed with one token
		wg.Go(func() {
			cache.Invalidate(first)
			mustLogin(t, cache, authenticator.Login{})
		})
	}
	wg.Wait()
	second := mustLogin(t, cache, authenticator.Login{})
	cache.Invalidate(nil)
	cache.Invalidate(first)
	cache.Invalidate(&authenticator.Credentials{})
	if third := mustLogin(t, cache, authenticator.Login{}); *third != *second || a.begun.Load() != 2 {
		t.Errorf("%d logins, want 2", a.begun.Load())
	}
	cache.Invalidate(&authenticator.Credentials{AccessToken: second.AccessToken})
	if fourth := mustLogin(t, cache, authenticator.Login{}); fourth.AccessToken != "token 3" {
		t.Errorf("got %s", fourth.AccessToken)
	}
}

func TestAWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counter{delay: time.Minute}
		cache := authenticator.NewCache(a)
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				limit := time.Duration(i+1) * time.Second // the caller that began the login leaves as well
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				if _, err := cache.Get(ctx, authenticator.Login{}); err != context.DeadlineExceeded || time.Since(begin) != limit {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		}
		c, err := cache.Get(t.Context(), authenticator.Login{})
		if err != nil || time.Since(begin) != time.Minute || c.AccessToken != "token 1" || a.cancelled.Load() != 0 {
			t.Errorf("the one who stayed got %v, %v after %v", c, err, time.Since(begin))
		}
		wg.Wait()
	})
}

func TestTheLastWaiterCancelsTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counter{delay: time.Minute}
		cache := authenticator.NewCache(a)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := cache.Get(ctx, authenticator.Login{}); err != context.Canceled {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		synctest.Wait()
		if a.begun.Load() != 1 || a.cancelled.Load() != 1 {
			t.Errorf("%d begun, %d cancelled", a.begun.Load(), a.cancelled.Load())
		}
		// A Get that comes now does not join the cancelled login.
		if c, err := cache.Get(t.Context(), authenticator.Login{}); err != nil || c.AccessToken != "token 2" {
			t.Error(c, err)
		}
	})
}

func TestAnAbandonedLoginLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logins atomic.Int32
		cache := authenticator.NewCache(authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
			token := fmt.Sprint("token ", logins.Add(1))
			time.Sleep(time.Minute) // this login does not heed its context
			return &authenticator.Credentials{AccessToken: token}, nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := cache.Get(ctx, authenticator.Login{}); err != context.DeadlineExceeded {
			t.Error(err)
		}
		time.Sleep(time.Second) // the abandoned login ends before the next one begins
		for range 2 {
			if c, err := cache.Get(t.Context(), authenticator.Login{}); err != nil || c.AccessToken != "token 2" {
				t.Error(c, err)
			}
		}
	})
}

func TestFailuresAreSharedAndNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counter{delay: time.Second}
		a.fail.Store(true)
		cache := authenticator.NewCache(a)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if c, err := cache.Get(t.Context(), authenticator.Login{}); c != nil || err != errTrouble {
					t.Error(c, err)
				}
			})
		}
		wg.Wait()
		a.fail.Store(false)
		if c, err := cache.Get(t.Context(), authenticator.Login{}); err != nil || c.AccessToken != "token 2" {
			t.Error(c, err)
		}
	})
}

func TestLoginURLsAreKeptApart(t *testing.T) {
	a := &counter{}
	cache := authenticator.NewCache(a)
	for range 2 {
		for _, url := range []string{authenticator.SandboxURL, instance} {
			if c := mustLogin(t, cache, authenticator.Login{URL: url}); c.InstanceURL != url {
				t.Errorf("got the login of %s for %s", c.InstanceURL, url)
			}
		}
	}
	mustLogin(t, cache, authenticator.Login{URL: instance + "/"})
	if n := a.begun.Load(); n != 2 {
		t.Errorf("%d logins", n)
	}
}

func TestCallersCannotChangeWhatIsCached(t *testing.T) {
	cache := authenticator.NewCache(&counter{})
	mustLogin(t, cache, authenticator.Login{}).AccessToken = "changed"
	if c := mustLogin(t, cache, authenticator.Login{}); c.AccessToken != "token 1" {
		t.Error("changed")
	}
}

func TestACacheOfACacheIsThatCache(t *testing.T) {
	cache := authenticator.NewCache(&counter{})
	if authenticator.NewCache(cache) != cache {
		t.Error("another cache")
	}
}

func TestAuthenticatorsThatBreakTheirContract(t *testing.T) {
	reply := func(c *authenticator.Credentials) authenticator.Authenticator {
		return authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) { return c, nil })
	}
	for name, a := range map[string]authenticator.Authenticator{
		"nil, nil":        reply(nil),
		"no access token": reply(&authenticator.Credentials{OrgID: orgID}),
		"nil":             nil,
		"nil Func":        authenticator.Func(nil),
		"zero Cache":      new(authenticator.Cache),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := authenticator.NewCache(a).Get(context.Background(), authenticator.Login{})
			loginError(t, c, err)
		})
	}
}
