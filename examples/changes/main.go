// Command changes decodes events into Go structs: those in events.go, which sfstream gen has
// written from the schemas of an org that runs in this process.
//
//	go run ./examples/changes
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("changes: ", err)
	}
}

// run prints what happened in an org.
func run(ctx context.Context, out io.Writer) error {
	org, err := startOrg()
	if err != nil {
		return err
	}
	defer org.Close()
	count, err := publish(org)
	if err != nil {
		return err
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := errors.Join(client.Open(ctx), client.Subscribe(ctx, accounts), client.Subscribe(ctx, orders)); err != nil {
		return err
	}
	for msg := range client.Messages(ctx) {
		text, err := describe(msg)
		if err != nil {
			return err // a program that must go on logs the error instead
		}
		fmt.Fprintln(out, text)
		if count--; count == 0 {
			msg.Ack()
			break
		}
	}
	return client.Err()
}

func describe(msg *sfstream.Message) (string, error) {
	if msg.EventName() == OrderEventName {
		order, err := sfstream.Decode[OrderEvent](msg)
		if err != nil {
			return "", err
		}
		text := "order of " + order.CreatedDate.Format(time.DateOnly)
		if order.Number != nil {
			text += ": " + *order.Number
		}
		return text, nil
	}
	change, err := msg.Change()
	if err != nil {
		return "", err
	}
	account, err := sfstream.Decode[AccountChangeEvent](msg)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s:%s", change.Type, change.RecordIDs[0], changes(account)), nil
}

// changes returns a text with the fields that have changed.
func changes(a AccountChangeEvent) string {
	var b strings.Builder
	if name, set := a.Name.Get(); set {
		fmt.Fprintf(&b, " is called %s;", name)
	}
	if address, set := a.BillingAddress.Get(); set {
		if city, set := address.City.Get(); set {
			fmt.Fprintf(&b, " is in %s;", city)
		}
	}
	if regions, set := a.Regions.Get(); set {
		fmt.Fprintf(&b, " sells in %s;", strings.Join(regions, " and "))
	}
	if end, set := a.ContractEnd.Get(); set {
		fmt.Fprintf(&b, " has a contract until %s;", end.Format("2 January 2006"))
	} else if a.ContractEnd.IsNull() {
		b.WriteString(" has no contract any more;")
	}
	return strings.TrimSuffix(b.String(), ";")
}
