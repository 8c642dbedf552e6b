package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const salesperson = "sales@sfstream.example"

// startOrg starts a simulated org in this process, which has contacts and a salesperson.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start(sfstreamtest.WithUser(salesperson, "005000000000002AAA"))
	if err != nil {
		return nil, err
	}
	return org, org.DefineObject("Contact",
		sfstreamtest.Field{Name: "LastName", Type: "Text"},
		sfstreamtest.Field{Name: "Phone", Type: "Phone"},
		sfstreamtest.Field{Name: "LastModifiedById", Type: "EntityId"},
		sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"})
}

// work is what the salesperson does: they create contacts, and look whether the service has written
// the phone numbers anew.
func work(ctx context.Context, org *sfstreamtest.Server) error {
	account := org.Account()
	client, err := sfstream.New(authenticator.Password{
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: salesperson, Password: account.Password, SecurityToken: account.SecurityToken,
	}, sfstream.WithOrg(org))
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Open(ctx)
	for err == nil && org.Streams("/topic/"+topic) == 0 { // the service is not there yet
		err = pause(ctx)
	}
	for _, contact := range []struct{ name, phone, tidy string }{
		{"Durand", "+33 (4) 78-42-17-17", "+33478421717"},
		{"Novak", "ask his brother", "ask his brother"},
		{"Silva", "+351229998877", "+351229998877"},
		{"Okafor", "+234 1 / 555 01 00", "+23415550100"},
	} {
		if err == nil {
			err = create(ctx, client, contact.name, contact.phone)
		}
		if err == nil {
			err = awaitPhone(ctx, client, contact.name, contact.tidy)
		}
	}
	if ctx.Err() != nil {
		return nil // Ctrl-C
	}
	return err
}

// create creates a contact.
func create(ctx context.Context, client *sfstream.Client, name, phone string) error {
	body := strings.NewReader(fmt.Sprintf(`{"LastName": %q, "Phone": %q}`, name, phone))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "sobjects/Contact", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// awaitPhone returns when a contact has that phone number.
func awaitPhone(ctx context.Context, client *sfstream.Client, name, phone string) error {
	for {
		for record, err := range client.Query(ctx, "SELECT Phone FROM Contact WHERE LastName = '"+name+"'") {
			if err != nil {
				return err
			}
			var is struct{ Phone string }
			if err := record.Decode(&is); err != nil || is.Phone == phone {
				return err
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(50 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
