package managed

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const name = "Orders"

// play runs a test in a bubble, with an org that has a managed subscription of the orders, from the
// oldest retained event on.
func play(t *testing.T, do func(l *lab.Lab), opts ...sfstreamtest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, opts...)
		define(l, sfstreamtest.ManagedSubscription{DefaultReplay: "EARLIEST", ErrorRecoveryReplay: "EARLIEST"})
		do(l)
	})
}

func define(l *lab.Lab, m sfstreamtest.ManagedSubscription) (id string) {
	l.T.Helper()
	m.DeveloperName, m.TopicName = name, lab.Orders
	id, err := l.DefineManagedSubscription(m)
	l.Must(err)
	return id
}

// follow starts a program that follows the subscription.
func follow(l *lab.Lab, opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c := l.Start(opts...)
	l.Must(c.SubscribeManaged(l.T.Context(), name))
	return c
}

func committed(l *lab.Lab) []byte { return l.ManagedSubscriptions()[0].Committed }

func expectCommitted(l *lab.Lab, e sfstreamtest.Event) {
	l.T.Helper()
	if got := committed(l); !bytes.Equal(got, e.ReplayID) {
		l.T.Errorf("%x is committed, want %x", got, e.ReplayID)
	}
}

func statusOf(l *lab.Lab) sfstream.ChannelStatus { return l.Client.Status().Channels[0] }

// A program goes on after what its predecessor has handled, and no store is asked.
func TestAProgramGoesOnAfterItsLastCommit(t *testing.T) {
	play(t, func(l *lab.Lab) {
		var saved atomic.Int64
		hooks := sfstream.WithHooks(sfstream.Hooks{OnSaved: func(key replaystore.Key, m replaystore.Marker) {
			if saved.Add(1); key.API != "managed" || key.Channel != name || len(m.ReplayID) == 0 {
				t.Errorf("saved %+v %+v", key, m)
			}
		}})
		events := l.PublishOrders(1, 2, 3)
		c := follow(l, hooks)
		for range 3 {
			if m := lab.Receive(l.T, c); m.Channel != lab.Orders {
				t.Errorf("channel %q", m.Channel)
			}
		}
		time.Sleep(time.Second)
		expectCommitted(l, events[1])
		if s := statusOf(l); s.Channel != name || s.Managed == nil || s.Managed.Topic != lab.Orders ||
			!bytes.Equal(s.Managed.Committed, events[1].ReplayID) || s.Managed.CommittedAt.IsZero() || saved.Load() == 0 {
			t.Errorf("status %+v %+v, saved %d", s, s.Managed, saved.Load())
		}
		l.Must(c.Close())
		follow(l)
		l.Expect(3)
		l.PublishOrders(4)
		l.Expect(4)
	})
}

// Close and Unsubscribe commit what is handled, though it is not 100 ms old.
func TestTheLastCommitIsWaitedFor(t *testing.T) {
	for _, leave := range []func(l *lab.Lab) error{
		func(l *lab.Lab) error { return l.Client.Close() },
		func(l *lab.Lab) error { return l.Client.Unsubscribe(l.T.Context(), name) },
		func(l *lab.Lab) error { // the end of a loop
			for range l.Client.Messages(l.T.Context()) {
				break
			}
			return nil
		},
	} {
		play(t, func(l *lab.Lab) {
			events := l.PublishOrders(1, 2)
			c := follow(l)
			lab.Receive(l.T, c).Ack()
			l.Must(leave(l))
			expectCommitted(l, events[0])
		}, sfstreamtest.WithCommitDelay(300*time.Millisecond))
	}
}

// What was received and is not committed comes again after a reconnect. It is handed out once.
func TestWhatComesAgainIsHandedOutOnce(t *testing.T) {
	play(t, func(l *lab.Lab) {
		l.PublishOrders(lab.Numbers(1, 5)...)
		c := follow(l, sfstream.WithAck(sfstream.AckManual))
		first := lab.Receive(l.T, c)
		second := lab.Receive(l.T, c)
		second.Ack() // its commit waits for the first one's
		l.EndStreams(lab.Orders, "UNAVAILABLE")
		l.PublishOrders(6, 7)
		time.Sleep(time.Minute)
		l.Expect(3, 4, 5, 6, 7)
		first.Ack()
		l.ExpectQuiet(5 * time.Minute)
		if got := statusOf(l); got.Gaps != 0 {
			t.Errorf("%d gaps", got.Gaps)
		}
	}, sfstreamtest.WithCommitPerStream())
}

// What is handled while there is no session is committed by the next one.
func TestCommitsWaitForASession(t *testing.T) {
	play(t, func(l *lab.Lab) {
		events := l.PublishOrders(1, 2)
		c := follow(l, sfstream.WithAck(sfstream.AckManual))
		m := lab.Receive(l.T, c)
		l.Outage(time.Minute, func() {
			m.Ack()
			time.Sleep(30 * time.Second)
			if s := l.Client.Status(); s.StoreError != nil || len(committed(l)) > 0 {
				t.Errorf("store %v, committed %x", s.StoreError, committed(l))
			}
		})
		time.Sleep(2 * time.Minute)
		expectCommitted(l, events[0])
	})
}

