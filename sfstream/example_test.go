package sfstream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// demoOrg is an org with an event /event/Order__e and three of them retained. Against Salesforce,
// sfstream.New gets one of the logins of package authenticator, and no WithOrg.
func demoOrg() *sfstreamtest.Server {
	org, err := sfstreamtest.Start()
	if err != nil {
		log.Fatal(err)
	}
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null},
		{"name": "Amount__c", "type": ["null", "double"], "default": null}]}`); err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		order := map[string]any{"Number__c": fmt.Sprint("A-", i+1), "Amount__c": 10.5 * float64(i)}
		if _, err := org.Publish("/event/Order__e", order); err != nil {
			log.Fatal(err)
		}
	}
	return org
}

// follow opens a client on the orders, from the oldest one.
func follow(org *sfstreamtest.Server, opts ...sfstream.Option) *sfstream.Client {
	opts = append(opts, sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	client, err := sfstream.New(org.Authenticator(), opts...)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := errors.Join(client.Open(ctx), client.Subscribe(ctx, "/event/Order__e")); err != nil {
		log.Fatal(err)
	}
	return client
}

func ExampleClient_Messages() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	for msg := range client.Messages(context.Background()) {
		fields, err := msg.Fields()
		if err != nil {
			log.Print(err) // one bad event: the stream goes on
			continue
		}
		fmt.Println(fields["Number__c"])
		if fields["Number__c"] == "A-3" {
			msg.Ack() // leaving the loop would hand it out again
			break
		}
	}
	// Output:
	// A-1
	// A-2
	// A-3
}

// A program that is started again continues after the last message it handled.
func ExampleWithReplayStore() {
	org := demoOrg()
	defer org.Close()
	store := replaystore.NewMemory() // in a program: replaystore.OpenBolt("replay.db")

	for run := 1; run <= 3; run++ {
		client := follow(org, sfstream.WithReplayStore(store))
		msg, err := client.Receive(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fields, _ := msg.Fields()
		fmt.Println("run", run, fields["Number__c"])
		msg.Ack()
		client.Close()
	}
	// Output:
	// run 1 A-1
	// run 2 A-2
	// run 3 A-3
}

func ExampleDecode() {
	type order struct {
		Number string  `sf:"Number__c"`
		Amount float64 `sf:"Amount__c"`
	}
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	for range 3 {
		msg, err := client.Receive(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		o, err := sfstream.Decode[order](msg)
		fmt.Println(o.Number, o.Amount, err)
	}
	// Output:
	// A-1 0 <nil>
	// A-2 10.5 <nil>
	// A-3 21 <nil>
}

// Several workers, each acknowledging when it is done.
func ExampleWithAck() {
	org := demoOrg()
	defer org.Close()
	client := follow(org, sfstream.WithAck(sfstream.AckManual))
	defer client.Close()

	done := make(chan string)
	for range 3 {
		go func() {
			msg, err := client.Receive(context.Background())
			if err != nil {
				log.Fatal(err)
			}
			fields, _ := msg.Fields()
			msg.Ack()
			done <- fmt.Sprint(fields["Number__c"])
		}()
	}
	for range 3 {
		fmt.Println(<-done)
	}
	// Unordered output:
	// A-1
	// A-2
	// A-3
}

// Several handlers at once, those of one order's events one after the other.
func ExampleClient_Run() {
	type order struct {
		Number string  `sf:"Number__c"`
		Amount float64 `sf:"Amount__c"`
	}
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	left := new(atomic.Int32)
	left.Store(3)
	err := client.Run(ctx, func(ctx context.Context, msg *sfstream.Message) error {
		o, err := sfstream.Decode[order](msg)
		if err != nil {
			return backoff.Permanent(err) // not to be retried
		}
		fmt.Println(o.Number, o.Amount)
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	},
		sfstream.Workers(4),
		sfstream.OrderBy(func(msg *sfstream.Message) string {
			o, _ := sfstream.Decode[order](msg)
			return o.Number
		}),
		sfstream.OnError(
			sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() }),
			sfstream.Skip(func(msg *sfstream.Message, err error) { log.Print(msg.Key(), ": ", err) }),
		),
	)
	fmt.Println(err)
	// Unordered output:
	// A-1 0
	// A-2 10.5
	// A-3 21
	// <nil>
}

// What the client cannot cure ends it, and Err tells why.
func ExampleClient_Err() {
	org := demoOrg()
	defer org.Close()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		log.Fatal(err)
	}
	err = client.Subscribe(ctx, "/event/Ordr__e")
	var server *sfstream.ServerError
	if errors.As(err, &server) {
		fmt.Println(server.Code, server.Channel)
	}
	// Output:
	// NotFound /event/Ordr__e
}

// A PushTopic tells of changes to the records of a query, over the Streaming API. One client
// follows channels of both APIs.
func Example_pushTopic() {
	org := demoOrg()
	defer org.Close()
	if err := errors.Join(
		org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Industry", Type: "Text"}),
		org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Energy", Query: "SELECT Id, Name FROM Account WHERE Industry = 'Energy'"}),
	); err != nil {
		log.Fatal(err)
	}
	client := follow(org)
	defer client.Close()
	ctx := context.Background()
	if err := client.Subscribe(ctx, "/topic/Energy"); err != nil {
		log.Fatal(err)
	}

	for _, industry := range []string{"Retail", "Energy"} {
		_, err := org.Change(sfstreamtest.Change{
			Object: "Account", Type: "CREATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"Name": industry + " Inc.", "Industry": industry},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	for msg := range client.Messages(ctx) {
		if msg.Channel != "/topic/Energy" {
			continue
		}
		account, err := sfstream.Decode[struct{ Id, Name string }](msg)
		if err != nil {
			log.Print(err)
			continue
		}
		fmt.Println(msg.Type, account.Id, account.Name)
		msg.Ack() // leaving the loop would hand it out again
		break
	}
	// Output:
	// created 001000000000001AAA Energy Inc.
}

// Hooks tell of an outage, and of its end. Nothing is to be done about it: the client goes on where
// it was.
func ExampleHooks() {
	org := demoOrg()
	defer org.Close()
	failures, reconnects := make(chan error, 10), make(chan sfstream.Reconnect, 10) // hooks must not block
	client := follow(org, sfstream.WithHooks(sfstream.Hooks{
		OnState: func(channel string, state sfstream.State, err error) {
			if state == sfstream.StateWaiting {
				failures <- err
			}
		},
		OnReconnect: func(r sfstream.Reconnect) { reconnects <- r },
	}))
	defer client.Close()

	if err := org.AwaitStreams(context.Background(), "/event/Order__e", 1); err != nil {
		log.Fatal(err)
	}
	org.EndStreams("/event/Order__e", "UNAVAILABLE: This application is down for maintenance")
	var server *sfstream.ServerError
	if errors.As(<-failures, &server) {
		fmt.Println(server.Channel, server.Code, server.Message)
	}
	fmt.Println((<-reconnects).Channel, "is followed again")
	// Output:
	// /event/Order__e Unavailable This application is down for maintenance
	// /event/Order__e is followed again
}

// How far a program is, as for a health check.
func ExampleClient_Status() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	for range 3 { // a message is handled when the next one is asked for
		if _, err := client.Receive(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	status := client.Status()
	fmt.Println("volatile:", status.Volatile) // without WithReplayStore
	for _, c := range status.Channels {
		fmt.Println(c.Channel, c.State, "received", c.Received, "handled", c.Handled, "waiting", c.Pending)
	}
	// Output:
	// volatile: true
	// /event/Order__e live received 3 handled 2 waiting 0
}

// A handler that fails is called again. When the policy gives up, Run ends with the error, and the
// message comes first in the next run of the program.
func ExampleOnError() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	threeTimes := func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Millisecond), 2)
	}
	err := client.Run(context.Background(), func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		fmt.Println(fields["Number__c"])
		if fields["Number__c"] == "A-2" {
			return errors.New("the database is away")
		}
		return nil
	}, sfstream.Workers(1), sfstream.OnError(sfstream.Retry(threeTimes), sfstream.Stop))
	fmt.Println(err)
	// Output:
	// A-1
	// A-2
	// A-2
	// A-2
	// the database is away
}

// What cannot be handled is kept elsewhere, and holds nothing up.
func ExampleSkip() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	deadLetter := func(msg *sfstream.Message, err error) {
		fields, _ := msg.Fields()
		fmt.Println("put aside:", fields["Number__c"], err)
	}
	err := client.Run(ctx, func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		if fields["Amount__c"] == 0.0 {
			return errors.New("there is nothing to pay")
		}
		fmt.Println("paid:", fields["Number__c"])
		if fields["Number__c"] == "A-3" {
			stop()
		}
		return nil
	}, sfstream.Workers(1), sfstream.OnError(sfstream.Skip(deadLetter)))
	fmt.Println(err)
	// Output:
	// put aside: A-1 there is nothing to pay
	// paid: A-2
	// paid: A-3
	// <nil>
}
