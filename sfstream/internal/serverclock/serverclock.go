// Package serverclock tells Salesforce's time from the replies of its servers.
package serverclock

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// readingTimeout bounds a reading that is asked for.
	readingTimeout = 5 * time.Second

	// readingEvery is how often a reading is asked for in vain.
	readingEvery = time.Minute
)

// Beginning stands for a moment of which Salesforce's clock is not known: nothing that it retains
// is older.
func Beginning() time.Time { return time.Unix(1, 0) }

// A Clock tells Salesforce's time from the Date header of replies plus the time since, and the
// local time until a reply has come. Only replies of the login host and of the instance count: the
// other hosts that a login may talk to have clocks of their own. A Date header is cut to whole
// seconds, so the clock is never fast by more than the network took. Of the last readings the
// earliest counts: one node whose clock is fast must not make anybody believe that events are old.
// Use Watch to begin.
type Clock struct {
	base   http.RoundTripper
	client *http.Client // over base, and watched
	login  string       // the login host

	mu       sync.Mutex
	instance string      // its URL; empty: not known yet
	readings [4]*reading // the oldest one is replaced
	next     int
	vain     time.Time // when a reading was last asked for in vain
}

type reading struct {
	server time.Time
	local  time.Time // with monotonic part
}

// Now is the present time.
func (c *Clock) Now() time.Time {
	now, _ := c.At(time.Now())
	return now
}

// At is what Salesforce's clock showed at a local time: with more readings it may turn out to be
// earlier than it seemed then. trusted is false where there is no reading, and the time our own.
func (c *Clock) At(local time.Time) (t time.Time, trusted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.readings {
		if r == nil {
			continue
		}
		if now := r.server.Add(local.Sub(r.local)); t.IsZero() || now.Before(t) {
			t = now
		}
	}
	if t.IsZero() {
		return local, false
	}
	return t, true
}

// Trusted is Now by a reading, zero where there is none.
func (c *Clock) Trusted() time.Time {
	if now, trusted := c.At(time.Now()); trusted {
		return now
	}
	return time.Time{}
}

// Live is what a marker may say of a local time less so much: that nothing of before is wanted.
// Without a reading it says that all is.
func (c *Clock) Live(local time.Time, less time.Duration) time.Time {
	if t, trusted := c.At(local); trusted {
		return t.Add(-less)
	}
	return Beginning()
}

// Latest is the latest that Salesforce's clock can be: by the last reading that is furthest on, and
// by our wall clock since, which goes on while a computer sleeps. It is zero without a reading.
func (c *Clock) Latest() (latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := time.Now().Round(0)
	for _, r := range c.readings {
		if r == nil {
			continue
		}
		for _, now := range []time.Time{r.server.Add(time.Since(r.local)), r.server.Add(wall.Sub(r.local.Round(0)))} {
			if now.After(latest) {
				latest = now
			}
		}
	}
	return latest
}

// transport is that of the watched client.
type transport struct{ *Clock }

// RoundTrip reads the clock from replies on their way.
func (c transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.read(req.URL, date)
	}
	return resp, nil
}

func (c *Clock) read(from *url.URL, date time.Time) {
	host := hostOf(from)
	c.mu.Lock()
	defer c.mu.Unlock()
	if instance, err := url.Parse(c.instance); host != c.login && (err != nil || host != hostOf(instance)) {
		return
	}
	c.readings[c.next%len(c.readings)] = &reading{server: date, local: time.Now()}
	c.next++
}

// hostOf is the host of a URL, with its port.
func hostOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// SetInstance notes where the org's instance is: a URL that secrets may be sent to.
func (c *Clock) SetInstance(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instance = strings.TrimSuffix(instance, "/")
}

// Ask makes sure of a reading, if it can: with a token from elsewhere no reply of Salesforce need
// have come. It takes no more than half of the time that ctx has left.
func (c *Clock) Ask(ctx context.Context) {
	c.mu.Lock()
	instance := c.instance
	known := c.next > 0 || !c.vain.IsZero() && time.Since(c.vain) < readingEvery
	c.mu.Unlock()
	if known || instance == "" {
		return
	}
	limit := readingTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, instance+"/services/data/", nil) // needs no login
	if err != nil {
		return
	}
	if resp, err := c.client.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == 0 {
		c.vain = time.Now()
	}
}

// CloseIdleConnections passes on what http.Client asks of its transport.
func (c transport) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Watch returns a copy of client whose replies set the clock.
func (c *Clock) Watch(client *http.Client, loginURL string) *http.Client {
	if login, err := url.Parse(loginURL); err == nil {
		c.login = hostOf(login)
	}
	c.base = client.Transport
	if c.base == nil {
		c.base = http.DefaultTransport
	}
	watched := *client
	watched.Transport = transport{c}
	c.client = &watched
	return c.client
}
