package moving

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// table is a store of a program's own.
type table map[replaystore.Key]replaystore.Marker

func (t table) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	marker, ok := t[key]
	if !ok {
		return marker, replaystore.ErrNotFound
	}
	return marker, nil
}

func (t table) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	maps.Copy(t, markers)
	return nil
}

// Where a channel begins, by the words of others.
func TestWhereAChannelBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org, at := t.Context(), newOrg(t), time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		for n := 1; n <= 3; n++ {
			_, err := org.Publish(orders, map[string]any{"Number__c": fmt.Sprint("A-", n), "CreatedDate": at.Add(time.Duration(n-2) * time.Minute).UnixMilli()})
			lab.Must(t, err)
		}
		id := org.Retained(orders)[1].ReplayID
		for want, option := range map[string]sfstream.SubscribeOption{
			"A-1": sfstream.From(sfstream.ReplayAll),
			"A-3": sfstream.From(sfstream.ReplayAfter(id)),
			"A-2": sfstream.From(sfstream.ReplaySince(at)),
		} {
			client := open(t, org)
			lab.Must(t, client.Subscribe(ctx, orders, option))
			expect(t, "the first event", next(t, client, 1), want)
			lab.Must(t, client.Close())
		}
	})
}

// A channel begins with new events unless something else is said.
func TestNewEvents(t *testing.T) {
	for name, opts := range map[string][]sfstream.SubscribeOption{"of the client": nil, "of the channel": {sfstream.From(sfstream.ReplayNew)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := newOrg(t)
				publish(t, org, 1)
				client := open(t, org, sfstream.WithReplay(sfstream.ReplayNew))
				lab.Must(t, client.Subscribe(t.Context(), orders, opts...))
				lab.Must(t, org.AwaitStreams(t.Context(), orders, 1))
				publish(t, org, 2)
				expect(t, "order", next(t, client, 1), "A-2")
			})
		})
	}
}

// Each kind of storage of others has its counterpart, and a program goes on after what it handled.
func TestStorages(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, newStore := range map[string]func(t *testing.T) replaystore.Store{
		"memory":     func(*testing.T) replaystore.Store { return replaystore.NewMemory() },
		"of its own": func(*testing.T) replaystore.Store { return table{} },
		"file": func(t *testing.T) replaystore.Store {
			file, err := replaystore.OpenBolt("sfstream.db")
			lab.Must(t, err)
			t.Cleanup(func() { _ = file.Close() })
			return file
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org, store := newOrg(t), newStore(t)
				publish(t, org, 1, 2, 3)
				for _, want := range []string{"A-2", "A-3"} { // the second one was not handled in the first run, but in the loop of the second
					saved := 0
					client := open(t, org,
						sfstream.WithReplayStore(store),
						sfstream.WithReplay(sfstream.ReplayAll), // where the store has no marker
						sfstream.WithHooks(sfstream.Hooks{OnSaved: func(key replaystore.Key, marker replaystore.Marker) { saved++ }}),
					)
					lab.Must(t, client.Subscribe(t.Context(), orders))
					expect(t, "order", next(t, client, 2), want)
					lab.Must(t, client.Close())
					expect(t, "markers saved", saved > 0, true)
				}
			})
		})
	}
}

// What counts as handled: WithAck says it, and aiosfstream's replay_storage_policy did.
func TestStoragePolicies(t *testing.T) {
	for want, policy := range map[string]sfstream.Option{
		"A-1": sfstream.WithAck(sfstream.AckManual),
		"A-2": sfstream.WithAck(sfstream.AckAuto),
		"A-3": sfstream.WithAck(sfstream.AckOnReceive),
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org, store := newOrg(t), replaystore.NewMemory()
				publish(t, org, 1, 2, 3)
				first := open(t, org, sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll), policy)
				lab.Must(t, first.Subscribe(t.Context(), orders))
				next(t, first, 2)
				lab.Must(t, first.Close())
				again := open(t, org, sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll))
				lab.Must(t, again.Subscribe(t.Context(), orders))
				expect(t, "the first order after a restart", next(t, again, 1), want)
			})
		})
	}
}

// A fallback is for an id that Salesforce does not know any more, and is told.
func TestFallback(t *testing.T) {
	id := []byte("1") // of another org, perhaps
	for want, fallback := range map[string]sfstream.Option{
		"A-1": sfstream.WithReplayFallback(sfstream.FallbackAll),
		"A-2": sfstream.WithReplayFallback(sfstream.FallbackNew),
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org, gaps := newOrg(t), make(chan sfstream.Gap, 1)
				publish(t, org, 1)
				client := open(t, org, fallback,
					sfstream.WithTransport(sfstream.CometD),
					sfstream.WithReplay(sfstream.ReplayAfter(id)),
					sfstream.WithHooks(sfstream.Hooks{OnGap: func(gap sfstream.Gap) { gaps <- gap }}),
				)
				lab.Must(t, client.Subscribe(t.Context(), orders))
				expect(t, "channel of the gap", (<-gaps).Channel, orders)
				publish(t, org, 2)
				expect(t, "order", next(t, client, 1), want)
			})
		})
	}
}

// A marker of another client's has an id as its API prints it, and perhaps a date.
func TestAMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org, store, date := newOrg(t), replaystore.NewMemory(), time.Now()
		publish(t, org, 1, 2)
		number := fmt.Sprint(org.Retained(orders)[0].Number)
		key := replaystore.Key{OrgID: org.Account().OrgID, API: "cometd", Channel: orders}
		marker := replaystore.Marker{ReplayID: []byte(number), Date: date}
		lab.Must(t, store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: marker}))
		client := open(t, org, sfstream.WithReplayStore(store))
		lab.Must(t, client.Subscribe(t.Context(), orders, sfstream.Via(sfstream.CometD)))
		expect(t, "order after "+number, next(t, client, 1), "A-2")
	})
}
