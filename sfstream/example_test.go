package sfstream_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
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

// A service: what it needs, and what gets which messages, is declared. Serve does the rest.
func ExampleClient_Serve() {
	org := demoOrg()
	defer org.Close()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	mux := sfstream.NewMux()
	mux.Use(sfstream.Recover(), sfstream.HandlerTimeout(time.Minute))
	mux.OnStart(func(ctx context.Context, c *sfstream.Client) error {
		fmt.Println("the client is open, and follows", len(c.Subscriptions()), "channels")
		return nil
	})
	mux.Handle("/event/Order__e", func(ctx context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		fmt.Println(fields["Number__c"])
		if fields["Number__c"] == "A-3" {
			stop()
		}
		return nil
	}, sfstream.From(sfstream.ReplayAll))

	fmt.Println(client.Serve(ctx, mux))
	// Output:
	// the client is open, and follows 0 channels
	// A-1
	// A-2
	// A-3
	// <nil>
}

// A handler gets its events decoded. One that cannot be decoded ends Serve, unless it is skipped.
func ExampleOn() {
	type order struct {
		Number string  `sf:"Number__c"`
		Amount float64 `sf:"Amount__c"`
	}
	org := demoOrg()
	defer org.Close()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	mux := sfstream.NewMux()
	sfstream.On(mux, "/event/Order__e", func(ctx context.Context, o order, msg *sfstream.Message) error {
		fmt.Println(o.Number, o.Amount)
		if o.Number == "A-3" {
			stop()
		}
		return nil
	})
	err = client.Serve(ctx, mux, sfstream.OnError(
		sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() }),
		sfstream.Skip(func(msg *sfstream.Message, err error) { log.Print(msg.Key(), ": ", err) }),
	))
	fmt.Println(err)
	// Output:
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

// A struct gets what changed; Optional tells a field that was emptied from one that did not change.
func ExampleOptional() {
	org, client := followAccounts(sfstreamtest.Change{
		Type: "UPDATE",
		Set:  map[string]any{"Name": "Acme Inc.", "BillingAddress": map[string]any{"City": "Lyon"}},
		Null: []string{"Description"},
	})
	defer org.Close()
	defer client.Close()

	type Account struct {
		Header struct {
			RecordIDs []string `sf:"recordIds"`
		} `sf:"ChangeEventHeader"`
		Name, Description sfstream.Optional[string]
		BillingAddress    struct{ Street, City sfstream.Optional[string] }
	}
	msg, err := client.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	account, err := sfstream.Decode[Account](msg)
	if err != nil {
		log.Fatal(err) // in a loop: log and continue, the event is the same when it comes again
	}
	fmt.Println(account.Header.RecordIDs)
	if name, ok := account.Name.Get(); ok {
		fmt.Println("the name is now", name)
	}
	if account.Description.IsNull() {
		fmt.Println("there is no description any more")
	}
	fmt.Println("street:", account.BillingAddress.Street)
	fmt.Println("city:", account.BillingAddress.City)
	// Output:
	// [001000000000001AAA]
	// the name is now Acme Inc.
	// there is no description any more
	// street: unchanged
	// city: Lyon
}

// What one org says goes to another: the body of PATCH /services/data/v62.0/sobjects/Account/<id>.
func ExampleOptional_MarshalJSON() {
	type Account struct {
		Name  sfstream.Optional[string] `json:",omitzero"`
		Phone sfstream.Optional[string] `json:",omitzero"`
		Fax   sfstream.Optional[string] `json:",omitzero"`
	}
	var account Account
	account.Name.Set("Acme")
	account.Fax.SetNull()
	body, err := json.Marshal(account)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: {"Name":"Acme","Fax":null}
}

