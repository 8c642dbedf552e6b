package contract

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// subscribeRules prove what Subscribe retries, and that it leaves nothing where it fails.
func subscribeRules() []rule {
	return []rule{
		{number: 10, words: "a failed Subscribe leaves nothing, ends nothing and can be repeated", run: subscribeFails},
		{number: 10, words: "a failed Subscribe with From leaves the marker alone", run: subscribeFromFails},
		{number: 10, words: "Subscribe retries what passes for 30 seconds", run: subscribeRetries},
		{number: 10, words: "Subscribe ends with its ctx", run: subscribeEndsInRetries},
		{number: 10, words: "Subscribe retries a login that fails for a moment", run: subscribeRetriesLogin},
		{number: 10, words: "Subscribe with a token that expired logs in once", run: subscribeExpiredToken},
		{number: 10, words: "Subscribe whose new token is refused too fails, after one login", run: subscribeRefusedToken},
		{number: 10, words: "a Subscribe whose ctx ends as it is accepted works or leaves nothing", run: subscribeEndsAccepted},
		// Pub/Sub API only: CometD has one answer, to the subscribe.
		{number: 10, words: "what the stream rejects after GetTopic's yes is a matter of the link", run: rejectedAfterGetTopic, only: sfstream.PubSub},
	}
}

func subscribeFails(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	const late = "/event/Late__e"
	for range 3 {
		e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), late))
		if e.Code != sfstream.NotFound {
			t.Errorf("%+v", e)
		}
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.Orders}) {
		t.Errorf("subscriptions %q", got)
	}
	if n := len(l.Client.Status().Channels); n != 1 {
		t.Errorf("status has %d channels", n)
	}
	if m := l.Marker(late); !m.Live.IsZero() {
		t.Errorf("marker %+v", m)
	}
	l.Must(l.DefineEvent(late, lab.Schema("Late__e")))
	l.Subscribe(late)
	l.ExpectStillWorks(late)
	l.ExpectStillWorks(lab.Orders)
	expectLogins(l, 1)
}

func subscribeFromFails(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2)
	l.Stop()
	want := l.Marker(lab.Orders)
	l.Start()
	l.Revoke(lab.Orders)
	if err := l.Client.Subscribe(t.Context(), lab.Orders, sfstream.From(sfstream.ReplayAll)); err == nil {
		t.Error("accepted")
	}
	l.Stop()
	if got := l.Marker(lab.Orders); string(got.ReplayID) != string(want.ReplayID) {
		t.Errorf("marker %+v, want %+v", got, want)
	}
}

func subscribeRetries(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "UNAVAILABLE")
	began := time.Now()
	err := l.Client.Subscribe(t.Context(), lab.Orders)
	if took := time.Since(began); took != 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	lab.Contains(t, err.Error(), lab.Orders)
	l.ClearFaults()
	failSubscribe(t, l.Server, 3, "UNAVAILABLE")
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func subscribeEndsInRetries(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "UNAVAILABLE")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	if err := l.Client.Subscribe(ctx, lab.Orders); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	l.ClearFaults()
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func subscribeRetriesLogin(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.ExpireToken()
	l.FailLogin(4, "503")
	l.EndStreams("", "service.auth.error")
	synctest.Wait() // the token is dropped now, and the first login has failed
	l.Must(l.Client.Subscribe(t.Context(), lab.Accounts))
	synctest.Wait()
	l.ChangeAccount(1)
	l.Expect(1)
}

func subscribeExpiredToken(t *testing.T) {
	l := lab.New(t)
	l.Start()
	l.ExpireToken()
	l.Subscribe(lab.Orders)
	expectLogins(l, 2)
	l.ExpectStillWorks(lab.Orders)
}

func subscribeRefusedToken(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "service.auth.error")
	e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), lab.Orders))
	if e.Code != sfstream.Unauthenticated {
		t.Errorf("%+v", e)
	}
	expectLogins(l, 2)
	l.ClearFaults()
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func subscribeEndsAccepted(t *testing.T) {
	l := lab.New(t)
	var cancel atomic.Pointer[context.CancelFunc]
	l.Start(sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := stream(ctx, desc, cc, method, opts...)
			if stop := cancel.Load(); stop != nil {
				(*stop)() // the request is about to be sent
			}
			return s, err
		})))
	for range 50 {
		ctx, stop := context.WithCancel(t.Context())
		cancel.Store(&stop)
		err := l.Client.Subscribe(ctx, lab.Orders)
		cancel.Store(nil)
		if err != nil {
			if !errors.Is(err, context.Canceled) || len(l.Client.Subscriptions()) > 0 {
				t.Fatalf("%v; subscriptions %q", err, l.Client.Subscriptions())
			}
			l.Subscribe(lab.Orders)
		}
		synctest.Wait()
		l.ExpectStillWorks(lab.Orders)
		l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	}
}

func rejectedAfterGetTopic(t *testing.T) {
	l := lab.New(t)
	l.Start()
	l.Reject(lab.Orders, 1, "subscription.topic.cannot.subscribe")
	l.Subscribe(lab.Orders) // accepted: GetTopic says so
	l.PublishOrders(1)
	l.Expect(1) // and the first No may pass
	l.ExpectStillWorks(lab.Orders)
}
