package sfstream

import (
	"net/http"
	"sync/atomic"
	"time"
)

// serverClock tells Salesforce's time from the Date header of the last reply
// plus the time since, and the local time until a reply has come. A Date header
// is cut to whole seconds, so the clock is never fast by more than the network
// took.
type serverClock struct {
	base http.RoundTripper
	last atomic.Pointer[reading]
}

type reading struct {
	server time.Time
	local  time.Time // with monotonic part
}

func (c *serverClock) now() time.Time {
	r := c.last.Load()
	if r == nil {
		return time.Now()
	}
	return r.server.Add(time.Since(r.local))
}

// RoundTrip reads the clock from replies on their way.
func (c *serverClock) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.last.Store(&reading{server: date, local: time.Now()})
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