// A custom channel carries events of several types.
func ExampleMessage_EventName() {
	org := demoOrg() // which has /event/Order__e
	defer org.Close()
	const sales = "/event/Sales__chn"
	if err := errors.Join(
		org.DefineEvent("/event/Refund__e", `{"type": "record", "name": "Refund__e", "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string"},
			{"name": "Reason__c", "type": ["null", "string"], "default": null}]}`),
		org.DefineChannel(sales, "/event/Order__e", "/event/Refund__e"),
	); err != nil {
		log.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if err := errors.Join(client.Open(ctx), client.Subscribe(ctx, sales)); err != nil {
		log.Fatal(err)
	}
	if _, err := org.Publish("/event/Order__e", map[string]any{"Number__c": "A-4"}); err != nil {
		log.Fatal(err)
	}
	if _, err := org.Publish("/event/Refund__e", map[string]any{"Reason__c": "broken"}); err != nil {
		log.Fatal(err)
	}

	type Order struct {
		Number string `sf:"Number__c"`
	}
	type Refund struct {
		Reason string `sf:"Reason__c"`
	}
	for range 2 {
		msg, err := client.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		switch msg.EventName() { // sfstream gen writes the names as constants
		case "Order__e":
			order, err := sfstream.Decode[Order](msg)
			fmt.Println("order", order.Number, err)
		case "Refund__e":
			refund, err := sfstream.Decode[Refund](msg)
			fmt.Println("refund:", refund.Reason, err)
		default: // a type that was added to the channel
			log.Println("skipped", msg.EventName(), msg.Key())
		}
		msg.Ack()
	}
	// Output:
	// order A-4 <nil>
	// refund: broken <nil>
}

// followAccounts is an org with accounts, these changes, and a client that follows them. Against
// Salesforce, sfstream.New gets one of the logins of package authenticator, and no WithOrg.
func followAccounts(changes ...sfstreamtest.Change) (*sfstreamtest.Server, *sfstream.Client) {
	org, err := sfstreamtest.Start()
	if err != nil {
		log.Fatal(err)
	}
	if err := org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"}, sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"},
		sfstreamtest.Field{Name: "BillingAddress", Type: "Address"}); err != nil {
		log.Fatal(err)
	}
	for _, c := range changes {
		c.Object = "Account"
		if c.RecordIDs == nil {
			c.RecordIDs = []string{"001000000000001AAA"}
		}
		if _, err := org.Change(c); err != nil {
			log.Fatal(err)
		}
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := errors.Join(client.Open(ctx), client.Subscribe(ctx, "/data/ChangeEvents")); err != nil {
		log.Fatal(err)
	}
	return org, client
}

// What changed, without the program's own changes, and with the gaps.
func ExampleMessage_Change() {
	org, client := followAccounts(
		sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": "Acme"}, Origin: "com/salesforce/api/rest/62.0;client=demo"},
		sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": "Acme", "BillingAddress": map[string]any{"City": "Lyon"}}, Null: []string{"Description"}},
		sfstreamtest.Change{Type: "GAP_UPDATE"},
	)
	defer org.Close()
	defer client.Close()

	for msg := range client.Messages(context.Background()) {
		change, err := msg.Change()
		if err != nil {
			log.Print(err)
			continue
		}
		switch {
		case change.OriginClient() == "demo": // ours: it has set Sforce-Call-Options: client=demo
			continue
		case change.IsGap(): // an overflow is one, too: see Client.Refetch
			fmt.Println("read again", change.EntityName, change.RecordIDs)
		default:
			fmt.Println(change.Type, change.EntityName, change.RecordIDs)
			fmt.Println("changed", change.ChangedFields)
			fmt.Println("nulled", change.NulledFields)
			continue
		}
		msg.Ack() // leaving the loop would hand it out again
		break
	}
	// Output:
	// UPDATE Account [001000000000001AAA]
	// changed [Name Description BillingAddress.City]
	// nulled [Description]
	// read again Account [001000000000001AAA]
}

// A long text comes as what differs from the one before.
func ExampleMessage_ApplyDiff() {
	old := strings.Repeat("A long text.\n", 100) + "The end."
	changed := strings.Replace(old, "The end.", "The end?", 1)
	org, client := followAccounts(sfstreamtest.Change{Type: "UPDATE", Diff: []string{"Description"}, Set: map[string]any{
		"Description": fmt.Sprintf("--- \n+++ %x\n@@ -101,1 +101,1 @@\n-The end.\n+The end?", sha256.Sum256([]byte(changed))),
	}})
	defer org.Close()
	defer client.Close()

	msg, err := client.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, stored := range []string{old, "another text"} {
		text, err := msg.ApplyDiff("Description", stored)
		var differs *sfstream.DiffError
		if errors.As(err, &differs) {
			fmt.Println("read again", differs.Field, "of", differs.RecordIDs)
			continue
		}
		fmt.Println(text[len(text)-len("The end?"):], err)
	}
	// Output:
	// The end? <nil>
	// read again Description of [001000000000001AAA]
}

