package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
)

// A person is a user of the org, with the client of a program that runs for them.
type person struct {
	name   string
	login  authenticator.Authenticator
	id     string // of the user; known when client is open
	client *sfstream.Client
}

func (p *person) close() {
	if p.client != nil {
		p.client.Close()
	}
}

// enter logs in the user of the account, and in the org of this process a second one. The people
// that it returns with an error are to be closed, too.
func enter(ctx context.Context, account *account.Account) (people []*person, err error) {
	people = []*person{{name: "This user", login: account.Auth}}
	if account.Org != nil {
		people = []*person{{name: "Ana", login: account.Auth}, {name: "Ben", login: secondUser(account.Org)}}
	}
	for _, p := range people {
		// Each login tells whose it is.
		whose := authenticator.Func(func(ctx context.Context, where authenticator.Login) (*authenticator.Credentials, error) {
			creds, err := p.login.Authenticate(ctx, where)
			if err == nil {
				p.id = creds.UserID
			}
			return creds, err
		})
		if p.client, err = sfstream.New(whose, account.Options...); err != nil {
			return people, err
		}
		if err := p.client.Open(ctx); err != nil {
			return people, err
		}
		if p.id == "" {
			return people, errors.New("this login does not tell the id of its user, to whom events are to be pushed: take another one")
		}
		fmt.Printf("%s is user %s\n", p.name, p.id)
	}
	return people, nil
}

// receive prints what comes next.
func (p *person) receive(ctx context.Context, count int) error {
	for range count {
		msg, err := p.client.Receive(ctx)
		if err != nil {
			return fmt.Errorf("%s has got nothing: %w", p.name, err)
		}
		text, err := sfstream.Decode[string](msg) // the payload as it was pushed
		if err != nil {
			return err
		}
		fmt.Printf("%s gets %q\n", p.name, text)
		msg.Ack()
	}
	return nil
}
