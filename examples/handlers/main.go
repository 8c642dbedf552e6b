// Command handlers is a service that declares what it wants to hear: it tidies up the phone numbers
// of contacts that people change. Its own changes do not come back to it.
//
//	go run ./examples/handlers
//
// Without a Salesforce account in the environment it starts a simulated org in this process, in which
// somebody works on contacts. With one, -write lets it change the contacts that others change in your
// org, until Ctrl-C. Then it deletes its PushTopic.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
)

const topic = "SfstreamContacts"

func main() {
	log.SetFlags(0)
	write := flag.Bool("write", false, "change contacts in the org of the environment")
	verbose := flag.Bool("v", false, "log each message that is handled")
	account.Parse("handlers [flags]", 0)
	if *verbose {
		slog.SetLogLoggerLevel(slog.LevelDebug)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *write); err != nil {
		log.Fatal("handlers: ", err)
	}
}

func run(ctx context.Context, write bool) error {
	account, err := account.Find(startOrg)
	if err != nil {
		return err
	}
	defer account.Close()
	if err := account.MayWrite(write, "changes the phone numbers of contacts that others change"); err != nil {
		return err
	}
	// A service adds WithReplayStore: then it hears at its next start what it has missed.
	client, err := sfstream.New(account.Auth, account.Options...)
	if err != nil {
		return err
	}
	defer client.Close()
	mux := newMux(client)
	if account.Org == nil {
		return serve(ctx, client, mux)
	}
	ctx, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { // it ends with ctx, and is waited for below
		worked <- work(ctx, account.Org)
		stop()
	}()
	err = serve(ctx, client, mux)
	stop()
	return errors.Join(err, <-worked)
}

// newMux says what the service handles. The client is for what it writes.
func newMux(client *sfstream.Client) *sfstream.Mux {
	s := &service{client: client}
	mux := sfstream.NewMux()
	// Each handler is called through these, from left to right.
	mux.Use(sfstream.LogHandled(slog.Default()), sfstream.Recover(), sfstream.HandlerTimeout(10*time.Second))
	// A channel can have several handlers. This one gets a struct.
	sfstream.On(mux, "/topic/"+topic, s.tell)
	// Without ExcludeCurrentUser each number that the service writes would be an event for it.
	channels.HandleSObject(mux, "Contact", s.tidy,
		channels.Name(topic), channels.Fields("LastName", "Phone"), channels.NotifyOn(channels.Create|channels.Update),
		channels.ExcludeCurrentUser())
	mux.OnStart(func(context.Context, *sfstream.Client) error {
		fmt.Println("Following contacts that others change")
		return nil
	})
	return mux
}

// serve runs the service until ctx ends.
func serve(ctx context.Context, client *sfstream.Client, mux *sfstream.Mux) error {
	err := client.Serve(ctx, mux, sfstream.OnError(
		sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() }), // for 15 minutes
		sfstream.Skip(deadLetter),
	))
	// A service leaves its topic where it is, and declares it again when it starts.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	gone := channels.NewPushTopics(client).Delete(clean, topic)
	if errors.Is(gone, channels.ErrNotFound) || errors.Is(gone, sfstream.ErrNotOpen) {
		gone = nil // it was not made
	}
	return errors.Join(err, gone)
}

// deadLetter keeps what cannot be handled where a person looks.
func deadLetter(msg *sfstream.Message, reason error) {
	text, err := json.Marshal(msg)
	if err != nil {
		text = fmt.Appendf(nil, "%x", msg.Raw())
	}
	fmt.Printf("dead letter (%v): %s\n", reason, text)
}