// Changes by transaction.
func ExampleClient_Transactions() {
	one, two := "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6", "0000f0a1-0b2c-3d4e-5f60-718293a4b5c7"
	org, client := followAccounts(
		sfstreamtest.Change{Type: "CREATE", Set: map[string]any{"Name": "Acme"}, TransactionKey: one, SequenceNumber: 1},
		sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": "Acme Inc."}, TransactionKey: one, SequenceNumber: 2},
		sfstreamtest.Change{Type: "DELETE", TransactionKey: two, SequenceNumber: 1},
	)
	defer org.Close()
	defer client.Close()

	for tx := range client.Transactions(context.Background(), 100*time.Millisecond) {
		for _, change := range tx.Changes {
			fmt.Println(change.SequenceNumber, change.Type)
		}
		fmt.Println(tx.End, tx.Complete())
		if tx.Key == two {
			tx.Ack() // leaving the loop would hand it out again
			break
		}
	}
	// Output:
	// 1 CREATE
	// 2 UPDATE
	// EndNext true
	// 1 DELETE
	// EndQuiet false
}

// A gap event says which record changed, and not how: what is kept of it is read again.
func ExampleClient_Refetch() {
	org, client := followAccounts(sfstreamtest.Change{Type: "GAP_UPDATE", RecordIDs: []string{"001000000000001AAA", "001000000000002AAA"}})
	defer org.Close()
	defer client.Close()
	org.SetRecord("Account", "001000000000001AAA", map[string]any{"Name": "Acme", "Phone": "+33 4 72"})
	org.SetRecord("Account", "001000000000002AAA", map[string]any{"IsDeleted": true})

	ctx := context.Background()
	msg, err := client.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	change, err := msg.Change()
	if err != nil {
		log.Fatal(err)
	}
	for record, err := range client.Refetch(ctx, change) {
		if err != nil {
			log.Fatal(err)
		}
		if record.Deleted {
			fmt.Println(record.Object, record.ID, "is gone")
			continue
		}
		var account struct{ Name, Phone string }
		if err := record.Decode(&account); err != nil {
			log.Fatal(err)
		}
		fmt.Println(record.Object, record.ID, "is", account.Name, account.Phone)
	}
	// Output:
	// Account 001000000000001AAA is Acme +33 4 72
	// Account 001000000000002AAA is gone
}

func ExampleClient_Query() {
	org, client := followAccounts()
	defer org.Close()
	defer client.Close()
	org.SetRecord("Account", "001000000000001AAA", map[string]any{"Name": "Acme"})

	for record, err := range client.Query(context.Background(), "SELECT Id, Name FROM Account WHERE Name LIKE 'A%'") {
		if err != nil {
			log.Fatal(err)
		}
		fields, err := record.Fields()
		fmt.Println(record.Object, record.ID, fields["Name"], err)
	}
	// Output:
	// Account 001000000000001AAA Acme <nil>
}

