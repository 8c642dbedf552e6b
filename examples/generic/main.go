// Command generic sends texts of its own over Salesforce: it makes a generic channel /u/…, pushes to
// all who follow it and to one of them, and tells who is online.
//
//	go run ./examples/generic
//
// Without a Salesforce account in the environment it starts a simulated org in this process, with
// two users. With an account there is one; -write lets it make the channel, and delete it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
)

func main() {
	log.SetFlags(0)
	channel := flag.String("channel", "/u/SfstreamExample", "the `name` of the channel to make, and to delete")
	write := flag.Bool("write", false, "make the channel in the org of the environment")
	account.Parse("generic [flags]", 0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *channel, *write); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal("generic: ", err)
	}
}

func run(ctx context.Context, channel string, write bool) error {
	account, err := account.Find(startOrg)
	if err != nil {
		return err
	}
	defer account.Close()
	if err := account.MayWrite(write, "makes a generic channel, and deletes it in the end"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // what takes longer does not come
	defer cancel()
	people, err := enter(ctx, account)
	for _, p := range people {
		defer p.close()
	}
	if err != nil {
		return err
	}

	// Who makes and pushes needs the right to do so; who follows only reads.
	generic := channels.NewGeneric(people[0].client)
	switch _, err := generic.Find(ctx, channel); {
	case err == nil:
		return fmt.Errorf("%s is there already, and may be somebody's: give another name with -channel", channel)
	case !errors.Is(err, channels.ErrNotFound):
		return err
	}
	if _, err := generic.Create(ctx, channels.GenericChannel{Name: channel, Description: "An example of sfstream"}); err != nil {
		return err
	}
	fmt.Println("Made", channel)
	if err = talk(ctx, generic, channel, people); errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, generic.Delete(clean, channel))
}

// talk is what happens on the channel.
func talk(ctx context.Context, generic *channels.Generic, channel string, people []*person) error {
	for _, p := range people {
		if err := p.client.Subscribe(ctx, channel); err != nil {
			return err
		}
	}
	online, err := generic.Online(ctx, channel)
	if err != nil {
		return err
	}
	fmt.Println("Online:", names(people, online))

	last := people[len(people)-1]
	toLast := channels.PushEvent{Payload: "this is for " + last.name + " alone", UserIDs: []string{last.id}}
	if err := push(ctx, generic, channel, people, toLast, channels.PushEvent{Payload: "good morning, everybody"}); err != nil {
		return err
	}
	for _, p := range people {
		count := 1
		if p == last {
			count = 2
		}
		if err := p.receive(ctx, count); err != nil {
			return err
		}
	}

	fmt.Println(last.name, "leaves")
	if err := last.client.Unsubscribe(ctx, channel); err != nil {
		return err
	}
	return push(ctx, generic, channel, people, toLast)
}

// push pushes events, and tells whom they have reached.
func push(ctx context.Context, generic *channels.Generic, channel string, people []*person, events ...channels.PushEvent) error {
	results, err := generic.Push(ctx, channel, events...)
	for i, result := range results {
		fmt.Printf("%v: %q", result.Outcome, events[i].Payload)
		if result.Outcome == sfstream.Published && len(events[i].UserIDs) > 0 {
			var online []string
			for id, is := range result.Online {
				if is {
					online = append(online, id)
				}
			}
			fmt.Printf(", to %d of %d users: %s", result.FanoutCount, len(events[i].UserIDs), names(people, online))
		}
		fmt.Println()
	}
	return err
}

// names returns the names of users by their ids.
func names(people []*person, ids []string) string {
	var found []string
	for _, p := range people {
		if slices.Contains(ids, p.id) {
			found = append(found, p.name)
		}
	}
	return cmp.Or(strings.Join(found, ", "), "nobody")
}
