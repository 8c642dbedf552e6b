package sfstreamtest_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The errors of a stream are those of eventbus/PROTOCOL.md, "Errors" and "The end of a stream".
func TestRejectSendsWhatSalesforceSends(t *testing.T) {
	for spec, want := range map[string]struct {
		status codes.Code
		code   string
		text   string
	}{
		"subscription.limit.exceeded":        {codes.ResourceExhausted, "subscription.limit.exceeded", "You have exceeded the event delivery limit for your org."},
		"service.protection.triggered":       {codes.ResourceExhausted, "service.protection.triggered", "The service received too many connections"},
		"service.unavailable":                {codes.Internal, "service.unavailable", "The service is unavailable."},
		"subscription.fetch.replay.repeated": {codes.Internal, "subscription.fetch.replay.repeated", ""},
		"topic.not.found":                    {codes.NotFound, "topic.not.found", "for org CORE/prod/00D000000000001EAA and topic " + orders + " not found."},
		"UNAVAILABLE":                        {codes.Unavailable, "", "RST_STREAM closed stream"},
		"INTERNAL":                           {codes.Internal, "", "Received RST_STREAM with code 0"},
		"UNAVAILABLE: This application is down for maintenance": {codes.Unavailable, "", "This application is down for maintenance"},
		"ABORTED made.up.code: something new":                   {codes.Aborted, "made.up.code", "something new rpcId: "},
		"made.up.code":                                          {codes.Unknown, "made.up.code", ""},
		"sfdc.platform.eventbus.grpc.service.tenant.license":    {codes.PermissionDenied, "service.tenant.license", ""},
	} {
		t.Run(spec, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.publish(1)
				r.Reject("/event/Another__e", 1, "INTERNAL")
				r.Reject(orders, 2, spec)
				for range 2 {
					stream := r.open(earliest(orders, 1))
					_, err := stream.Recv()
					wantFailure(t, err, stream.Trailer(), want.status, want.code)
					if got := status.Convert(err).Message(); !strings.Contains(got, want.text) {
						t.Errorf("message %q, want %q", got, want.text)
					}
				}
				recvIDs(t, r.open(earliest(orders, 1)), 1)
				if got := len(r.Subscribes(orders)); got != 3 {
					t.Errorf("%d calls in the history, want 3", got)
				}
			})
		})
	}
}

// A proxy may remove the trailers, and with them the error code: eventbus/PROTOCOL.md, "Errors".
func TestStripTrailers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.StripTrailers(true)
		stream := r.open(after(orders, []byte("stale"), 1))
		_, err := stream.Recv()
		wantFailure(t, err, stream.Trailer(), codes.InvalidArgument, "")
		if !strings.Contains(err.Error(), "Replay ID validation failed") {
			t.Errorf("message %q", err)
		}
		r.StripTrailers(false)
		wantEnd(t, r.open(after(orders, []byte("stale"), 1)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
	})
}

// A token that ends while many streams are open.
func TestExpireToken(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		streams := make([]eventbus.SubscribeStream, 20)
		for i := range streams {
			streams[i] = r.follow(orders, 10)
		}
		r.ExpireToken()
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		wantEnd(t, r.open(earliest(orders, 1)), codes.Unauthenticated, "service.auth.error")
		r.publish(1) // open streams live on
		for _, stream := range streams {
			recvIDs(t, stream, 1)
		}
		r.EndStreams("", "service.auth.error")
		for _, stream := range streams {
			wantEnd(t, stream, codes.Unauthenticated, "service.auth.error")
		}
		r.login()
		recvIDs(t, r.open(earliest(orders, 1)), 1)
	})
}

func TestEndStreams(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		other := r.follow("/data/AccountChangeEvent", 1)
		for spec, want := range map[string]codes.Code{"": codes.OK, "OK": codes.OK, "UNAVAILABLE": codes.Unavailable} {
			stream := r.follow(orders, 1)
			r.EndStreams(orders, spec)
			wantEnd(t, stream, want, "")
		}
		if got := r.Streams("/data/AccountChangeEvent"); got != 1 {
			t.Errorf("%d streams on the other channel", got)
		}
		r.EndStreams("", "subscription.internal.error")
		wantEnd(t, other, codes.Internal, "subscription.internal.error")
	})
}

// After a break Salesforce may send the last events again.
func TestDuplicate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := r.publish(5)
		r.Duplicate(orders, 2)
		if got := recvIDs(t, r.open(earliest(orders, 5)), 5); !slices.Equal(got, idsOf(events)) {
			t.Errorf("EARLIEST: got %v", got)
		}
		if got := recvIDs(t, r.open(after(orders, events[3].ReplayID, 10)), 3); !slices.Equal(got, idsOf(events[2:])) {
			t.Errorf("got %v, want %v", got, idsOf(events[2:]))
		}
		if got := recvIDs(t, r.open(after(orders, events[3].ReplayID, 10)), 1); !slices.Equal(got, idsOf(events[4:])) {
			t.Errorf("again: got %v", got)
		}
	})
}