// A commit that is refused is told, ends nothing, and is tried again.
func TestARefusedCommitIsNotFatal(t *testing.T) {
	play(t, func(l *lab.Lab) {
		l.FailCommits(lab.Orders, -1, "not today")
		events := l.PublishOrders(1, 2)
		c := follow(l)
		lab.Receive(l.T, c).Ack()
		time.Sleep(time.Hour)
		if s := statusOf(l); s.Managed.CommitError == nil || !strings.Contains(s.Managed.CommitError.Error(), "not today") {
			t.Errorf("%+v", s.Managed)
		}
		if n := len(l.Log.Warnings("commit")); n != 1 {
			t.Errorf("%d warnings", n)
		}
		l.Must(c.Err())
		l.ClearFaults()
		time.Sleep(time.Minute)
		expectCommitted(l, events[0])
		if s := statusOf(l); s.Managed.CommitError != nil {
			t.Errorf("%v", s.Managed.CommitError)
		}
		lab.Receive(l.T, c)
	})
}

// The last commit is sent again on a quiet stream, so that it lives.
func TestAQuietStreamLives(t *testing.T) {
	for _, hold := range []bool{false, true} {
		play(t, func(l *lab.Lab) {
			l.HoldKeepaliveID(hold)
			l.PublishOrders(1)
			follow(l)
			l.Expect(1)
			time.Sleep(10 * time.Hour)
			if n := len(l.Subscribes(lab.Orders)); n != 1 {
				t.Errorf("%d streams", n)
			}
			l.PublishOrders(2)
			l.Expect(2)
		})
	}
}

// So does one whose consumer handles nothing for long.
func TestAStreamOfASlowConsumerLives(t *testing.T) {
	play(t, func(l *lab.Lab) {
		l.PublishOrders(1, 2)
		c := follow(l, sfstream.WithAck(sfstream.AckManual))
		lab.Receive(l.T, c).Ack()
		for n := range 20 {
			time.Sleep(5 * time.Minute)
			l.PublishOrders(3 + n)
		}
		if n := len(l.Subscribes(lab.Orders)); n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}

// A stream that had nothing to commit is ended by the server. Nobody is told of trouble.
func TestAStreamWithoutEventsIsResumedInSilence(t *testing.T) {
	play(t, func(l *lab.Lab) {
		follow(l)
		time.Sleep(2 * time.Hour)
		l.ExpectUnworried()
		if s := statusOf(l); s.LastError != nil || len(l.Subscribes(lab.Orders)) < 30 {
			t.Errorf("%d streams, %v", len(l.Subscribes(lab.Orders)), s.LastError)
		}
		l.PublishOrders(1)
		l.Expect(1)
	}, sfstreamtest.WithKeepalive(4*time.Minute), sfstreamtest.WithCommitIdle(3*time.Minute))
}

// An answer to a commit is no reason to commit.
func TestCommitsEnd(t *testing.T) {
	play(t, func(l *lab.Lab) {
		var saves atomic.Int64
		l.PublishOrders(1)
		follow(l, sfstream.WithHooks(sfstream.Hooks{OnSaved: func(replaystore.Key, replaystore.Marker) { saves.Add(1) }}))
		l.Expect(1)
		time.Sleep(50 * time.Second)
		before := saves.Load()
		time.Sleep(10 * time.Minute)
		if more := saves.Load() - before; more < 5 || more > 12 { // one for each keepalive
			t.Errorf("%d commits in ten quiet minutes", more)
		}
	})
}

// While another client has the subscription, the call waits and says so once.
func TestATakenSubscriptionIsWaitedFor(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithManagedPrecondition()}} {
		play(t, func(l *lab.Lab) {
			first := follow(l)
			second := l.Start()
			done := make(chan error, 1)
			began := time.Now()
			go func() { done <- second.SubscribeManaged(l.T.Context(), name) }()
			time.Sleep(20 * time.Minute)
			told := 0
			for line := range strings.Lines(l.Log.String()) {
				if strings.Contains(line, "another client follows the managed subscription") && !strings.Contains(line, "level=DEBUG") {
					told++
				}
			}
			if told != 1 {
				t.Errorf("told %d times", told)
			}
			if s := statusOf(l); s.State != sfstream.StateWaiting && s.State != sfstream.StateOpening || s.LastError == nil {
				t.Errorf("%+v", s)
			}
			l.Must(first.Close())
			l.Must(<-done)
			if took := time.Since(began); took > 22*time.Minute {
				t.Errorf("it took %s", took)
			}
			l.PublishOrders(1)
			l.Expect(1)
		}, opts...)
	}
}