// What Salesforce refuses is an error that says why.
func ExampleClient_Do() {
	org, client := followAccounts()
	defer org.Close()
	defer client.Close()

	req, err := http.NewRequest(http.MethodGet, "sobjects/Account/001000000000009AAA", nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(req)
	if refused, ok := errors.AsType[*sfstream.ServerError](err); ok {
		fmt.Println(refused.Code, refused.Reason)
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	// Output:
	// NotFound NOT_FOUND
}

// Order is an /event/Order__e of demoOrg.
type Order struct {
	Number string  `sf:"Number__c"`
	Amount float64 `sf:"Amount__c"`
}

// Events that cannot be what their channel has are refused before anything is sent.
func ExampleClient_Publish() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()
	ctx := context.Background()

	results, err := client.Publish(ctx, "/event/Order__e", Order{Number: "A-17", Amount: 99.5}, map[string]any{"Number__c": "A-18"})
	for _, result := range results {
		fmt.Println(result.Outcome, result.Err)
	}
	fmt.Println(err)

	_, err = client.Publish(ctx, "/event/Order__e", map[string]any{"Number__c": "A-19", "Amount__c": "much"})
	if refused, ok := errors.AsType[*sfstream.EncodeError](err); ok {
		fmt.Println(refused.Index, refused.Field)
	}
	// Output:
	// Published <nil>
	// Published <nil>
	// <nil>
	// 0 Amount__c
}

// A publisher takes events faster than Salesforce answers. Its receipts tell what became of them.
func ExampleClient_Publisher() {
	org := demoOrg()
	defer org.Close()
	client := follow(org)
	defer client.Close()
	ctx := context.Background()

	publisher, err := client.Publisher("/event/Order__e")
	if err != nil {
		log.Fatal(err)
	}
	var last *sfstream.Receipt
	for i := range 1000 {
		if last, err = publisher.Publish(ctx, Order{Number: fmt.Sprint("B-", i)}); err != nil {
			log.Fatal(err)
		}
	}
	<-last.Done() // all before it are done, too
	fmt.Println(last.Err(), publisher.Close(ctx))
	// Output:
	// <nil> <nil>
}

// The org keeps the position of a managed subscription: a second program goes on where the first
// one has ended.
func ExampleClient_SubscribeManaged() {
	org := demoOrg()
	defer org.Close()
	if _, err := org.DefineManagedSubscription(sfstreamtest.ManagedSubscription{DeveloperName: "Orders", TopicName: "/event/Order__e", DefaultReplay: "EARLIEST"}); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithAck(sfstream.AckOnReceive))
		if err != nil {
			log.Fatal(err)
		}
		ctx := context.Background()
		if err := errors.Join(client.Open(ctx), client.SubscribeManaged(ctx, "Orders")); err != nil {
			log.Fatal(err)
		}
		msg, err := client.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		order, err := sfstream.Decode[Order](msg)
		fmt.Println(msg.Channel, order.Number, err)
		client.Close()
	}
	// Output:
	// /event/Order__e A-1 <nil>
	// /event/Order__e A-2 <nil>
}

func TestNews(t *testing.T) {
	org, client := followAccounts(
		sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Phone": "+33 4 72"}},
		sfstreamtest.Change{Type: "UPDATE", Null: []string{"Phone"}},
		sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": "Acme"}},
	)
	defer org.Close()
	defer client.Close()
	for _, want := range []string{"the phone is now +33 4 72", "there is no phone any more", "the phone is as before"} {
		msg, err := client.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := news(msg); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// What follows is in the README, to the letter.

type Account struct {
	Phone          sfstream.Optional[string]    // unchanged, null or set
	Regions        sfstream.Optional[[]string]  `sf:"Regions__c"` // a multi-picklist
	ContractEnd    sfstream.Optional[time.Time] `sf:"Contract_End__c"`
	BillingAddress struct{ City sfstream.Optional[string] }
}

func news(msg *sfstream.Message) (string, error) {
	account, err := sfstream.Decode[Account](msg)
	if err != nil {
		return "", err // it names the field, as BillingAddress.City
	}
	switch phone, set := account.Phone.Get(); {
	case set:
		return "the phone is now " + phone, nil
	case account.Phone.IsNull():
		return "there is no phone any more", nil
	}
	return "the phone is as before", nil
}

func TestOrders(t *testing.T) {
	org := sfstreamtest.NewServer(t)
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`); err != nil {
		t.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Open(t.Context()), client.Subscribe(t.Context(), "/event/Order__e")); err != nil {
		t.Fatal(err)
	}
	org.Publish("/event/Order__e", map[string]any{"Number__c": "A-1"})
	org.DropConnections() // the client reconnects and loses nothing
	org.Publish("/event/Order__e", map[string]any{"Number__c": "A-2"})
	for _, want := range []string{"A-1", "A-2"} {
		msg, err := client.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fields, err := msg.Fields(); err != nil || fields["Number__c"] != want {
			t.Errorf("got %v, %v, want %s", fields, err, want)
		}
	}
}
