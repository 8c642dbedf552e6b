package sfstream_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// followAccounts is an org with accounts, these changes, and a client that follows
// them. Against Salesforce, sfstream.New gets one of the logins of package
// authenticator, and no WithOrg.
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
		c.Object, c.RecordIDs = "Account", []string{"001000000000001AAA"}
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
		case change.IsOverflow():
			fmt.Println("read all of", change.EntityName)
		case change.IsGap():
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
