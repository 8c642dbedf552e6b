package contract

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// startRules prove where a subscription starts.
func startRules() []rule {
	return []rule{
		{number: 4, words: "From wins over the stored marker", run: fromWins},
		{number: 4, words: "From(ReplayNew) wins over the stored marker, and a restart knows", run: fromNewWins},
		{number: 4, words: "From takes the marker back at once", run: fromMovesMarker},
		{number: 4, words: "the stored marker wins over WithReplay", run: markerWins},
		{number: 4, words: "a marker of another org or channel does not count", run: foreignMarker},
		{number: 4, words: "a marker of the other API only starts at its Date", run: otherAPIDate},
		{number: 4, words: "a marker of the other API without Date starts at its Live", run: otherAPILive},
		{number: 4, words: "a marker of the other API with neither starts at the oldest", run: otherAPINothing},
		{number: 4, words: "the marker of this API wins over one of the other", run: ownAPIWins},
		{number: 4, words: "From applies to the first subscribe of a run, not to reconnects", run: fromAppliesOnce},
		{number: 4, words: "a bare channel is subscribed once", run: bareChannelOnce},
		{number: 4, words: "many at once get one subscription of a channel", run: subscribedAtOnce},
		{number: 4, words: "ReplayNew starts with what is published from now on", run: startNew},
		{number: 4, words: "ReplayAll starts with the oldest retained event", run: startAll},
		// Pub/Sub API only: an id of CometD is a number.
		{number: 4, words: "ReplayAfter starts strictly after an id, of 10 bytes or 8", run: startAfter, only: sfstream.PubSub},
		{number: 4, words: "ReplaySince is exact", run: startSince},
		{number: 4, words: "ReplaySince of a change event goes by its commit time", run: startSinceCommit},
		{number: 4, words: "ReplaySince skips nothing whose date is in the future or past what is retained", run: startSinceOddDates},
		{number: 4, words: "ReplaySince skips no event without a date or with an unreadable one", run: startSinceNoDate},
		{number: 4, words: "ReplaySince a time before all time is ReplayAll", run: startSinceEver},
		{number: 4, words: "a start that cannot be is refused", run: startRefused},
		{number: 4, words: "a store that cannot be read fails Subscribe and nothing else", run: unreadableStore},
	}
}

func fromWins(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3, 4)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2, 3, 4)
	l.Stop()
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(events[1].ReplayID)))
	l.Expect(3, 4)
	l.Stop()
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAll))
	l.Expect(1, 2, 3, 4)
}

func fromNewWins(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2)
	l.Stop()
	l.PublishOrders(3)
	l.Pass(2 * time.Hour)
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayNew))
	l.Stop()
	l.PublishOrders(4)
	l.Follow()
	l.Expect(4)
}

func fromMovesMarker(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2, 3)
	l.Stop()
	for _, from := range []sfstream.Replay{sfstream.ReplayAll, sfstream.ReplayAfter(events[0].ReplayID), sfstream.ReplaySince(time.Now())} {
		l.Start()
		l.Subscribe(lab.Orders, sfstream.From(from))
		l.Stop() // nothing was handled: a restarted program must begin there again
		l.Follow()
		if m := l.Receive(); l.Number(m) > 2 {
			t.Errorf("after From(%v) a restart begins at number %d", from, l.Number(m))
		}
		l.Stop()
	}
}

func markerWins(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2, 3)
	l.Stop()
	l.PublishOrders(4, 5)
	l.Follow(sfstream.WithReplay(sfstream.ReplayNew))
	l.ExpectSubscribe(lab.Orders, "CUSTOM", events[2].ReplayID)
	l.Expect(4, 5)
	l.Stop()
	l.PublishOrders(6)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(6)
}

func foreignMarker(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2)
	other := l.Key(lab.APIOf(t), lab.Orders)
	other.OrgID = "00D000000000062EAA"
	l.Save(other, replaystore.Marker{ReplayID: events[0].ReplayID})
	l.Save(l.Key(lab.APIOf(t), "/event/Other__e"), replaystore.Marker{ReplayID: events[0].ReplayID})
	l.Follow()
	l.ExpectSubscribe(lab.Orders, "LATEST", nil)
	l.ExpectStillWorks(lab.Orders)
}

func otherAPIDate(t *testing.T) {
	otherAPI(t, func(at time.Time) replaystore.Marker {
		return replaystore.Marker{ReplayID: []byte("17"), Date: at, Live: at.Add(90 * time.Minute)}
	}, 2, 3)
}

func otherAPILive(t *testing.T) {
	otherAPI(t, func(at time.Time) replaystore.Marker {
		return replaystore.Marker{ReplayID: []byte("17"), Live: at}
	}, 2, 3)
}

func otherAPINothing(t *testing.T) {
	otherAPI(t, func(time.Time) replaystore.Marker { return replaystore.Marker{ReplayID: []byte("17")} }, 1, 2, 3)
}

func ownAPIWins(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Save(l.Key(otherThan(t), lab.Orders), replaystore.Marker{ReplayID: []byte("17"), Date: time.Now().Add(-time.Hour)})
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{ReplayID: events[1].ReplayID})
	l.Follow()
	l.Expect(3)
}

