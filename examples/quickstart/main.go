// Command quickstart follows Salesforce events and prints them. Without a Salesforce account in the
// environment it starts a simulated org in its own process.
//
//	go run ./examples/quickstart -count 5
//
// Run it again and it continues after the last message it printed: it keeps its place in a file in
// the user's cache directory, or in another one that -replay names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sfstream/sfstream-go/examples/internal/account"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func main() {
	log.SetFlags(0)
	count := flag.Int("count", 0, "end after this `many` messages; 0 means never")
	replay := flag.String("replay", cached(), "keep the place to continue from in this `file`")
	args := account.Parse("quickstart [flags] [CHANNEL…]", math.MaxInt)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *count, *replay, args); err != nil && !errors.Is(err, context.Canceled) { // which is Ctrl-C
		log.Fatal("quickstart: ", err)
	}
}

// cached returns a path in the user's cache directory, or "" if the user has none.
func cached() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "sfstream-quickstart", "replay.db")
}

func run(ctx context.Context, count int, path string, channels []string) error {
	switch path {
	case "":
		return errors.New("there is no cache directory: give a file with -replay")
	case cached():
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
	}
	store, err := replaystore.OpenBolt(path)
	if errors.Is(err, replaystore.ErrLocked) {
		return fmt.Errorf("%w (another quickstart? give this one its own -replay file)", err)
	}
	if err != nil {
		return err
	}
	defer store.Close()
	fmt.Println("Replay markers are kept in", path)

	account, err := account.Find(func() (*sfstreamtest.Server, error) { return startOrg(ctx, path+".org") })
	if err != nil {
		return err
	}
	defaults, replay := []string{"/data/ChangeEvents"}, sfstream.ReplayNew
	if account.Org != nil {
		// Nobody else uses this org: without a marker, begin with its first event.
		defaults, replay = []string{accounts, orders}, sfstream.ReplayAll
	}
	if len(channels) == 0 {
		channels = defaults
	}
	client, err := sfstream.New(account.Auth, append(account.Options, sfstream.WithReplayStore(store), sfstream.WithReplay(replay))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := follow(ctx, client, channels); err != nil {
		return err
	}

	seen := 0
	for msg := range client.Messages(ctx) {
		show(msg)
		if seen++; seen == count {
			msg.Ack() // otherwise the loop leaves it unhandled, and it comes again
			break
		}
	}
	if err := client.Err(); err != nil {
		return err
	}
	fmt.Printf("%d messages. Run it again with the same file to continue after the last one.\n", seen)
	return nil
}

// follow opens the client, subscribes, and tells where it begins.
func follow(ctx context.Context, client *sfstream.Client, channels []string) error {
	if err := client.Open(ctx); err != nil {
		return err
	}
	for _, channel := range channels {
		if err := client.Subscribe(ctx, channel); err != nil {
			return err
		}
	}
	for _, ch := range client.Status().Channels {
		if len(ch.ReplayID) > 0 {
			fmt.Printf("Continuing %s after replay id %x\n", ch.Channel, ch.ReplayID)
		} else {
			fmt.Println("Following", ch.Channel)
		}
	}
	return nil
}

// show prints a message: its time, replay id, channel, kind and fields.
func show(msg *sfstream.Message) {
	fields, err := msg.Fields()
	if err != nil {
		fmt.Println(err) // only this event is bad: the stream goes on
		return
	}
	kind := "EVENT"
	header, change := fields["ChangeEventHeader"].(map[string]any)
	if change {
		kind = fmt.Sprint(header["changeType"], " ", header["recordIds"])
		delete(fields, "ChangeEventHeader")
	}
	var what []string
	for name, value := range fields {
		if name != "CreatedDate" && name != "CreatedById" && name != "LastModifiedDate" {
			what = append(what, fmt.Sprintf("%s=%v", name, value))
		}
	}
	fmt.Printf("%s  %x  %s  %s  %s\n", msg.Date().Local().Format("15:04:05"), msg.ReplayID, msg.Channel, kind, strings.Join(what, " "))
}
