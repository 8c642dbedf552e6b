// Command redis follows a channel and keeps its replay markers in Redis. Run it again and it continues
// after the last message that it printed; run it twice at once and one of the two ends, because the
// other one has the markers then.
//
//	GOWORK=$PWD/.ci/go.work go run ./examples/redis -redis localhost:6379 -count 5
//
// Without a Salesforce account in the environment, whose variables authenticator.FromEnv lists, it
// starts a simulated org, whose events are in a file, so that the next run finds them.
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

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/redisstore"
	"github.com/sfstream/sfstream-go/sfstream"
)

func main() {
	log.SetFlags(0)
	address := flag.String("redis", "localhost:6379", "the `address` of the server")
	count := flag.Int("count", 0, "end after this `many` messages; 0 means never")
	channel := flag.String("channel", orders, "follow this channel")
	events := flag.String("org", filepath.Join(os.TempDir(), "sfstream-redis.org"), "the `file` of the simulated org")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *channel, *events, *count); err != nil && !errors.Is(err, context.Canceled) { // which is Ctrl-C
		log.Fatal("redis: ", err)
	}
}

func run(ctx context.Context, address, channel, events string, count int) error {
	server := redis.NewClient(&redis.Options{Addr: address})
	defer server.Close()
	// The documentation of redisstore says how a server is set up that keeps what it has acknowledged.
	register, err := redisstore.New(server, redisstore.WithPrefix("sfstream:"))
	if err != nil {
		return err
	}
	options, auth, end, err := account(events)
	if err != nil {
		return err
	}
	defer end()
	client, err := sfstream.New(auth, append(options, sfstream.WithReplayStore(replaystore.FromRegister(register)))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, channel); err != nil {
		return err
	}
	if id := client.Status().Channels[0].ReplayID; len(id) > 0 {
		fmt.Printf("Continuing %s after replay id %x\n", channel, id)
	}
	seen := 0
	for msg := range client.Messages(ctx) {
		fields, err := msg.Fields()
		fmt.Println(msg.Channel, fields["Number__c"], err)
		if seen++; seen == count {
			msg.Ack() // otherwise the loop leaves it unhandled, and it comes again
			break
		}
	}
	if err := client.Err(); errors.Is(err, replaystore.ErrConflict) {
		return fmt.Errorf("another program follows %s now: %w", channel, err)
	} else if err != nil {
		return err
	}
	return nil
}
