package sfstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// A struct gets what changed; Optional tells a field that was emptied from one that
// did not change.
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