// A permission or a channel may go while its stream is open.
func TestRevokeAndRemove(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(1)
		stream := r.follow(orders, 1)
		r.Revoke(orders)
		wantEnd(t, stream, codes.PermissionDenied, "subscription.topic.cannot.subscribe")
		wantEnd(t, r.open(earliest(orders, 1)), codes.PermissionDenied, "subscription.topic.cannot.subscribe")
		r.Grant(orders)
		recvIDs(t, r.open(earliest(orders, 1)), 1)

		stream = r.follow(orders, 1)
		check(t, r.Remove(orders))
		wantEnd(t, stream, codes.NotFound, "topic.not.found")
		getTopic(t, r, orders, codes.NotFound, "topic.not.found")
		if _, err := r.Publish(orders, nil); err == nil {
			t.Error("published on a channel that is gone")
		}
		check(t, r.DefineEvent(orders, schemaFile(t, "order")))
		wantEnd(t, r.open(after(orders, old[0].ReplayID, 1)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
	})
}

// Connections break off without a status. Runs in memory, and once more on loopback in
// network_test.go.
func TestDropConnections(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { dropConnections(t, r) })
}

func dropConnections(t *testing.T, r *rig) {
	t.Helper()
	stream := r.follow(orders, 1)
	r.DropConnections()
	_, err := stream.Recv()
	wantFailure(t, err, stream.Trailer(), codes.Unavailable, "")
	r.await(orders, 0)
	stream = r.follow(orders, 1)
	r.publish(1)
	recvIDs(t, stream, 1)
	r.login()
}

func TestRefuse(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) { refuse(t, r) })
}

func refuse(t *testing.T, r *rig) {
	t.Helper()
	r.follow(orders, 1)
	r.Refuse(true)
	getTopic(t, r, orders, codes.OK, "") // the open connection stays open
	r.DropConnections()
	r.await(orders, 0)
	fresh := eventbus.Client{Conn: r.dial()}
	if _, err := fresh.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := r.HTTPClient().PostForm(r.LoginURL()+"/services/oauth2/token", r.passwordForm()); err == nil {
		t.Error("logged in")
	}
	r.Refuse(false)
	r.login()
	fresh = eventbus.Client{Conn: r.dial()}
	_, err := fresh.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders})
	check(t, err)
}

// A connection may be lost without a word: nothing comes any more, and nothing says so.
func TestBlackhole(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.follow(orders, 10)
		r.publish(1)
		recvIDs(t, stream, 1)
		r.Blackhole()
		events := r.publish(1)
		heard := make(chan error, 1)
		go func() {
			_, err := stream.Recv()
			heard <- err
		}()
		time.Sleep(time.Hour)
		select {
		case err := <-heard:
			t.Fatalf("heard %v", err)
		default:
		}
		check(t, stream.Send(&eventbus.FetchRequest{NumRequested: 1})) // nobody tells the client that this is lost
		again := eventbus.Client{Conn: r.dial()}
		fresh, err := again.Subscribe(r.ctx())
		check(t, err)
		check(t, fresh.Send(earliest(orders, 10)))
		if got := recvIDs(t, fresh, 2); got[1] != events[0].ID {
			t.Errorf("got %v", got)
		}
		r.DropConnections()
		if err := <-heard; status.Code(err) != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
	})
}

// A server that is restarted lets its streams end, and takes no new ones on their connection.
func TestGoAway(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.follow(orders, 10)
		for range 2 {
			r.GoAway()
		}
		r.conn.WaitForStateChange(r.ctx(), connectivity.Ready)
		young := r.follow(orders, 10) // this stream is on a new connection
		events := r.publish(1)
		for _, stream := range []eventbus.SubscribeStream{old, young} {
			if got := recvIDs(t, stream, 1); got[0] != events[0].ID {
				t.Errorf("got %v", got)
			}
		}
		r.EndStreams(orders, "")
		wantEnd(t, old, codes.OK, "")
		wantEnd(t, young, codes.OK, "")
	})
}

// See eventbus/PROTOCOL.md, "Connections".
func TestMoreStreamsThanAConnectionCarriesWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.follow(orders, 1)
		second := r.follow(orders, 1)
		opened := make(chan error, 1)
		go func() {
			_, err := r.client.Subscribe(r.ctx())
			opened <- err
		}()
		synctest.Wait()
		select {
		case err := <-opened:
			t.Fatalf("a third stream: %v", err)
		default:
		}
		r.publish(1)
		recvIDs(t, second, 1)
		time.Sleep(time.Minute) // both streams are idle and end
		if _, err := second.Recv(); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
		check(t, <-opened)
	}, sfstreamtest.WithMaxStreams(2))
}

// See eventbus/PROTOCOL.md, "Credit".
func TestASlowConsumerIsSentWhatItAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.follow(orders, 5)
		events := r.publish(1000)
		time.Sleep(30 * time.Second)
		if got := recvIDs(t, stream, 5); !slices.Equal(got, idsOf(events[:5])) {
			t.Errorf("got %v", got)
		}
		synctest.Wait()
		if got := r.Outstanding(orders); got != 0 {
			t.Errorf("%d outstanding", got)
		}
	})
}
