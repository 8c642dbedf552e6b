package contract

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// silenceRules are the rules about connections that nobody ends: a cable, a firewall that has
// forgotten them, a server that is stuck.
func silenceRules() []rule {
	return []rule{
		{number: 5, words: "names that do not resolve for an hour lose nothing", run: namesUnresolved},
		{number: 5, words: "a dead connection is noticed without its end", run: deadConnection},
		// Pub/Sub API only: over the Streaming API it is TCP that asks.
		{number: 5, words: "a dead network is noticed within 60 s", run: deadNetwork, only: sfstream.PubSub},
		{number: 5, words: "a quiet channel is not a silent one", run: quietIsNotSilent, only: sfstream.PubSub},
		{number: 5, words: "pings of a silent connection are not too many", run: pingsOfSilence, only: sfstream.PubSub},
		{number: 5, words: "a stream that is silent alone is opened again and disturbs no other", run: silentStream, only: sfstream.PubSub},
		{number: 5, words: "a dead connection costs a Subscribe one attempt", run: deadConnectionSubscribe, only: sfstream.PubSub},
		{number: 5, words: "there are more channels than a connection takes", run: manyChannels, only: sfstream.PubSub},
	}
}

func deadConnection(t *testing.T) {
	hurt(t, func(l *lab.Lab) {
		l.Blackhole()
		l.PublishOrders(100)
		l.Pass(6 * time.Minute)
		if l.Client.Pending() == 0 {
			t.Error("it is not noticed within 6 minutes")
		}
	}, 100)
}

func deadNetwork(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Must(l.Client.Subscribe(t.Context(), lab.Accounts))
	for i, quiet := range []time.Duration{0, 20 * time.Second, 50 * time.Second, 10 * time.Minute} {
		l.Pass(quiet)
		l.Blackhole()
		l.PublishOrders(2 * i)
		lab.Within(t, time.Minute, func() { l.Expect(2 * i) })
		l.ChangeAccount(2*i + 1)
		l.Expect(2*i + 1)
	}
}

func quietIsNotSilent(t *testing.T) {
	// A keepalive as late as Salesforce promises it, from a server that ends connections that ask
	// too often.
	l := lab.New(t, sfstreamtest.WithKeepalive(270*time.Second), sfstreamtest.WithMinPing(5*time.Minute))
	l.Follow()
	l.ExpectQuiet(10 * time.Hour)
	expectReconnects(l, 1)
	l.ExpectStillWorks(lab.Orders)
}

func pingsOfSilence(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithMinPing(5*time.Minute), sfstreamtest.WithSessionTimeout(1000*time.Hour))
	l.SilenceKeepalive(true)
	l.Follow(sfstream.WithKeepaliveTimeout(100 * time.Hour))
	l.Must(l.Client.Subscribe(t.Context(), lab.Accounts))
	l.ExpectQuiet(10 * time.Hour)
	expectReconnects(l, 1) // a server that ends connections for their pings is pinged rarely from then on
	if n := l.Log.Count("takes no frequent pings"); n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
	l.DropConnections() // and on new connections
	l.ExpectQuiet(10 * time.Hour)
	expectReconnects(l, 2)
	// A ping without an answer ends it long before the timeout does.
	l.Blackhole()
	l.PublishOrders(1)
	lab.Within(t, 10*time.Minute, func() { l.Expect(1) })
	l.SilenceKeepalive(false)
	l.ExpectStillWorks(lab.Orders)
}

func silentStream(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithKeepalive(time.Minute))
	l.Follow(sfstream.WithKeepaliveTimeout(2*time.Minute + time.Second))
	l.Must(l.Client.Subscribe(t.Context(), lab.Accounts))
	l.SilenceKeepalive(true)
	for i := range 30 {
		l.PublishOrders(i)
		l.Expect(i)
		l.Pass(time.Minute)
	}
	for _, c := range l.Client.Status().Channels {
		if c.Channel == lab.Orders && c.Reconnects != 0 || c.Channel == lab.Accounts && c.Reconnects < 10 {
			t.Errorf("%s has reconnected %d times", c.Channel, c.Reconnects)
		}
	}
	l.ChangeAccount(1)
	l.Expect(1)
	l.SilenceKeepalive(false)
	l.ExpectStillWorks(lab.Orders)
}

func deadConnectionSubscribe(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Blackhole()
	l.Subscribe(lab.Accounts)
	l.ChangeAccount(1)
	l.Expect(1)
	l.ExpectStillWorks(lab.Orders)
}

func manyChannels(t *testing.T) {
	const channels = 910 // some room is left for calls
	l := lab.New(t, sfstreamtest.WithMaxStreams(1000))
	l.Start()
	for i, channel := range subscribeMany(l, channels) {
		l.PublishNumbers(channel, i)
		l.Expect(i)
	}
}

// unresolved is a network whose names do not resolve while it is set.
type unresolved struct {
	atomic.Bool
	base http.RoundTripper
}

func (u *unresolved) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.Load() {
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
	}
	return u.base.RoundTrip(r)
}

// stream fails as grpc does where its resolver finds nothing.
func (u *unresolved) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if u.Load() {
		return nil, status.Error(codes.Unavailable, "name resolver error: produced zero addresses")
	}
	return streamer(ctx, desc, cc, method, opts...)
}

func namesUnresolved(t *testing.T) {
	l := lab.New(t)
	u := &unresolved{base: l.HTTPClient().Transport}
	l.Follow(sfstream.WithHTTPClient(&http.Client{Transport: u}), sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(u.stream)))
	l.PublishOrders(1)
	l.Expect(1)
	u.Store(true)
	l.ExpireToken()
	l.DropConnections()
	l.PublishOrders(2)
	l.Pass(time.Hour)
	u.Store(false)
	lab.Within(t, 2*time.Minute, func() { l.Expect(2) })
	l.ExpectStillWorks(lab.Orders)
}

// subscribeMany subscribes the program to n channels of its org that are new.
func subscribeMany(l *lab.Lab, n int) (channels []string) {
	l.T.Helper()
	for i := range n {
		channel := fmt.Sprintf("/event/Many%d__e", i)
		l.Must(l.DefineEvent(channel, lab.Schema("Many__e")))
		l.Must(l.Client.Subscribe(l.T.Context(), channel))
		channels = append(channels, channel)
	}
	synctest.Wait() // the first requests have arrived
	return channels
}

// expectReconnects expects that the program's channels had so many sessions after the first.
func expectReconnects(l *lab.Lab, want int) {
	l.T.Helper()
	for _, c := range l.Client.Status().Channels {
		if c.Reconnects != want {
			l.T.Errorf("%s has reconnected %d times, want %d: %v", c.Channel, c.Reconnects, want, c.LastError)
		}
	}
}
