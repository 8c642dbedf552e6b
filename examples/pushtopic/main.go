// Command pushtopic follows a query: it declares a PushTopic, changes a contact by REST and prints
// what comes of that, and declares the topic again with a further field.
//
//	go run ./examples/pushtopic
//
// Without a Salesforce account in the environment it starts a simulated org in this process. With
// one, -write lets it create the topic and the contact, and delete both in the end.
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

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
)

func main() {
	log.SetFlags(0)
	topic := flag.String("topic", "SfstreamExample", "the `name` of the PushTopic to make, and to delete")
	write := flag.Bool("write", false, "make the topic and a contact in the org of the environment")
	account.Parse("pushtopic [flags]", 0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *topic, *write); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal("pushtopic: ", err)
	}
}

func run(ctx context.Context, name string, write bool) error {
	account, err := account.Find(startOrg)
	if err != nil {
		return err
	}
	defer account.Close()
	if err := account.MayWrite(write, "makes a PushTopic and a contact, and deletes them in the end"); err != nil {
		return err
	}
	client, err := sfstream.New(account.Auth, account.Options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // what takes longer does not come
	defer cancel()
	if err := client.Open(ctx); err != nil {
		return err
	}
	topics := channels.NewPushTopics(client)
	switch _, err := topics.Get(ctx, name); {
	case err == nil:
		return fmt.Errorf("the PushTopic %s is there already, and may be somebody's: give another name with -topic", name)
	case !errors.Is(err, channels.ErrNotFound):
		return err
	}
	e := &example{client: client, topics: topics, topic: name}
	if err = e.run(ctx); errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C
	}
	return errors.Join(err, e.clean(context.WithoutCancel(ctx)))
}

// example is a run with what it has made in the org.
type example struct {
	client  *sfstream.Client
	topics  *channels.PushTopics
	topic   string // its name
	contact string // its id
}

func (e *example) run(ctx context.Context) error {
	// A real topic has a WHERE that says which records matter. This one is for one contact.
	if err := e.declare(ctx, "SELECT Id, LastName, Phone FROM Contact WHERE LastName = 'SfstreamExample'"); err != nil {
		return err
	}
	if err := e.client.Subscribe(ctx, "/topic/"+e.topic); err != nil {
		return err
	}
	var err error
	if e.contact, err = create(ctx, e.client, "Contact", map[string]any{"LastName": "SfstreamExample", "Phone": "+33 4 00000001"}); err != nil {
		return err
	}
	if err := e.next(ctx); err != nil {
		return err
	}

	fmt.Println("A change of the title is no event, because the query does not have it.")
	for _, change := range []map[string]any{{"Title": "Clerk"}, {"Phone": "+33 4 00000002"}} {
		if err := update(ctx, e.client, "Contact", e.contact, change); err != nil {
			return err
		}
	}
	if err := e.next(ctx); err != nil {
		return err
	}

	// Who follows the topic need not subscribe again.
	if err := e.declare(ctx, "SELECT Id, LastName, Phone, Title FROM Contact WHERE LastName = 'SfstreamExample'"); err != nil {
		return err
	}
	if err := update(ctx, e.client, "Contact", e.contact, map[string]any{"Title": "Manager"}); err != nil {
		return err
	}
	return e.next(ctx)
}

// declare makes the topic, or changes it where it is there and has another query. A service does
// this whenever it starts.
func (e *example) declare(ctx context.Context, query string) error {
	topic, err := e.topics.Declare(ctx, channels.PushTopic{
		Name:            e.topic,
		Query:           query,
		NotifyForFields: channels.Referenced,
		Operations:      channels.Create | channels.Update,
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s is %s\n", topic.Channel(), topic.Query)
	return nil
}

// next prints the next event.
func (e *example) next(ctx context.Context) error {
	msg, err := e.client.Receive(ctx)
	if err != nil {
		return fmt.Errorf("no event has come: %w", err)
	}
	defer msg.Ack()
	contact, err := sfstream.Decode[struct{ LastName, Phone, Title string }](msg)
	if err != nil {
		return err
	}
	fmt.Printf("%s: phone %q, title %q\n", msg.Type, contact.Phone, contact.Title)
	return nil
}

// clean deletes what the example has made.
func (e *example) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := e.topics.Delete(ctx, e.topic)
	if errors.Is(err, channels.ErrNotFound) {
		err = nil
	}
	if e.contact != "" {
		err = errors.Join(err, remove(ctx, e.client, "Contact", e.contact))
	}
	return err
}
