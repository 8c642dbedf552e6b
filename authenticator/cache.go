package authenticator

import (
	"context"
	"sync"
	"time"
)

// Cache shares the login of an [Authenticator] and is an Authenticator itself. It keeps the
// credentials of a login until [Cache.Invalidate], and does not keep failures. It is safe for
// concurrent use.
//
// A cache is meant for one user of one org. It keeps logins at different Login.URLs apart, so that
// none is given out for another. If several Gets share a login, the HTTPClient and the context
// values of the first one are used.
type Cache struct {
	opaque

	auth Authenticator

	mu    sync.Mutex
	slots map[string]*slot // by Login.URL
}

// slot is the state of one login address: nothing, a login under way, or its credentials.
type slot struct {
	flight      *flight
	credentials *Credentials
	since       time.Time // when the login brought the credentials
}

// flight is one login under way, and the Gets that wait for it.
type flight struct {
	cancel      context.CancelFunc
	waiters     int           // guarded by Cache.mu
	done        chan struct{} // closed when the fields below are set
	credentials *Credentials
	err         error
}

// NewCache returns a cache over a. It returns a [*Cache] as it is, so that all who pass one on
// share it.
func NewCache(a Authenticator) *Cache {
	if c, ok := a.(*Cache); ok && c != nil {
		return c
	}
	return &Cache{auth: a}
}

// Get returns a copy of the cached credentials or logs in. However many calls come meanwhile, only
// one login is under way. If ctx ends, Get returns ctx.Err() at once; the login goes on for the
// other callers, and is cancelled when none is left. With a login of [Saved] the last one to leave
// waits for a refresh that has begun, five seconds at most. Other errors are those of the
// Authenticator, and go to all callers that waited.
func (c *Cache) Get(ctx context.Context, login Login) (*Credentials, error) {
	return c.get(ctx, login, 0)
}

// Authenticate does what Get does.
func (c *Cache) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	return c.Get(ctx, login)
}

// Invalidate tells the cache that Salesforce has refused old. The cache drops its credentials if
// they have the AccessToken of old: of many streams that fail with one token, only the first causes
// a new login. Nil, and credentials that are no longer cached, are ignored.
func (c *Cache) Invalidate(old *Credentials) {
	if old == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots {
		if s.credentials != nil && s.credentials.AccessToken == old.AccessToken {
			s.credentials = nil
		}
	}
}

// get does what Get does, with a limit to the age of the credentials; 0 is no limit.
func (c *Cache) get(ctx context.Context, login Login, maxAge time.Duration) (*Credentials, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	s := c.slotLocked(login.base())
	if s.credentials != nil && (maxAge == 0 || time.Since(s.since) < maxAge) {
		defer c.mu.Unlock()
		return clone(s.credentials), nil
	}
	f := s.flight
	if f == nil {
		flying, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		s.flight = f
		// The Gets wait for the goroutine. The last one to leave cancels it and does not wait for
		// it: an Authenticator that heeds its context ends then.
		go c.fly(flying, login, s, f)
	}
	f.waiters++
	c.mu.Unlock()

	select {
	case <-f.done:
		return clone(f.credentials), f.err
	case <-ctx.Done():
		// A program whose context ends is likely to exit: see Saved.
		if _, rotates := c.auth.(*saved); c.leave(s, f) && rotates {
			<-f.done // savedPatience bounds it
		}
		return nil, ctx.Err()
	}
}

func (c *Cache) slotLocked(base string) *slot {
	s := c.slots[base]
	if s == nil {
		if c.slots == nil {
			c.slots = make(map[string]*slot)
		}
		s = &slot{}
		c.slots[base] = s
	}
	return s
}

// fly performs the login of f.
func (c *Cache) fly(ctx context.Context, login Login, s *slot, f *flight) {
	defer f.cancel()
	credentials, err := c.authenticate(ctx, login)
	c.mu.Lock()
	if s.flight == f { // at least one Get still waits
		s.flight = nil
		if err == nil {
			s.credentials, s.since = credentials, time.Now()
		}
	}
	f.credentials, f.err = credentials, err
	c.mu.Unlock()
	close(f.done)
}

// authenticate calls the Authenticator and turns a breach of its contract into an error.
func (c *Cache) authenticate(ctx context.Context, login Login) (*Credentials, error) {
	if c.auth == nil {
		return nil, &Error{Code: codeConfig, Description: "the Cache has no Authenticator"}
	}
	credentials, err := c.auth.Authenticate(ctx, login)
	switch {
	case err != nil:
		return nil, err
	case credentials == nil || credentials.AccessToken == "":
		return nil, &Error{Code: codeIncomplete, Description: "the Authenticator returned neither an access token nor an error"}
	}
	credentials = clone(credentials)
	credentials.tidy()
	return credentials, nil
}

// leave takes one waiter from f. The last one also takes f out of its slot, so that nobody joins a
// cancelled login.
func (c *Cache) leave(s *slot, f *flight) (last bool) {
	c.mu.Lock()
	f.waiters--
	last = f.waiters == 0
	if last && s.flight == f {
		s.flight = nil
	}
	c.mu.Unlock()
	if last {
		f.cancel()
	}
	return last
}

// clone returns a copy, so that no caller can change the cached credentials.
func clone(c *Credentials) *Credentials {
	if c == nil {
		return nil
	}
	copied := *c
	return &copied
}
