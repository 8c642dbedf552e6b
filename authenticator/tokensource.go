package authenticator

import (
	"context"
	"time"

	"golang.org/x/oauth2"
)

const (
	tokenLease  = time.Minute      // how long the holder of a Token uses it before it asks again
	tokenMaxAge = 10 * time.Minute // Salesforce's shortest session timeout is 15 min
)

// TokenSource offers the login of a to golang.org/x/oauth2, for REST calls such as those of
//
//	oauth2.NewClient(ctx, authenticator.TokenSource(ctx, cache, login))
//
// Salesforce sends no time of expiry, and x/oauth2 keeps a token without one for ever. So each
// Token has an Expiry one minute ahead. x/oauth2 asks this source again then, which costs nothing
// while the login stands. Token.Extra("instance_url") is the address of the org.
//
// If a is a [*Cache], the token is the one of that cache: give the same Cache to sfstream.New, and
// a login that one of them renews serves the other too. Drop a token that was refused (401) with
//
//	cache.Invalidate(&authenticator.Credentials{AccessToken: token.AccessToken})
//
// For any other a TokenSource makes a cache, which nobody else can invalidate. Therefore it logs in
// again after ten minutes, when it is asked. ctx bounds all logins of the source.
func TokenSource(ctx context.Context, a Authenticator, login Login) oauth2.TokenSource {
	s := &tokenSource{ctx: ctx, cache: NewCache(a), login: login}
	if _, shared := a.(*Cache); !shared {
		s.maxAge = tokenMaxAge
	}
	return s
}

type tokenSource struct {
	opaque

	ctx    context.Context // because oauth2.TokenSource's Token has no parameter for it
	cache  *Cache
	login  Login
	maxAge time.Duration
}

// Token implements oauth2.TokenSource.
func (s *tokenSource) Token() (*oauth2.Token, error) {
	c, err := s.cache.get(s.ctx, s.login, s.maxAge)
	if err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: c.AccessToken, TokenType: c.TokenType, Expiry: time.Now().Add(tokenLease)}
	return token.WithExtra(map[string]any{"instance_url": c.InstanceURL, "id": c.ID}), nil
}
