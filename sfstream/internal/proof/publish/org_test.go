package publish

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

type numbered struct {
	N float64 `sf:"N__c"`
}

// TestSubscribersGetWhatResultsSay publishes over faults, and compares with what a subscriber gets:
// whatever is published is there, whatever is not is not, and only what was in doubt comes twice.
func TestSubscribersGetWhatResultsSay(t *testing.T) {
	for _, transport := range []string{"pubsub", "cometd"} {
		for _, policy := range []sfstream.DoubtPolicy{sfstream.Resend, sfstream.Report} {
			t.Run(fmt.Sprint(transport, "/", policy), func(t *testing.T) {
				for range 3 {
					seed := rand.Uint64()
					synctest.Test(t, func(t *testing.T) {
						t.Logf("seed %d", seed)
						publishOverFaults(t, rand.New(rand.NewPCG(seed, 1)), policy)
					})
				}
			})
		}
	}
}

func publishOverFaults(t *testing.T, r *rand.Rand, policy sfstream.DoubtPolicy) {
	l := lab.New(t)
	c := l.FollowFromOldest(sfstream.WithInDoubt(policy), sfstream.WithPrefetch(5000))
	var results []sfstream.PublishResult
	lost := false
	for range 8 {
		switch r.IntN(6) {
		case 0:
			l.LosePublish(lab.Orders, 1)
			lost = lost || lab.TransportOf(t) == sfstream.PubSub
		case 1:
			l.FailPublish(lab.Orders, 1, "service.protection.triggered")
		case 2:
			n := r.IntN(50)
			l.FailEvents(lab.Orders, func(string, []byte) string {
				n--
				return map[bool]string{true: "The event exceeds the maximum size"}[n == 0]
			})
		case 3:
			l.ExpireToken()
		case 4:
			l.DropConnections()
		}
		events := make([]any, r.IntN(300))
		for i := range events {
			events[i] = numbered{float64(len(results) + i)}
		}
		got, err := c.Publish(t.Context(), lab.Orders, events...)
		if results = append(results, got...); len(got) != len(events) || err != nil != slices.ContainsFunc(got, func(r sfstream.PublishResult) bool { return r.Outcome != sfstream.Published }) {
			t.Fatalf("%d results for %d events: %v", len(got), len(events), err)
		}
		l.FailEvents(lab.Orders, nil)
		l.ClearFaults()
	}
	there := make(map[string]int)
	received := 0
	for n := 0; ; n++ {
		time.Sleep(10 * time.Minute)
		if c.Pending() == 0 {
			break
		}
		for c.Pending() > 0 {
			m := l.Receive()
			there[m.ID]++
			received++
			if i := l.Number(m); results[i].ID != m.ID && results[i].Outcome == sfstream.Published {
				t.Fatalf("event %d came with id %q, its result is %+v", i, m.ID, results[i])
			}
			m.Ack()
		}
	}
	doubts := 0
	for i, res := range results {
		n := there[res.ID]
		switch {
		case res.Outcome == sfstream.InDoubt:
			doubts++
		case res.Outcome == sfstream.Published && n == 0, res.Outcome != sfstream.Published && n > 0, n > 1 && (!lost || policy == sfstream.Report):
			t.Errorf("event %d is %v (%v), and came %d times", i, res.Outcome, res.Err, n)
		}
	}
	t.Logf("%d events, %d received, %d in doubt", len(results), received, doubts)
}

func TestGenericEventsReachTheirSubscribers(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		l := lab.NewStreaming(t)
		c := l.Start()
		l.Subscribe(lab.Generic)
		results, err := c.Publish(t.Context(), lab.Generic, "1", "2", "3")
		lab.Must(t, err)
		if len(results) != 3 {
			t.Errorf("the results are %v", results)
		}
		l.Expect(1, 2, 3)
	})
}

// A field is added between two calls, and the old schema is refused from then on.
func TestAChangedSchemaIsAskedForAnew(t *testing.T) {
	t.Run("PubSub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			c := b.client()
			b.expectStillWorks(c)
			b.schemas["schema2"] = orderSchema(`{"name":"More__c","type":["null","string"],"default":null}`)
			b.topic.SchemaId = "schema2"
			results, err := c.Publish(t.Context(), channel, order{Number: 1}) // the old schema still serves
			expectOutcomes(t, results, err, sfstream.Published)
			results, err = c.Publish(t.Context(), channel, map[string]any{"Number__c": 2, "More__c": "new"})
			expectOutcomes(t, results, err, sfstream.Published)
			if e := b.there[len(b.there)-1]; b.asked != 2 || b.decode(e)["More__c"] != "new" {
				t.Errorf("the topic was asked for %d times, and the last event is %v", b.asked, b.decode(e))
			}
		})
	})
}
