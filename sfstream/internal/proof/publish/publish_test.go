package publish

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestEventsOfAllKindsArePublishedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		c := b.client()
		own := "0b5f9b3c-9c1e-4d3e-8a53-0a1f6c9b7d21"
		results, err := c.Publish(t.Context(), channel,
			order{0, "struct"}, &order{1, "pointer"}, map[string]any{"Number__c": 2, "Note__c": "map"},
			sfstream.Event{ID: own, Value: order{3, "id"}}, &sfstream.Event{Value: map[string]any{"Number__c": 4}},
		)
		expectOutcomes(t, results, err, slices.Repeat([]sfstream.Outcome{sfstream.Published}, 5)...)
		b.expectTrue(results)
		if got := b.numbers(); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("the channel has %v", got)
		}
		if results[3].ID != own || len(results[0].ID) != 36 || results[0].ID == results[1].ID {
			t.Errorf("the ids are %q, %q, %q", results[0].ID, results[1].ID, results[3].ID)
		}
		for i, e := range b.there {
			fields := b.decode(e)
			if e.Id != results[i].ID || fields["CreatedById"] != user || fields["CreatedDate"] != time.Now().UnixMilli() {
				t.Errorf("event %d is %v, with id %q", i, fields, e.Id)
			}
		}
		b.expectStillWorks(c)
		if b.asked != 1 || b.logins != 1 {
			t.Errorf("the topic was asked for %d times, after %d logins", b.asked, b.logins)
		}
	})
}

func TestRequestsHaveTwoHundredEventsAndThreeMegabytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		c := b.client()
		results, err := c.Publish(t.Context(), channel, orders(450)...)
		lab.Must(t, err)
		b.expectTrue(results)
		if got := b.batches(); !slices.Equal(got, []int{200, 200, 50}) || !slices.IsSorted(b.numbers()) {
			t.Errorf("requests had %v events", got)
		}
		big := strings.Repeat("x", 700_000)
		b.requests = nil
		results, err = c.Publish(t.Context(), channel, order{0, big}, order{1, big}, order{2, big + big}, order{3, big}, order{4, big}, order{5, big})
		expectOutcomes(t, results, err, sfstream.Published, sfstream.Published, sfstream.Refused, sfstream.Published, sfstream.Published, sfstream.Published)
		b.expectTrue(results)
		lab.ExpectError[*sfstream.EncodeError](t, results[2].Err)
		if got := b.batches(); !slices.Equal(got, []int{4, 1}) {
			t.Errorf("requests had %v events", got)
		}
	})
}