func TestTheWaitForASlotEndsWithItsContext(t *testing.T) {
	play(t, func(l *lab.Lab) {
		follow(l)
		second := l.Start()
		ctx, cancel := context.WithTimeout(l.T.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		err := second.SubscribeManaged(ctx, name)
		var server *sfstream.ServerError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &server) || time.Since(began) != time.Hour {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// A slot that is lost is had again after 15 minutes, and nothing is lost.
func TestALostSlotComesBack(t *testing.T) {
	play(t, func(l *lab.Lab) {
		l.PublishOrders(1)
		follow(l)
		l.Expect(1)
		l.Blackhole()
		l.PublishOrders(2)
		time.Sleep(25 * time.Minute)
		l.Expect(2)
	})
}

func TestRefusals(t *testing.T) {
	play(t, func(l *lab.Lab) {
		c := l.Start()
		for _, bad := range []error{
			c.SubscribeManaged(l.T.Context(), "/event/Orders__e"), c.SubscribeManaged(l.T.Context(), ""),
			c.SubscribeManaged(l.T.Context(), name, sfstream.From(sfstream.ReplayAll)), c.SubscribeManaged(l.T.Context(), name, sfstream.Via(sfstream.CometD)),
		} {
			if !errors.Is(bad, sfstream.ErrInvalidOption) {
				t.Errorf("%v", bad)
			}
		}
		began := time.Now()
		if e := lab.ExpectError[*sfstream.ServerError](l.T, c.SubscribeManaged(l.T.Context(), "Nobody")); e.Code != sfstream.NotFound || e.Channel != "Nobody" {
			t.Errorf("%v", e)
		}
		if took := time.Since(began); took < 15*time.Second || took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
		l.Must(c.SubscribeManaged(l.T.Context(), name))
		if err := c.SubscribeManaged(l.T.Context(), name); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
			t.Errorf("%v", err)
		}
		l.Must(c.Unsubscribe(l.T.Context(), name))
		l.Must(c.Subscribe(l.T.Context(), lab.Orders))
	})
}

// A subscription that was just made may not be known at once.
func TestANewSubscriptionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		time.AfterFunc(5*time.Second, func() { define(l, sfstreamtest.ManagedSubscription{DefaultReplay: "EARLIEST"}) })
		l.PublishOrders(1)
		c := follow(l)
		if m := lab.Receive(l.T, c); m.Channel != name || l.Number(m) != 1 {
			t.Errorf("%+v", m) // the Tooling API did not know it
		}
	})
}

// STOP and a deletion end the client at once, with the reason.
func TestAStoppedSubscriptionEndsTheClient(t *testing.T) {
	for reason, end := range map[string]func(l *lab.Lab){
		"config.stopped": func(l *lab.Lab) {
			define(l, sfstreamtest.ManagedSubscription{DefaultReplay: "EARLIEST", State: "STOP"})
		},
		"config.deleted": func(l *lab.Lab) { l.Must(l.RemoveManagedSubscription(name)) },
	} {
		play(t, func(l *lab.Lab) {
			follow(l)
			end(l)
			if e := lab.ExpectEnd[*sfstream.ServerError](l); !strings.HasSuffix(e.Reason, reason) || e.Channel != name || e.Remedy() == "" {
				t.Errorf("%v", e)
			}
		})
	}
}

// What is committed ages out: the next stream begins where the subscription says.
func TestACommitAgesOut(t *testing.T) {
	for _, refused := range []bool{false, true} {
		opts := []sfstreamtest.Option{}
		if refused {
			opts = append(opts, sfstreamtest.WithAgedCommitRefused())
		}
		play(t, func(l *lab.Lab) {
			l.PublishOrders(1)
			follow(l)
			l.Expect(1)
			l.PublishOrders(2)
			l.Expect(2)
			time.Sleep(time.Second)
			l.Outage(10*time.Minute, func() {
				l.Must(l.TruncateReplay(lab.Orders))
				l.PublishOrders(3, 4)
			})
			l.Expect(3, 4)
			if refused != (l.GapCount() == 1) {
				t.Errorf("%d gaps", l.GapCount())
			}
			last := l.PublishOrders(5)
			l.Expect(5)
			time.Sleep(time.Second)
			expectCommitted(l, last[0])
		}, opts...)
	}
}

// By its id, with the events of a change channel that has groups.
func TestByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		id := define(l, sfstreamtest.ManagedSubscription{DefaultReplay: "EARLIEST"})
		for _, given := range []string{id, id[:15]} {
			l.PublishOrders(1)
			c := l.Start()
			l.Must(c.SubscribeManaged(l.T.Context(), given))
			lab.Receive(l.T, c).Ack()
			l.Must(c.Unsubscribe(l.T.Context(), given))
			l.Must(c.Close())
		}
	})
}