func fromAppliesOnce(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAll))
	l.Expect(1, 2, 3)
	l.Reconnect(lab.Orders)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", events[2].ReplayID)
	l.PublishOrders(4)
	l.Expect(4)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	l.PublishOrders(5)
	l.Subscribe(lab.Orders)
	l.Expect(5)
}

func bareChannelOnce(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for _, channel := range []string{lab.Orders, lab.Orders + "?N__c=1"} {
		if err := l.Client.Subscribe(t.Context(), channel); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
			t.Errorf("second Subscribe of %s: %v", channel, err)
		}
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.Orders}) {
		t.Errorf("subscriptions %q", got)
	}
	l.ExpectStillWorks(lab.Orders)
}

func subscribedAtOnce(t *testing.T) {
	l := lab.New(t)
	l.Start()
	errs := make(chan error)
	for range 10 {
		go func() { errs <- l.Client.Subscribe(t.Context(), lab.Orders) }()
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
	l.ExpectStillWorks(lab.Orders)
}

func startNew(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow()
	l.PublishOrders(3)
	l.Expect(3)
}

func startAll(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(73 * time.Hour)
	l.PublishOrders(2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(2, 3)
}

func startAfter(t *testing.T) {
	l := lab.New(t)
	id := l.PublishOrders(1, 2, 3)[1].ReplayID
	l.Start()
	for _, id := range [][]byte{id, id[:8]} {
		l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(id)))
		l.ExpectSubscribe(lab.Orders, "CUSTOM", id)
		l.Expect(3)
		l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	}
}

func startSince(t *testing.T) {
	l := lab.New(t)
	since := time.Now().Add(-time.Hour)
	l.PublishDated(1, since.Add(-time.Second))
	l.PublishDated(2, since.Add(-time.Millisecond))
	l.PublishDated(3, since)
	l.PublishDated(4, since.Add(-30*time.Minute)) // came after one that is not older
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(since)))
	l.Expect(3, 4)
	l.PublishOrders(5)
	l.Expect(5)
}

func startSinceCommit(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1)
	l.Pass(time.Second)
	since := time.Now()
	l.ChangeAccount(2)
	l.Start()
	l.Subscribe(lab.Accounts, sfstream.From(sfstream.ReplaySince(since)))
	l.Expect(2)
}

func startSinceOddDates(t *testing.T) {
	l := lab.New(t)
	since := time.Now().Add(-time.Hour)
	old := since.Add(-time.Second)
	l.PublishDated(1, old)
	l.PublishDated(2, time.Now().Add(time.Hour))
	l.PublishDated(3, old)
	l.PublishDated(4, time.Now().Add(-74*time.Hour))
	l.PublishDated(5, old)
	l.PublishDated(6, time.UnixMilli(0))
	l.PublishDated(7, old)
	l.PublishDated(8, since)
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(since)))
	l.Expect(2, 4, 6, 8)
}

func startSinceNoDate(t *testing.T) {
	l := lab.New(t)
	l.PublishNumbers(lab.Undated, 1, 2)
	l.Pass(2 * time.Hour)
	_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
	l.Must(err)
	l.Start()
	l.Subscribe(lab.Undated, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.Expect(1, 2)
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.Receive().Ack()
}

func startSinceEver(t *testing.T) {
	for _, at := range []time.Time{{}, time.Time{}.Add(24 * time.Hour), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0)} {
		l := lab.New(t)
		l.PublishOrders(1, 2)
		l.Start()
		l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(at)))
		l.Expect(1, 2)
	}
}

func startRefused(t *testing.T) {
	l := lab.New(t)
	l.Start()
	if err := l.Client.Subscribe(t.Context(), lab.Orders, sfstream.From(sfstream.ReplayAfter(nil))); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("From(ReplayAfter(nil)): %v", err)
	}
	l.Subscribe(lab.Orders)
}

func unreadableStore(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	broken := lab.NewStore(t)
	broken.BeforeLoad(func(context.Context) error { return errors.New("disk gone") })
	l.Start(sfstream.WithReplayStore(broken), sfstream.WithReplay(sfstream.ReplayAll))
	err := l.Client.Subscribe(t.Context(), lab.Orders)
	if e := lab.ExpectError[*sfstream.StoreError](t, err); e.Channel != lab.Orders || e.Op != "load" {
		t.Errorf("%+v", e)
	}
	broken.BeforeLoad(nil)
	l.Subscribe(lab.Orders)
	l.Expect(1)
}

// otherAPI follows a channel of which only the other API has a marker: number 1 is 3 hours older
// than it, 2 half an hour, within the margin, and 3 newer.
func otherAPI(t *testing.T, marker func(at time.Time) replaystore.Marker, want ...int) {
	l := lab.New(t)
	at := time.Now().Add(3 * time.Hour)
	l.PublishOrders(1)
	l.Pass(2*time.Hour + 30*time.Minute)
	l.PublishOrders(2)
	l.Pass(time.Hour)
	l.PublishOrders(3)
	l.Pass(time.Hour)
	l.Save(l.Key(otherThan(t), lab.Orders), marker(at))
	l.Follow()
	l.Expect(want...)
	if n := l.Log.Count("other API"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	l.Reconnect(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
	if n := l.Log.Count("other API"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}
