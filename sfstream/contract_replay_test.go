package sfstream_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contractReplayRules are rules 4–7, 9 and 10 of the delivery contract.
func contractReplayRules() []rule {
	return slices.Concat(startRules(), resumeRules(), staleRules(), duplicateRules(), badEventRules(), endRules())
}

// startRules prove where a subscription starts.
func startRules() []rule {
	return []rule{
		{number: 4, words: "From wins over the stored marker", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3, 4)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2, 3, 4)
			l.stop()
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(events[1].ReplayID)))
			l.expect(3, 4)
			l.stop()
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplayAll))
			l.expect(1, 2, 3, 4)
		}},
		{number: 4, words: "From(ReplayNew) wins over the stored marker, and a restart knows", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2)
			l.stop()
			l.publish(3)
			l.pass(2 * time.Hour)
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplayNew))
			l.stop()
			l.publish(4)
			l.follow()
			l.expect(4)
		}},
		{number: 4, words: "From takes the marker back at once", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2, 3)
			l.stop()
			for _, from := range []sfstream.Replay{sfstream.ReplayAll, sfstream.ReplayAfter(events[0].ReplayID), sfstream.ReplaySince(time.Now())} {
				l.start()
				l.subscribe(labOrders, sfstream.From(from))
				l.stop() // nothing was handled: a restarted program must begin there again
				l.follow()
				if m := l.receive(); l.number(m) > 2 {
					t.Errorf("after From(%v) a restart begins at number %d", from, l.number(m))
				}
				l.stop()
			}
		}},
		{number: 4, words: "the stored marker wins over WithReplay", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2, 3)
			l.stop()
			l.publish(4, 5)
			l.follow(sfstream.WithReplay(sfstream.ReplayNew))
			l.expectSubscribe(labOrders, "CUSTOM", events[2].ReplayID)
			l.expect(4, 5)
			l.stop()
			l.publish(6)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(6)
		}},
		{number: 4, words: "a marker of another org or channel does not count", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2)
			other := l.key(apiOf(t), labOrders)
			other.OrgID = "00D000000000062EAA"
			l.save(other, replaystore.Marker{ReplayID: events[0].ReplayID})
			l.save(l.key(apiOf(t), "/event/Other__e"), replaystore.Marker{ReplayID: events[0].ReplayID})
			l.follow()
			l.expectSubscribe(labOrders, "LATEST", nil)
			l.expectStillWorks(labOrders)
		}},
		{number: 4, words: "a marker of the other API only starts at its Date", run: func(t *testing.T) {
			otherAPI(t, func(at time.Time) replaystore.Marker {
				return replaystore.Marker{ReplayID: []byte("17"), Date: at, Live: at.Add(90 * time.Minute)}
			}, 2, 3)
		}},
		{number: 4, words: "a marker of the other API without Date starts at its Live", run: func(t *testing.T) {
			otherAPI(t, func(at time.Time) replaystore.Marker {
				return replaystore.Marker{ReplayID: []byte("17"), Live: at}
			}, 2, 3)
		}},
		{number: 4, words: "a marker of the other API with neither starts at the oldest", run: func(t *testing.T) {
			otherAPI(t, func(time.Time) replaystore.Marker { return replaystore.Marker{ReplayID: []byte("17")} }, 1, 2, 3)
		}},
		{number: 4, words: "the marker of this API wins over one of the other", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.save(l.key(otherThan(t), labOrders), replaystore.Marker{ReplayID: []byte("17"), Date: time.Now().Add(-time.Hour)})
			l.save(l.key(apiOf(t), labOrders), replaystore.Marker{ReplayID: events[1].ReplayID})
			l.follow()
			l.expect(3)
		}},
		{number: 4, words: "From applies to the first subscribe of a run, not to reconnects", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplayAll))
			l.expect(1, 2, 3)
			l.reconnect(labOrders)
			l.expectSubscribe(labOrders, "CUSTOM", events[2].ReplayID)
			l.publish(4)
			l.expect(4)
			l.must(l.client.Unsubscribe(t.Context(), labOrders))
			l.publish(5)
			l.subscribe(labOrders)
			l.expect(5)
		}},
		{number: 4, words: "a bare channel is subscribed once", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			for _, channel := range []string{labOrders, labOrders + "?N__c=1"} {
				if err := l.client.Subscribe(t.Context(), channel); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
					t.Errorf("second Subscribe of %s: %v", channel, err)
				}
			}
			if got := l.client.Subscriptions(); !slices.Equal(got, []string{labOrders}) {
				t.Errorf("subscriptions %q", got)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 4, words: "many at once get one subscription of a channel", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			errs := make(chan error)
			for range 10 {
				go func() { errs <- l.client.Subscribe(t.Context(), labOrders) }()
			}
			succeeded := 0
			for range 10 {
				switch err := <-errs; {
				case err == nil:
					succeeded++
				case !errors.Is(err, sfstream.ErrAlreadySubscribed):
					t.Error(err)
				}
			}
			synctest.Wait()
			if succeeded != 1 {
				t.Errorf("%d of 10 succeeded", succeeded)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 4, words: "ReplayNew starts with what is published from now on", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow()
			l.publish(3)
			l.expect(3)
		}},
		{number: 4, words: "ReplayAll starts with the oldest retained event", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.pass(73 * time.Hour)
			l.publish(2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(2, 3)
		}},
		{number: 4, words: "ReplayAfter starts strictly after an id, of 10 bytes or 8", run: func(t *testing.T) {
			l := newLab(t)
			id := l.publish(1, 2, 3)[1].ReplayID
			l.start()
			for _, id := range [][]byte{id, id[:8]} {
				l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(id)))
				l.expectSubscribe(labOrders, "CUSTOM", id)
				l.expect(3)
				l.must(l.client.Unsubscribe(t.Context(), labOrders))
			}
		}},
		{number: 4, words: "ReplaySince is exact", run: func(t *testing.T) {
			l := newLab(t)
			since := time.Now().Add(-time.Hour)
			l.publishDated(1, since.Add(-time.Second))
			l.publishDated(2, since.Add(-time.Millisecond))
			l.publishDated(3, since)
			l.publishDated(4, since.Add(-30*time.Minute)) // came after one that is not older
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(since)))
			l.expect(3, 4)
			l.publish(5)
			l.expect(5)
		}},
		{number: 4, words: "ReplaySince of a change event goes by its commit time", run: func(t *testing.T) {
			l := newLab(t)
			l.change(1)
			l.pass(time.Second)
			since := time.Now()
			l.change(2)
			l.start()
			l.subscribe(labAccounts, sfstream.From(sfstream.ReplaySince(since)))
			l.expect(2)
		}},
		{number: 4, words: "ReplaySince skips nothing whose date is in the future or past what is retained", run: func(t *testing.T) {
			l := newLab(t)
			since := time.Now().Add(-time.Hour)
			old := since.Add(-time.Second)
			l.publishDated(1, old)
			l.publishDated(2, time.Now().Add(time.Hour))
			l.publishDated(3, old)
			l.publishDated(4, time.Now().Add(-74*time.Hour))
			l.publishDated(5, old)
			l.publishDated(6, time.UnixMilli(0))
			l.publishDated(7, old)
			l.publishDated(8, since)
			l.start()
			l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(since)))
			l.expect(2, 4, 6, 8)
		}},
		{number: 4, words: "ReplaySince skips no event without a date or with an unreadable one", run: func(t *testing.T) {
			l := newLab(t)
			l.publishOn(labUndated, 1, 2)
			l.pass(2 * time.Hour)
			_, err := l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
			l.must(err)
			l.start()
			l.subscribe(labUndated, sfstream.From(sfstream.ReplaySince(time.Now())))
			l.expect(1, 2)
			l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(time.Now())))
			l.receive().Ack()
		}},
		{number: 4, words: "ReplaySince a time before all time is ReplayAll", run: func(t *testing.T) {
			for _, at := range []time.Time{{}, time.Time{}.Add(24 * time.Hour), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0)} {
				l := newLab(t)
				l.publish(1, 2)
				l.start()
				l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(at)))
				l.expect(1, 2)
			}
		}},
		{number: 4, words: "a start that cannot be is refused", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			if err := l.client.Subscribe(t.Context(), labOrders, sfstream.From(sfstream.ReplayAfter(nil))); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("From(ReplayAfter(nil)): %v", err)
			}
			l.subscribe(labOrders)
		}},
		{number: 4, words: "a store that cannot be read fails Subscribe and nothing else", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			broken := &faultyStore{Store: l.store, load: errors.New("disk gone")}
			l.start(sfstream.WithReplayStore(broken), sfstream.WithReplay(sfstream.ReplayAll))
			err := l.client.Subscribe(t.Context(), labOrders)
			if e := expectError[*sfstream.StoreError](t, err); e.Channel != labOrders || e.Op != "load" {
				t.Errorf("%+v", e)
			}
			broken.load = nil
			l.subscribe(labOrders)
			l.expect(1)
		}},
	}
}

// faultyStore fails as told.
type faultyStore struct {
	replaystore.Store
	load error
}

func (s *faultyStore) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	if s.load != nil {
		return replaystore.Marker{}, s.load
	}
	return s.Store.Load(ctx, key)
}

// otherAPI follows a channel of which only the other API has a marker: number 1
// is 3 hours older than it, 2 half an hour, within the margin, and 3 newer.
func otherAPI(t *testing.T, marker func(at time.Time) replaystore.Marker, want ...int) {
	l := newLab(t)
	at := time.Now().Add(3 * time.Hour)
	l.publish(1)
	l.pass(2*time.Hour + 30*time.Minute)
	l.publish(2)
	l.pass(time.Hour)
	l.publish(3)
	l.pass(time.Hour)
	l.save(l.key(otherThan(t), labOrders), marker(at))
	l.follow()
	l.expect(want...)
	if n := l.log.count("other API"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	l.reconnect(labOrders)
	l.expectStillWorks(labOrders)
	if n := l.log.count("other API"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}
