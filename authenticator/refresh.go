package authenticator

import (
	"context"
	"sync"

	"golang.org/x/oauth2"
)

// RefreshToken logs in by the OAuth refresh-token flow. It must be used through a pointer,
// &RefreshToken{…}, and its fields must not be changed after the first Authenticate.
//
// If the app has refresh token rotation, each login brings a new refresh token and the old one
// dies; an old one that is sent again makes Salesforce revoke the new one and all access tokens.
// Therefore RefreshToken keeps the newest token, refreshes one at a time, and lets a refresh that
// has begun run to its end (a minute at most, plus OnRotate) even if the context of its caller
// ends: if nobody read the reply, the new token would be lost. Two processes, or two RefreshTokens,
// must never share one rotating token.
//
// It redacts itself as [Credentials] does.
type RefreshToken struct {
	ConsumerKey    string // the connected app's consumer key (client_id)
	ConsumerSecret string // the connected app's consumer secret (client_secret); sent only if set
	RefreshToken   string // the token to begin with

	// OnRotate persists a new refresh token, before the login that brought it is used. If it fails,
	// RefreshToken keeps the new token in memory, Authenticate returns the error, and the next
	// Authenticate calls OnRotate with that token again before anything else. Its context has the
	// values of Authenticate's and ends after a minute. OnRotate must not call Authenticate. If it
	// is nil, a rotated token is lost when the process ends.
	OnRotate func(ctx context.Context, newToken string) error

	opaque

	mu   sync.Mutex
	busy chan struct{} // closed when the login under way ends; nil if there is none

	// Only the login under way uses these.
	current string        // the refresh token to send; empty: the field RefreshToken
	unsaved *oauth2.Token // a reply whose rotated token OnRotate has not saved yet
}

// Authenticate performs one login, after those that other goroutines have begun. Its errors are
// [*Error]. When ctx ends it returns at once.
func (r *RefreshToken) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	if err := r.acquire(ctx); err != nil {
		return nil, interrupted(err)
	}
	type result struct {
		credentials *Credentials
		err         error
	}
	done := make(chan result, 1)
	// This Authenticate waits for the goroutine. If its ctx ends first, the next Authenticate waits
	// for it, through busy. requestTimeout bounds its requests and OnRotate's context.
	go func() {
		defer r.release()
		credentials, err := r.login(context.WithoutCancel(ctx), login)
		done <- result{credentials, err}
	}()
	select {
	case got := <-done:
		return got.credentials, got.err
	case <-ctx.Done():
		return nil, interrupted(ctx.Err())
	}
}

func (r *RefreshToken) login(ctx context.Context, login Login) (*Credentials, error) {
	if r.current == "" {
		r.current = r.RefreshToken
	}
	x := newExchange("refresh_token", login, r.ConsumerSecret, r.current)
	if err := x.require("ConsumerKey", r.ConsumerKey, "RefreshToken", r.current); err != nil {
		return nil, err
	}
	token := r.unsaved
	if token == nil {
		var err error
		token, err = x.token(ctx, func(ctx context.Context, at oauth2.Endpoint) (*oauth2.Token, error) {
			c := &oauth2.Config{ClientID: r.ConsumerKey, ClientSecret: r.ConsumerSecret, Endpoint: at}
			return c.TokenSource(ctx, &oauth2.Token{RefreshToken: r.current}).Token()
		})
		if err != nil {
			return nil, err
		}
		if token.RefreshToken != r.current { // x/oauth2 fills in the token that was sent if the reply has none
			r.current, r.unsaved = token.RefreshToken, token
		}
	}
	x.secrets = append(x.secrets, token.AccessToken)
	if r.unsaved != nil {
		if err := r.save(ctx); err != nil {
			return nil, x.fail(codeOnRotate, 0, err, "the rotated refresh token could not be saved")
		}
		r.unsaved = nil
	}
	return x.credentials(ctx, token)
}

func (r *RefreshToken) save(ctx context.Context) error {
	if r.OnRotate == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.OnRotate(ctx, r.current)
}

// acquire waits until no other login is under way. Those that wait for a mutex could not leave when
// ctx ends.
func (r *RefreshToken) acquire(ctx context.Context) error {
	for ctx.Err() == nil {
		r.mu.Lock()
		busy := r.busy
		if busy == nil {
			r.busy = make(chan struct{})
		}
		r.mu.Unlock()
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (r *RefreshToken) release() {
	r.mu.Lock()
	busy := r.busy
	r.busy = nil
	r.mu.Unlock()
	close(busy)
}

func interrupted(err error) *Error {
	return &Error{Flow: "refresh_token", Code: codeNoAnswer, Description: "the caller left before the refresh was done", err: err}
}
