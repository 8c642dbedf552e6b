// Command jsonstore keeps its replay markers in a store of its own, a JSON file. store.go is all of
// it: copy it, and change it for where your program can keep a few bytes.
//
//	go run ./examples/jsonstore
//
// Run it again and it continues after the last message it printed. The file is in the user's cache
// directory, or where -replay says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func main() {
	log.SetFlags(0)
	count := flag.Int("count", 5, "end after this `many` messages; 0 means never")
	replay := flag.String("replay", "", "keep the place to continue from in this `file` (default one in the user's cache directory)")
	args := account.Parse("jsonstore [flags] [CHANNEL]", 1)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *count, *replay, args); err != nil {
		log.Fatal("jsonstore: ", err)
	}
}

func run(ctx context.Context, count int, path string, args []string) error {
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: give a file with -replay", err)
		}
		path = filepath.Join(cache, "sfstream-jsonstore", "replay.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
	}
	store, err := OpenStore(path)
	if err != nil {
		return err
	}
	account, err := account.Find(func() (*sfstreamtest.Server, error) { return startOrg(path+".org", count) })
	if err != nil {
		return err
	}
	defer account.Close()
	options, channel := append(account.Options, sfstream.WithReplayStore(store)), "/data/ChangeEvents"
	if account.Org != nil {
		options, channel = append(options, sfstream.WithReplay(sfstream.ReplayAll)), orders
	}
	if len(args) == 1 {
		channel = args[0]
	}
	client, err := sfstream.New(account.Auth, options...)
	if err != nil {
		return err
	}
	if err = follow(ctx, client, channel, count); errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C
	}
	err = errors.Join(err, client.Close())
	if text, unread := os.ReadFile(path); unread == nil {
		fmt.Printf("%s now has %s\n", path, text)
	}
	return err
}

// follow prints the messages of a channel.
func follow(ctx context.Context, client *sfstream.Client, channel string, count int) error {
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, channel); err != nil {
		return err
	}
	if id := client.Status().Channels[0].ReplayID; len(id) > 0 {
		fmt.Printf("Continuing %s after replay id %x\n", channel, id)
	} else {
		fmt.Println("Following", channel)
	}
	seen := 0
	for msg := range client.Messages(ctx) {
		fields, err := msg.Fields()
		if err != nil {
			fmt.Println(err) // only this event is bad: the stream goes on
		} else {
			fmt.Printf("%x  %s  %v\n", msg.ReplayID, msg.EventName(), fields)
		}
		if seen++; seen == count {
			msg.Ack() // otherwise the loop leaves it unhandled, and it comes again
			break
		}
	}
	return nil // what ended the client is the error of its Close
}
