package sfstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

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
