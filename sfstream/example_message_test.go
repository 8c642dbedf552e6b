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
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

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
