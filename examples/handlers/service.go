package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
)

// contact is what the topic has of a contact.
type contact struct {
	ID       string `sf:"Id"`
	LastName string
	Phone    *string
}

// A service tidies up phone numbers.
type service struct{ client *sfstream.Client }

// tell says what has happened.
func (s *service) tell(_ context.Context, c contact, msg *sfstream.Message) error {
	fmt.Printf("%s: %s\n", msg.Type, c.LastName)
	return nil
}

// tidy writes the phone number of a contact as it should be. If somebody has changed it once more
// since, that is an event too, which is handled next.
func (s *service) tidy(ctx context.Context, msg *sfstream.Message) error {
	c, err := sfstream.Decode[contact](msg)
	if err != nil {
		return backoff.Permanent(err)
	}
	if c.Phone == nil {
		return nil
	}
	phone := number(*c.Phone)
	switch phone {
	case *c.Phone:
		return nil
	case "":
		return backoff.Permanent(fmt.Errorf("the phone of %s is no number", c.LastName)) // nor will it be
	}
	err = s.write(ctx, c.ID, phone)
	server, _ := errors.AsType[*sfstream.ServerError](err)
	switch {
	case server != nil && server.Code == sfstream.NotFound:
		return nil // somebody has deleted the contact
	case server != nil && server.Code == sfstream.Invalid:
		return backoff.Permanent(err) // a rule of the org forbids it
	case err != nil:
		return err
	}
	fmt.Printf("%s: %s is now %s\n", c.LastName, *c.Phone, phone)
	return nil
}

// number returns a phone number without what is between its digits. It is empty if there are none.
func number(text string) string {
	digits := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, text)
	if digits != "" && strings.HasPrefix(strings.TrimSpace(text), "+") {
		return "+" + digits
	}
	return digits
}

// write changes the phone number of a contact.
func (s *service) write(ctx context.Context, id, phone string) error {
	body := strings.NewReader(fmt.Sprintf(`{"Phone": %q}`, phone))
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "sobjects/Contact/"+id, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
