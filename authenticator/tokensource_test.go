package authenticator_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"golang.org/x/oauth2"
)

func TestTokenSourceSharesTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &counter{}
		cache := authenticator.NewCache(a)
		login := authenticator.Login{URL: instance}
		source := authenticator.TokenSource(t.Context(), cache, login)
		token, err := source.Token()
		if err != nil || token.AccessToken != "token 1" || !token.Valid() || token.Type() != "Bearer" || token.Extra("instance_url") != instance {
			t.Fatalf("got %v", err)
		}
		time.Sleep(24 * time.Hour)
		if token, _ := source.Token(); token.AccessToken != "token 1" || !token.Valid() {
			t.Error("a cache of the user's was renewed by age")
		}
		cache.Invalidate(&authenticator.Credentials{AccessToken: token.AccessToken})
		if token, _ := source.Token(); token.AccessToken != "token 2" {
			t.Error("Invalidate did not reach the source")
		}
		if c, _ := cache.Get(t.Context(), login); c.AccessToken != "token 2" || a.begun.Load() != 2 {
			t.Errorf("%d logins", a.begun.Load())
		}
	})
}

func TestTokenSourceOfItsOwnRenewsByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := authenticator.TokenSource(t.Context(), &counter{}, authenticator.Login{})
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{0, "token 1"}, {9 * time.Minute, "token 1"}, {time.Minute, "token 2"}, {time.Minute, "token 2"}} {
			time.Sleep(step.after)
			if token, err := source.Token(); err != nil || token.AccessToken != step.want {
				t.Errorf("got %v, want %s", err, step.want)
			}
		}
	})
}

// x/oauth2 wraps every source in one that keeps a token until its Expiry.
func TestClientsOfOAuth2AskAgainWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := authenticator.NewCache(&counter{})
		var sent string
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = r.Header.Get("Authorization")
			return response(200, ""), nil
		})})
		client := oauth2.NewClient(ctx, authenticator.TokenSource(ctx, cache, authenticator.Login{}))
		get := func() {
			if _, err := client.Get(instance); err != nil {
				t.Fatal(err)
			}
		}
		get()
		cache.Invalidate(mustLogin(t, cache, authenticator.Login{}))
		time.Sleep(time.Minute)
		if get(); sent != "Bearer token 2" {
			t.Errorf("sent %s", sent)
		}
	})
}

func TestTokenSourceErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	source := authenticator.TokenSource(ctx, passwordFlow(), always(400, `{"error":"invalid_grant","error_description":"user is locked"}`))
	if _, err := source.Token(); !authenticator.Permanent(err) {
		t.Error(err)
	}
	cancel()
	if _, err := source.Token(); err != context.Canceled {
		t.Error(err)
	}
}
