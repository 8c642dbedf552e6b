package sfstream

import (
	"net/http"
	"sync"
	"time"
)

// serverClock tells Salesforce's time from the Date header of replies plus the
// time since, and the local time until a reply has come. A Date header is cut to
// whole seconds, so the clock is never fast by more than the network took. Of the
// last readings the earliest counts: one node whose clock is fast must not make
// anybody believe that events are old.
type serverClock struct {
	base http.RoundTripper

	mu       sync.Mutex
	readings [4]*reading // the oldest one is replaced
	next     int
}

type reading struct {
	server time.Time
	local  time.Time // with monotonic part
}

func (c *serverClock) now() time.Time { return c.at(time.Now()) }

// at is what Salesforce's clock showed at a local time: with more readings it may
// turn out to be earlier than it seemed then.
func (c *serverClock) at(local time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var earliest time.Time
	for _, r := range c.readings {
		if r == nil {
			continue
		}
		if now := r.server.Add(local.Sub(r.local)); earliest.IsZero() || now.Before(earliest) {
			earliest = now
		}
	}
	if earliest.IsZero() {
		return local
	}
	return earliest
}

// latest is the latest that Salesforce's clock can be: by the last reading that is
// furthest on, and by our wall clock since, which goes on while a computer sleeps.
func (c *serverClock) latest() time.Time {
	latest := c.now()
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

// RoundTrip reads the clock from replies on their way.
func (c *serverClock) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.mu.Lock()
		c.readings[c.next%len(c.readings)] = &reading{server: date, local: time.Now()}
		c.next++
		c.mu.Unlock()
	}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks of its transport.
func (c *serverClock) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// watch returns a copy of client whose replies set the clock.
func (c *serverClock) watch(client *http.Client) *http.Client {
	c.base = client.Transport
	if c.base == nil {
		c.base = http.DefaultTransport
	}
	watched := *client
	watched.Transport = c
	return &watched
}
