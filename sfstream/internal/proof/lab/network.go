package lab

import (
	"bytes"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Outage cuts all connections, lets something happen, and ends after d.
func (l *Lab) Outage(d time.Duration, during func()) {
	l.T.Helper()
	l.Refuse(true)
	l.DropConnections()
	synctest.Wait()
	during()
	l.Pass(d)
	l.Refuse(false)
}

// Reconnect cuts all connections and waits until the channel is followed again.
func (l *Lab) Reconnect(channel string) {
	l.T.Helper()
	before := len(l.Subscribes(channel))
	l.DropConnections()
	for range 200 {
		l.Pass(time.Second)
		if len(l.Subscribes(channel)) > before && l.Streams(channel) == 1 {
			return
		}
	}
	l.T.Fatal("the channel is not followed again")
}

// LastSubscribe is the request that the newest stream began with.
func (l *Lab) LastSubscribe(channel string) sfstreamtest.SubscribeCall {
	l.T.Helper()
	calls := l.Subscribes(channel)
	if len(calls) == 0 {
		l.T.Fatal("no Subscribe call")
	}
	return calls[len(calls)-1]
}

// ExpectSubscribe expects how the newest stream began.
func (l *Lab) ExpectSubscribe(channel, preset string, id []byte) {
	l.T.Helper()
	call := l.LastSubscribe(channel)
	if call.Preset != preset || !bytes.Equal(call.ReplayID, id) {
		l.T.Fatalf("subscribed with %s %x, want %s %x", call.Preset, call.ReplayID, preset, id)
	}
}

// ExpectCounts expects how often the programs have shaken hands and logged in so far.
func (l *Lab) ExpectCounts(handshakes, logins int) {
	l.T.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h != handshakes || n != logins {
		l.T.Errorf("%d handshakes and %d logins, want %d and %d", h, n, handshakes, logins)
	}
}

// Times are when Bayeux requests of a kind came in.
func (l *Lab) Times(kind string) (at []time.Time) {
	for _, r := range l.CometDRequests() {
		if r.Kind == kind {
			at = append(at, r.At)
		}
	}
	return at
}

// Doubling is a backoff without chance: 1 s, 2 s, 4 s, … 64 s.
func Doubling() sfstream.Option {
	return sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(64*time.Second), backoff.WithMaxElapsedTime(0))
	})
}
