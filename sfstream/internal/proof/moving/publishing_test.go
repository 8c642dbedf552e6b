package moving

import (
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestPublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client := open(t, org, sfstream.WithInDoubt(sfstream.Report))
		order := map[string]any{"Number__c": "A-1"}
		results, err := client.Publish(ctx, "/event/Order__e", order)
		lab.Must(t, err)
		if r := results[0]; r.Outcome != sfstream.Published || r.Err != nil || len(r.ReplayID) == 0 || r.ID == "" {
			t.Errorf("the result is %+v", r)
		}
		id := "8f3c1e0a-4b7d-4c52-9a11-0d6f2b7c9e34"
		_, err = client.Publish(ctx, "/event/Order__e", sfstream.Event{ID: id, Value: order})
		lab.Must(t, err)
		expect(t, "the id that subscribers get", org.Retained(orders)[1].ID, id)
		_, err = client.Publish(ctx, "/u/News", "hello")
		lab.Must(t, err)

		publisher, err := client.Publisher("/event/Order__e")
		lab.Must(t, err)
		receipt, err := publisher.Publish(ctx, order)
		lab.Must(t, err)
		<-receipt.Done()
		lab.Must(t, receipt.Err())
		lab.Must(t, publisher.Flush(ctx))
		lab.Must(t, publisher.Close(ctx))
		expect(t, "events there", len(org.Retained(orders)), 3)
	})
}

// A managed subscription has its place at Salesforce, and Ack commits it.
func TestAManagedSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		_, err := org.DefineManagedSubscription(sfstreamtest.ManagedSubscription{DeveloperName: "Orders", TopicName: orders, DefaultReplay: "EARLIEST"})
		lab.Must(t, err)
		publish(t, org, 1)
		client := open(t, org)
		lab.Must(t, client.SubscribeManaged(ctx, "Orders"))
		msg, err := client.Receive(ctx)
		lab.Must(t, err)
		msg.Ack()
		lab.Must(t, client.Close())
		expect(t, "what is committed", org.ManagedSubscriptions()[0].Committed, org.Retained(orders)[0].ReplayID)
	})
}
