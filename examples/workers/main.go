// Command workers handles orders with several workers: the orders of one customer one after the
// other, those of different customers at once. An order that cannot be handled holds up its own
// customer while it is tried again, and then becomes a dead letter.
//
//	go run ./examples/workers
//
// Without a Salesforce account in the environment a simulated org in this process has some orders.
// In your own org make a platform event Order with the fields Customer and Number (Text) and Amount
// (Number), and publish some while this program runs:
//
//	echo '{"Customer__c": "Ana", "Number__c": "1", "Amount__c": 12.5}' | sfstream publish /event/Order__e
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
)

const orders = "/event/Order__e"

func main() {
	log.SetFlags(0)
	workers := flag.Int("workers", 4, "handle this `many` orders at once")
	count := flag.Int("count", 20, "end after this `many` orders; 0 means never")
	account.Parse("workers [flags]", 0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *workers, *count); err != nil && !errors.Is(err, context.Canceled) { // which is Ctrl-C
		log.Fatal("workers: ", err)
	}
}

func run(ctx context.Context, workers, count int) error {
	account, err := account.Find(startOrg)
	if err != nil {
		return err
	}
	defer account.Close()
	options := account.Options
	if account.Org != nil {
		options = append(options, sfstream.WithReplay(sfstream.ReplayAll)) // its orders are there already
	}
	// A service adds WithReplayStore, and goes on after a restart where it was.
	client, err := sfstream.New(account.Auth, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, orders); err != nil {
		return err
	}
	fmt.Printf("Following %s with %d workers\n", orders, workers)

	ctx, enough := context.WithCancel(ctx)
	defer enough()
	d := &desk{began: time.Now(), count: count, enough: enough}
	err = client.Run(ctx, d.handle,
		sfstream.Workers(workers),
		sfstream.OrderBy(customer),
		sfstream.OnError(sfstream.Retry(pauses), sfstream.Skip(d.deadLetter)),
	)
	fmt.Printf("Orders handled: %d, up to %d at once; dead letters: %d\n", d.handled, d.most, d.dead)
	return err
}

// customer says which orders are handled one after the other. Those that cannot be read are, too.
func customer(msg *sfstream.Message) string {
	order, err := sfstream.Decode[order](msg)
	if err != nil {
		return ""
	}
	return order.Customer
}

// pauses are those between the attempts at one order. A service takes longer ones, because what it
// needs may be down for some minutes.
func pauses() backoff.BackOff {
	return backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond)), 3)
}
