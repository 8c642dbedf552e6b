package authenticator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// rotating is a token endpoint with refresh token rotation. It accepts only the newest token, and a
// replay of an old one revokes everything, as in Salesforce.
type rotating struct {
	t     *testing.T
	delay time.Duration

	mu      sync.Mutex
	n       int
	running int
}

func (s *rotating) token(n int) string {
	if n == 0 {
		return refreshToken
	}
	return fmt.Sprintf("%s-%d", refreshToken, n)
}

func (s *rotating) answer(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running++; s.running > 1 {
		s.t.Error("two refreshes at once")
	}
	if got := form(s.t, r).Get("refresh_token"); got != s.token(s.n) {
		s.t.Errorf("replayed %q in place of %q", got, s.token(s.n))
		return response(400, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`), nil
	}
	s.n++
	n := s.n
	s.mu.Unlock()
	time.Sleep(s.delay) // the network's delay, in virtual time; 0 outside of a bubble
	s.mu.Lock()
	s.running--
	return response(200, tokenReply("refresh_token", s.token(n), "access_token", fmt.Sprint(accessToken, n))), nil
}

func TestRotationSavesBeforeTheTokenIsUsed(t *testing.T) {
	server := &rotating{t: t}
	var order []string
	a := refreshFlow()
	a.OnRotate = func(_ context.Context, token string) error {
		order = append(order, "saved "+token)
		return nil
	}
	login := inMemory(func(r *http.Request) (*http.Response, error) {
		if r.Method == "GET" {
			order = append(order, "used")
			return response(200, `{"organization_id":"`+orgID+`"}`), nil
		}
		order = append(order, "refreshed")
		resp, err := server.answer(r)
		return response(200, strings.Replace(readAll(resp), identity, "", 1)), err // without it, userinfo is asked with the access token
	})
	for range 2 {
		mustLogin(t, a, login)
	}
	got := strings.Join(order, ", ")
	if want := "refreshed, saved " + refreshToken + "-1, used, refreshed, saved " + refreshToken + "-2, used"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestWithoutRotationOnRotateIsNotCalled(t *testing.T) {
	for _, reply := range []string{tokenReply(), tokenReply("refresh_token", refreshToken)} {
		a := refreshFlow()
		a.OnRotate = func(context.Context, string) error { t.Error("called"); return nil }
		login := inMemory(func(r *http.Request) (*http.Response, error) {
			if got := form(t, r).Get("refresh_token"); got != refreshToken {
				t.Errorf("sent %q", got)
			}
			return response(200, reply), nil
		})
		mustLogin(t, a, login)
		mustLogin(t, a, login)
	}
}

func TestAFailedOnRotateIsRetriedBeforeTheNextRefresh(t *testing.T) {
	server := &rotating{t: t}
	full := errors.New("disk full")
	var calls []string
	a := refreshFlow()
	a.OnRotate = func(_ context.Context, token string) error {
		calls = append(calls, token)
		if len(calls) < 3 {
			return fmt.Errorf("cannot write %s and %s1: %w", token, accessToken, full)
		}
		return nil
	}
	login := inMemory(server.answer)
	for range 2 {
		c, err := a.Authenticate(context.Background(), login)
		e := loginError(t, c, err)
		if e.Code != "on_rotate" || !errors.Is(err, full) || authenticator.Permanent(err) || !strings.Contains(err.Error(), "[redacted]") {
			t.Errorf("got %v", e)
		}
	}
	if c := mustLogin(t, a, login); c.AccessToken != accessToken+"1" {
		t.Error("the access token that came with the saved refresh token was not used")
	}
	if server.n != 1 {
		t.Errorf("%d refreshes, want 1", server.n)
	}
	if c := mustLogin(t, a, login); c.AccessToken != accessToken+"2" || server.n != 2 {
		t.Error("the next login did not refresh")
	}
	if got, want := fmt.Sprint(calls), fmt.Sprintf("[%[1]s-1 %[1]s-1 %[1]s-1 %[1]s-2]", refreshToken); got != want {
		t.Errorf("OnRotate got %s, want %s", got, want)
	}
}

func TestTheRotatedTokenIsKeptWhenTheReplyIsUnusable(t *testing.T) {
	a := refreshFlow()
	var saved, sent []string
	a.OnRotate = func(_ context.Context, token string) error { saved = append(saved, token); return nil }
	login := inMemory(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, form(t, r).Get("refresh_token"))
		if len(sent) == 1 {
			return response(200, tokenReply("refresh_token", "second", "instance_url", "")), nil
		}
		return response(200, tokenReply()), nil
	})
	c, err := a.Authenticate(context.Background(), login)
	loginError(t, c, err)
	mustLogin(t, a, login)
	if fmt.Sprint(sent, saved) != "["+refreshToken+" second] [second]" {
		t.Errorf("sent %v, saved %v", sent, saved)
	}
}

func TestConcurrentRefreshesGoOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{t: t, delay: time.Second}
		var saving atomic.Int32
		a := refreshFlow()
		a.OnRotate = func(context.Context, string) error {
			if saving.Add(1) > 1 {
				t.Error("two OnRotates at once")
			}
			time.Sleep(time.Second)
			saving.Add(-1)
			return nil
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := a.Authenticate(t.Context(), inMemory(server.answer)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if server.n != 20 {
			t.Errorf("%d refreshes", server.n)
		}
	})
}

func TestARefreshOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		server := &rotating{t: t, delay: 10 * time.Second}
		var saved []string
		a := refreshFlow()
		a.OnRotate = func(ctx context.Context, token string) error {
			deadline, ok := ctx.Deadline()
			if ctx.Err() != nil || ctx.Value(key{}) != "value" || !ok || time.Until(deadline) != time.Minute {
				t.Errorf("OnRotate's context: %v", ctx)
			}
			saved = append(saved, token)
			return nil
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		begin := time.Now()
		c, err := a.Authenticate(ctx, inMemory(server.answer))
		if e := loginError(t, c, err); !errors.Is(e, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("after %v: %v", time.Since(begin), e)
		}
		// A caller that waits for its turn can leave as well.
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		if _, err := a.Authenticate(short, inMemory(server.answer)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		ctx = context.WithValue(t.Context(), key{}, "value")
		if _, err := a.Authenticate(ctx, inMemory(server.answer)); err != nil { // the server checks that no token was replayed
			t.Error(err)
		}
		if want := fmt.Sprintf("[%[1]s-1 %[1]s-2]", refreshToken); fmt.Sprint(saved) != want {
			t.Errorf("saved %v, want %v", saved, want)
		}
	})
}

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	login := inMemory(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, errors.New("unreachable") })
	for _, a := range []authenticator.Authenticator{refreshFlow(), authenticator.NewCache(refreshFlow())} {
		if _, err := a.Authenticate(ctx, login); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
