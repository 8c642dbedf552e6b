package channels_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// openOrg starts an org that has accounts, and opens a client of it. Against Salesforce,
// sfstream.New gets one of the logins of package authenticator, and no WithOrg. It begins with the
// oldest event.
func openOrg() (*sfstreamtest.Server, *sfstream.Client) {
	org, err := sfstreamtest.Start()
	if err != nil {
		log.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err == nil {
		err = errors.Join(org.DefineObject("Account"), client.Open(context.Background()))
	}
	if err != nil {
		log.Fatal(err)
	}
	return org, client
}

// A program says itself which changes it receives, and which fields come with each of them.
func ExampleCustom_Declare() {
	org, client := openOrg()
	defer org.Close()
	defer client.Close()
	ctx := context.Background()

	sales, err := channels.NewCustom(client).Declare(ctx, channels.CustomChannel{
		Name: "Sales__chn",
		Members: []channels.Member{{
			Event:    "AccountChangeEvent",
			Enriched: []string{"Phone"},
			Filter:   "Industry = 'Energy'",
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Subscribe(ctx, sales.Channel()); err != nil {
		log.Fatal(err)
	}

	const acme, other = "001000000000001AAA", "001000000000002AAA"
	change := func(id, kind string, set map[string]any) {
		if _, err := org.Change(sfstreamtest.Change{Object: "Account", Type: kind, RecordIDs: []string{id}, Set: set}); err != nil {
			log.Fatal(err)
		}
	}
	change(acme, "CREATE", map[string]any{"Name": "Acme", "Industry": "Energy", "Phone": "+33 4 72"})
	change(other, "CREATE", map[string]any{"Name": "Other", "Industry": "Banking"})
	change(acme, "UPDATE", map[string]any{"Rating": "Hot"})

	for range 2 {
		msg, err := client.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		var account struct{ Name, Rating, Phone string }
		header, err := msg.Change()
		if err == nil {
			err = msg.Decode(&account)
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %+v\n", header.Type, account)
	}
	// Output:
	// CREATE {Name:Acme Rating: Phone:+33 4 72}
	// UPDATE {Name: Rating:Hot Phone:+33 4 72}
}
