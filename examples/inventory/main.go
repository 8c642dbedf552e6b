// Command inventory is two programs around Salesforce opportunities, and with -all the org that
// they need. README.md tells the story.
//
//	go run ./examples/inventory -all -orders 5
//	go run ./examples/inventory -app        # what the warehouse runs
//	go run ./examples/inventory -listener   # what writes to Salesforce
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

const closedWon = "Closed Won"

func main() {
	log.SetFlags(0)
	slog.SetLogLoggerLevel(slog.LevelWarn)
	isApp := flag.Bool("app", false, "order what is sold: confirm each opportunity that is won")
	isListener := flag.Bool("listener", false, "write confirmed delivery dates to the opportunities")
	all := flag.Bool("all", false, "run both, and a simulated org that sells something")
	orders := flag.Int("orders", 5, "with -all: end when this `many` orders are delivered")
	replay := flag.String("replay", "", "keep the place to continue from in this `file` (default one in the user's cache directory)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *all && *orders < 1:
		err = errors.New("-orders: give 1 or more")
	case *all && !*isApp && !*isListener:
		err = runAll(ctx, *orders)
	case *isApp && !*isListener && !*all:
		err = run(ctx, "app", *replay, opportunities, func(client *sfstream.Client) handler { return app{client}.handle })
	case *isListener && !*isApp && !*all:
		err = run(ctx, "listener", *replay, confirmations, func(client *sfstream.Client) handler { return listener{client}.handle })
	default:
		err = errors.New("give one of -app, -listener and -all")
	}
	if err != nil && !errors.Is(err, context.Canceled) { // which is Ctrl-C
		log.Fatal("inventory: ", err)
	}
}

// A handler returns nil when an event is dealt with. Another error means that it is not, and that
// the event is to come again.
type handler = func(context.Context, *sfstream.Message) error

// run follows a channel until ctx ends. The account is that of the environment.
func run(ctx context.Context, name, replay, channel string, handle func(*sfstream.Client) handler) error {
	store, err := openStore(name, replay)
	if err != nil {
		return err
	}
	defer store.Close()
	auth, loginURL, err := authenticator.FromEnv()
	if err != nil {
		return err
	}
	options := []sfstream.Option{
		sfstream.WithLoginURL(loginURL),
		sfstream.WithReplayStore(store),
		// An event that comes twice does no harm here, and one that is missed is an order that
		// nobody delivers: without a marker, begin with all that Salesforce retains.
		sfstream.WithReplay(sfstream.ReplayAll),
		sfstream.WithReplayFallback(sfstream.FallbackAll), // and log what may be missing
		sfstream.WithLogger(slog.Default()),
	}
	if endpoint := os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"); endpoint != "" {
		options = append(options, sfstream.WithPubSubEndpoint(endpoint))
	}
	client, err := sfstream.New(auth, options...)
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
	fmt.Println("following", channel)
	// The marker passes an event when its handler has returned nil, never before: a program that is
	// killed in between gets the event again.
	return client.Run(ctx, handle(client), sfstream.OnError(sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() })))
}

// openStore opens the file of replay markers.
func openStore(name, path string) (*replaystore.Bolt, error) {
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("%w: give a file with -replay", err)
		}
		path = filepath.Join(cache, "sfstream-inventory", name+".db")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
	return replaystore.OpenBolt(path)
}
