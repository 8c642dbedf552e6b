package sfstream_test

import (
	"context"
	"encoding/json"
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
