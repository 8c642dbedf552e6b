package moving

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// A PushTopic that is declared is made or changed, and deliberately never made twice.
func TestPushTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client := open(t, org)
		topics := channels.NewPushTopics(client)
		topic := channels.PushTopic{
			Name:            "Phones",
			Query:           "SELECT Id, Phone FROM Account",
			NotifyForFields: channels.All,
			Operations:      channels.Create | channels.Update,
		}
		declared, err := topics.Declare(ctx, topic)
		lab.Must(t, err)
		again, err := topics.Declare(ctx, topic)
		lab.Must(t, err)
		expect(t, "the id of the second one", again.ID, declared.ID)
		there, err := topics.Get(ctx, "Phones")
		lab.Must(t, err)
		expect(t, "query", there.Query, topic.Query)
		lab.Must(t, client.Subscribe(ctx, topic.Channel()))
		lab.Must(t, topics.Delete(ctx, "Phones"))
		if _, err = topics.Get(ctx, "Phones"); !errors.Is(err, channels.ErrNotFound) {
			t.Errorf("a deleted topic: %v", err)
		}
	})
}

// A push is for all, or for users, and tells who was there.
func TestGenericChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client, me := open(t, org), org.Account().UserID
		generic := channels.NewGeneric(client)
		_, err := generic.Create(ctx, channels.GenericChannel{Name: "/u/Notes"})
		lab.Must(t, err)
		lab.Must(t, client.Subscribe(ctx, "/u/Notes"))
		online, err := generic.Online(ctx, "/u/Notes")
		lab.Must(t, err)
		expect(t, "who is online", online, []string{me})
		results, err := generic.Push(ctx, "/u/Notes", channels.PushEvent{Payload: "hello", UserIDs: []string{me}})
		lab.Must(t, err)
		if r := results[0]; r.FanoutCount != 1 || !r.Online[me] || r.Outcome != sfstream.Published {
			t.Errorf("the result is %+v", r)
		}
		msg, err := client.Receive(ctx)
		lab.Must(t, err)
		fields, err := msg.Fields()
		lab.Must(t, err)
		expect(t, "payload", fields["payload"], "hello")
	})
}

// A handler of a topic, or of an object, declares the topic as the service starts.
func TestHandlersOfTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		customer, err := org.DefineRecordType("Account", "Customer")
		lab.Must(t, err)
		client := open(t, org)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := make(chan string, 10)
		handle := func(ctx context.Context, msg *sfstream.Message) error {
			got <- msg.Channel + " " + msg.Type
			return nil
		}
		mux := sfstream.NewMux()
		channels.HandlePushTopic(mux, channels.PushTopic{Name: "Names", Query: "SELECT Id, Name FROM Account"}, handle)
		channels.HandleSObject(mux, "Account", handle, channels.RecordType("Customer"), channels.ExcludeCurrentUser())
		served := make(chan error, 1)
		go func() { served <- client.Serve(ctx, mux) }() // ends with ctx
		synctest.Wait()
		const other = "005000000000009AAA"
		for i, change := range []sfstreamtest.Change{
			{CommitUser: other}, // of no record type
			{Set: map[string]any{"RecordTypeId": customer}, CommitUser: org.Account().UserID}, // our own
			{Set: map[string]any{"RecordTypeId": customer}, CommitUser: other},
		} {
			change.Object, change.Type, change.RecordIDs = "Account", "CREATE", []string{fmt.Sprintf("00100000000000%dAAA", i)}
			_, err := org.Change(change)
			lab.Must(t, err)
		}
		counts := make(map[string]int)
		for range 4 {
			counts[<-got]++
		}
		cancel()
		lab.Must(t, <-served)
		expect(t, "events", counts, map[string]int{"/topic/Names created": 3, "/topic/AccountCustomer created": 1})
	})
}

// The pieces of HandleSObject can be had alone.
func TestTheTopicOfAnObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		_, err := org.DefineRecordType("Account", "Customer")
		lab.Must(t, err)
		topics := channels.NewPushTopics(open(t, org))
		topic, err := topics.ForSObject(ctx, "Account", channels.RecordType("Customer"), channels.ExcludeCurrentUser())
		lab.Must(t, err)
		_, err = topics.Declare(ctx, topic)
		lab.Must(t, err)
		deleted, err := topics.ForSObject(ctx, "Account", channels.Name("GoneAccounts"), channels.RecordType("Customer"), channels.NotifyFor(channels.Where), channels.NotifyOn(channels.Delete))
		lab.Must(t, err)
		expect(t, "operations", deleted.Operations, channels.Delete)
		lab.Contains(t, topic.Name+": "+topic.Query, "AccountCustomer: SELECT Id, Name", "RecordTypeId = '012", "LastModifiedById != '005")
	})
}
