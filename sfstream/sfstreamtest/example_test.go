package sfstreamtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// shop is an org with an event. In a test, sfstreamtest.NewServer(t) ends it.
func shop() *sfstreamtest.Server {
	org, err := sfstreamtest.Start()
	if err != nil {
		log.Fatal(err)
	}
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`); err != nil {
		log.Fatal(err)
	}
	return org
}

func publish(org *sfstreamtest.Server, numbers ...string) {
	for _, number := range numbers {
		if _, err := org.Publish("/event/Order__e", map[string]any{"Number__c": number}); err != nil {
			log.Fatal(err)
		}
	}
}

// program is the program under test, which follows the orders.
func program(org *sfstreamtest.Server, opts ...sfstream.Option) (*sfstream.Client, error) {
	client, err := sfstream.New(org.Authenticator(), append(opts, sfstream.WithOrg(org))...)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return client, errors.Join(client.Open(ctx), client.Subscribe(ctx, "/event/Order__e"))
}

func receive(client *sfstream.Client) any {
	msg, err := client.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fields, err := msg.Fields()
	if err != nil {
		log.Fatal(err)
	}
	msg.Ack()
	return fields["Number__c"]
}

// A subscriber of new events gets no answer before the first one: a test waits until the org has
// its stream, and publishes then.
func ExampleServer_AwaitStreams() {
	org := shop()
	defer org.Close()
	client, err := program(org)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	if err := org.AwaitStreams(context.Background(), "/event/Order__e", 1); err != nil {
		log.Fatal(err)
	}
	publish(org, "A-1")
	fmt.Println(receive(client))
	// Output: A-1
}

// A fault happens once. The program goes on where it was, and the org tells what it asked for.
func ExampleServer_EndStreams() {
	org := shop()
	defer org.Close()
	publish(org, "A-1")
	client, err := program(org, sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Println(receive(client))

	org.EndStreams("/event/Order__e", "UNAVAILABLE: This application is down for maintenance")
	publish(org, "A-2")
	fmt.Println(receive(client))
	for _, call := range org.Subscribes("/event/Order__e") {
		fmt.Println(call.Preset)
	}
	// Output:
	// A-1
	// A-2
	// EARLIEST
	// CUSTOM
}

// A program that was away for longer than Salesforce keeps events: what does it do?
func ExampleServer_TruncateReplay() {
	org := shop()
	defer org.Close()
	store := replaystore.NewMemory()
	publish(org, "A-1", "A-2")
	client, err := program(org, sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayStore(store))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receive(client))
	client.Close()

	if err := org.TruncateReplay("/event/Order__e"); err != nil {
		log.Fatal(err)
	}
	client, err = program(org, sfstream.WithReplayStore(store))
	if err == nil { // Salesforce may have refused it already
		_, err = client.Receive(context.Background())
	}
	client.Close()
	var stale *sfstream.ReplayError
	fmt.Println(errors.As(err, &stale))
	// Output:
	// A-1
	// true
}
