package sfstreamtest_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func numbersOf(events []sfstreamtest.Event) []uint64 {
	ids := make([]uint64, len(events))
	for i, e := range events {
		ids[i] = e.Number
	}
	return ids
}

// wantEvents compares the events that came with those that were published.
func wantEvents(tb testing.TB, got []message, want ...sfstreamtest.Event) {
	tb.Helper()
	if ids := numbers(tb, got); !slices.Equal(ids, numbersOf(want)) {
		tb.Errorf("got %v, want %v", ids, numbersOf(want))
	}
}

func TestAHeldConnectIsAnsweredWithEventsFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		if r.OpenConnects() != 1 {
			t.Errorf("%d connects are held", r.OpenConnects())
		}
		want := r.publish(1)
		events, m := split(t, <-poll)
		wantEvents(t, events, want...)
		if !m.ok() || m.Advice != nil || events[0].Channel != orders {
			t.Errorf("%+v %+v", events, m)
		}
		want = r.publish(3)
		took(t, 0, func() {
			events, _ = b.connect()
			wantEvents(t, events, want...)
		})
	})
}

func TestReconnectWindow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		time.Sleep(39 * time.Second)
		if _, m := b.connect(); !m.ok() {
			t.Errorf("after 39 s: %+v", m)
		}
		time.Sleep(41 * time.Second)
		if r.Sessions() != 0 || r.Streams(orders) != 0 {
			t.Errorf("%d sessions, %d streams", r.Sessions(), r.Streams(orders))
		}
		_, m := b.connect()
		wantError(t, m, "403::Unknown client")
		wantAdvice(t, m, "handshake")
		if m.ClientID != "" || m.Advice["interval"] != 0.0 {
			t.Errorf("%+v", m)
		}
		for _, kind := range []string{"subscribe", "unsubscribe", "disconnect"} {
			m := b.only(b.post(object{"channel": "/meta/" + kind, "subscription": orders}))
			wantError(t, m, "403::Unknown client")
			wantAdvice(t, m, "")
		}
	})
}

func TestDuplicateConnectEndsTheFirst(t *testing.T) {
	for _, status := range []int{http.StatusRequestTimeout, http.StatusInternalServerError} {
		bubble(t, func(t *testing.T, r *rig) {
			b := r.shaken()
			b.follow(orders, -1)
			first := make(chan int, 1)
			go func() {
				resp, _, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`)
				if err == nil {
					first <- resp.StatusCode
				}
				close(first)
			}()
			r.settle()
			second := b.connecting()
			if got := <-first; got != status {
				t.Errorf("the first ended with %d, want %d", got, status)
			}
			want := r.publish(1)
			events, m := split(t, <-second)
			wantEvents(t, events, want...)
			if !m.ok() || r.DuplicateConnects() != 1 || r.Sessions() != 1 {
				t.Errorf("%+v, %d duplicates, %d sessions", m, r.DuplicateConnects(), r.Sessions())
			}
		}, sfstreamtest.WithDuplicateConnectStatus(status))
	}
}

func TestAConnectWithOthersIsNotHeld(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		took(t, 0, func() {
			got := b.post(connectMessage(), subscribeMessage(orders, -1))
			if len(got) != 2 || !got[0].ok() || !got[1].ok() || got[0].Channel != "/meta/connect" {
				t.Errorf("%+v", got)
			}
		})
	})
}

func TestDisconnectWakesPoll(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		took(t, 0, func() {
			m := b.only(b.post(object{"channel": "/meta/disconnect"}))
			if !m.ok() || m.Channel != "/meta/disconnect" {
				t.Errorf("%+v", m)
			}
			_, m = split(t, <-poll)
			wantAdvice(t, m, "none")
			if !m.ok() {
				t.Errorf("%+v", m)
			}
		})
		if r.Sessions() != 0 || r.Streams("") != 0 || r.Disconnects() != 1 {
			t.Errorf("%d sessions, %d streams, %d disconnects", r.Sessions(), r.Streams(""), r.Disconnects())
		}
	})
}

func TestCloseEndsHeldConnectsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		poll := b.connecting()
		took(t, 0, func() {
			check(t, r.Close())
			if got, ok := <-poll; ok {
				t.Errorf("got %+v", got)
			}
		})
	})
}

func TestWhatIsWrittenIntoADeadResponseIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		r.DropConnections()
		<-poll
		r.publish(1)
		r.settle()
		kept := r.publish(1)
		events, _ := b.connect()
		wantEvents(t, events, kept...)
	})
}

func TestARepliesSizeIsLimited(t *testing.T) {
	for name, option := range map[string]sfstreamtest.Option{
		"events": sfstreamtest.WithReplyEvents(2),
		"bytes":  sfstreamtest.WithReplyBytes(700),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				const other = "/event/Other__e"
				check(t, r.DefineEvent(other, schemaFile(t, "neworder")))
				b := r.shaken()
				b.follow(orders, -1)
				b.follow(other, -1)
				var want []sfstreamtest.Event
				for range 5 {
					want = append(want, r.publish(1)...)
					time.Sleep(time.Millisecond)
					e, err := r.Publish(other, nil)
					check(t, err)
					want = append(want, e)
					time.Sleep(time.Millisecond)
				}
				var got []message
				replies := 0
				for len(got) < len(want) {
					events, _ := b.connect()
					if len(events) == 0 || len(events) > 3 {
						t.Fatalf("%d events in a reply", len(events))
					}
					got = append(got, events...)
					replies++
				}
				wantEvents(t, got, want...)
				if replies < 4 {
					t.Errorf("%d replies", replies)
				}
			}, option)
		})
	}
}
