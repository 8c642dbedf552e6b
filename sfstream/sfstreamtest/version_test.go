package sfstreamtest_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestPlatformEventsHaveTheirNameFromAVersionOn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const channel = "/event/All__chn"
		check(t, r.DefineEvent("/event/NewOrderConfirmation__e", schemaFile(t, "neworder")))
		check(t, r.DefineObject("Account", fieldList("Name Text")...))
		check(t, r.DefineChannel(channel, orders, "/event/NewOrderConfirmation__e"))
		r.publish(1)
		_, err := r.Publish("/event/NewOrderConfirmation__e", map[string]any{"Weight__c": 1})
		check(t, err)
		changed(t, r, account("CREATE", nil, "001A"))
		named := func(version, channel string) string {
			b := r.cometd()
			b.url = strings.Replace(b.url, "60.0", version, 1)
			b.handshake()
			text := ""
			for _, m := range b.follow(channel, -2) {
				text += string(m.Data)
			}
			return text
		}
		for _, version := range []string{"63.0", "36.0"} { // the org routes the latter to the newest
			got := named(version, channel)
			for _, want := range []string{`,"EventApiName":"Order_Event__e"}}`, `,"EventApiName":"NewOrderConfirmation__e"}}`} {
				if !strings.Contains(got, want) {
					t.Errorf("%s has no %s: %s", version, want, got)
				}
			}
		}
		if got := named("62.0", channel) + named("63.0", "/data/AccountChangeEvent"); strings.Contains(got, "EventApiName") {
			t.Errorf("named: %s", got)
		}
	}, sfstreamtest.WithEventAPIName("63.0"))
}

// pinged returns how many responses a stream gets within an hour, or before it ends, if its
// connection is pinged every 30 s.
func pinged(t *testing.T, opts ...sfstreamtest.Option) (responses int, err error) {
	bubble(t, func(t *testing.T, r *rig) {
		conn, dialErr := grpc.NewClient(strings.TrimPrefix(r.PubSubEndpoint(), "http://"), append(r.DialOptions(),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}),
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20))...)
		check(t, dialErr)
		defer conn.Close()
		r.client = eventbus.Client{Conn: conn}
		stream := r.follow(orders, 10)
		for start := time.Now(); time.Since(start) < time.Hour; responses++ {
			if _, err = stream.Recv(); err != nil {
				return
			}
		}
	}, opts...)
	return responses, err
}

func TestPingsEvery30SecondsAreToleratedUnlessPunished(t *testing.T) {
	for name, opts := range map[string][]sfstreamtest.Option{"default": nil, "without data": {sfstreamtest.WithKeepalive(270 * time.Second)}} {
		if n, err := pinged(t, opts...); err != nil || n < 13 {
			t.Errorf("%s: %d responses, then %v", name, n, err)
		}
	}
	if n, err := pinged(t, sfstreamtest.WithPingsPunished()); err == nil || n > 1 {
		t.Errorf("%d responses, then %v", n, err)
	} else if !strings.Contains(err.Error(), "too_many_pings") {
		t.Errorf("it ended with %v", err)
	}
}

func TestAConnectionOfOneStream(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.follow(orders, 10)
		got := make(chan error, 1)
		go func() {
			_, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders})
			got <- err
		}()
		time.Sleep(30 * time.Second)
		select {
		case err := <-got:
			t.Errorf("a second call beside the stream: %v", err)
		default:
		}
		// Another connection has a free slot.
		other := eventbus.Client{Conn: r.dial()}
		_, err := other.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders})
		check(t, err)
		r.publish(1)
		recvIDs(t, stream, 1)
		check(t, stream.CloseSend())
		wantEnd(t, stream, 0, "")
		check(t, <-got)
	}, sfstreamtest.WithMaxStreams(1))
}
