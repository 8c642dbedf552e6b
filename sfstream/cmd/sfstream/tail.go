package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// tailFlags are the flags and arguments of sfstream tail.
type tailFlags struct {
	replay   string
	from     string
	rewind   bool
	count    int
	storeAck string
	cometd   bool
	verbose  bool
	account  accountFlags
	channels []string
}

const tailHelp = `Prints the events of channels, one JSON object a line, until Ctrl-C.

  sfstream tail /data/AccountChangeEvent
  sfstream tail -replay replay.db /event/Order__e /topic/Accounts
  sfstream tail -from all -count 10 /event/Order__e
`

func (f *tailFlags) register(flags *flag.FlagSet) {
	flags.Var(filled(&f.replay), "replay", "keep replay markers in this `file`, and continue from them")
	flags.StringVar(&f.from, "from", "new", "`where` to start without a marker: new, all, after a replayId as it was printed, or since an RFC 3339 time")
	flags.BoolVar(&f.rewind, "rewind", false, "start at -from even if there is a marker, as where Salesforce refuses the marker")
	flags.IntVar(&f.count, "count", 0, "end after `n` events; 0 means never")
	flags.Var(choiceOf(&f.storeAck, "auto", "receive"), "store-ack", "when an event counts as handled: auto (once it is printed) or receive (before)")
	flags.BoolVar(&f.cometd, "cometd", false, "use the Streaming API for /event and /data too")
	flags.BoolVar(&f.verbose, "v", false, "log at debug level")
	f.account.register(flags)
}

// start returns the place that -from names. Replay ids of the Streaming API are numbers, those of
// the Pub/Sub API are bytes in hex.
func (f *tailFlags) start() (sfstream.Replay, error) {
	from := f.from
	switch from {
	case "new":
		return sfstream.ReplayNew, nil
	case "all":
		return sfstream.ReplayAll, nil
	}
	if f.streaming() && strings.Trim(from, "0123456789") == "" {
		return sfstream.ReplayAfter([]byte(from)), nil
	}
	if id, err := hex.DecodeString(from); err == nil && len(id) > 0 {
		return sfstream.ReplayAfter(id), nil
	}
	if t, err := time.Parse(time.RFC3339, from); err == nil {
		return sfstream.ReplaySince(t), nil
	}
	return sfstream.Replay{}, usageError{fmt.Sprintf("sfstream tail: -from %q is neither new, all, a replay id nor an RFC 3339 time", from)}
}

// streaming reports whether the Streaming API serves all channels.
func (f *tailFlags) streaming() bool {
	return f.cometd || !slices.ContainsFunc(f.channels, func(channel string) bool {
		return !strings.HasPrefix(channel, "/topic/") && !strings.HasPrefix(channel, "/u/")
	})
}

func (f *tailFlags) options(stderr io.Writer) (options []sfstream.Option, from []sfstream.SubscribeOption, err error) {
	replay, err := f.start()
	if err != nil {
		return nil, nil, err
	}
	if f.cometd {
		options = append(options, sfstream.WithTransport(sfstream.CometD))
	}
	if f.rewind {
		from = append(from, sfstream.From(replay))
	} else {
		options = append(options, sfstream.WithReplay(replay))
	}
	if f.storeAck == "receive" {
		options = append(options, sfstream.WithAck(sfstream.AckOnReceive))
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	options = append(options, sfstream.WithLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))))
	return options, from, nil
}

func (f *tailFlags) run(ctx context.Context, channels []string, stdout, stderr io.Writer) (err error) {
	if f.count < 0 {
		return usageError{"sfstream tail: -count is negative"}
	}
	if err := f.account.check("tail"); err != nil {
		return err
	}
	f.channels = channels
	options, from, err := f.options(stderr)
	if err != nil {
		return err
	}
	account, err := f.account.account()
	if err != nil {
		return err
	}
	options = append(options, account.options()...)
	if f.replay != "" {
		store, err := replaystore.OpenBolt(f.replay)
		if err != nil {
			return err
		}
		defer store.Close()
		options = append(options, sfstream.WithReplayStore(store))
	}
	client, err := sfstream.New(account.auth, options...)
	if err != nil {
		return err
	}
	defer func() { err = joined(err, client.Close()) }()
	if err := client.Open(ctx); err != nil {
		return interrupted(ctx, err)
	}
	for _, channel := range f.channels {
		if err := client.Subscribe(ctx, channel, from...); err != nil {
			return interrupted(ctx, err)
		}
	}
	return printAll(ctx, client, f.count, stdout, stderr)
}

// printAll prints messages until ctx ends or count of them are printed.
func printAll(ctx context.Context, client *sfstream.Client, count int, stdout, stderr io.Writer) error {
	printed := 0
	for msg := range client.Messages(ctx) {
		// A message that could not be written stays unhandled, and comes again.
		if err := printMessage(msg, stdout, stderr); err != nil {
			return err
		}
		if printed++; printed == count {
			msg.Ack()
			break
		}
	}
	return client.Err()
}

// printMessage writes one line. If the message cannot be decoded, the line has the reason and the
// raw bytes.
func printMessage(msg *sfstream.Message, stdout, stderr io.Writer) error {
	line, err := json.Marshal(msg)
	if err != nil {
		fmt.Fprintln(stderr, "sfstream:", err)
		line, err = json.Marshal(map[string]any{
			"channel": msg.Channel, "error": err.Error(),
			"data": map[string]any{
				"schema": msg.SchemaID, "raw": msg.Raw(),
				"event": map[string]string{"EventUuid": msg.ID, "replayId": hex.EncodeToString(msg.ReplayID)},
			},
		})
		if err != nil {
			return err
		}
	}
	_, err = stdout.Write(append(line, '\n'))
	return err
}

// interrupted returns nil for an error that Ctrl-C caused, because that is a clean end.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// joined joins the error of Close to err, unless it repeats err.
func joined(err, closing error) error {
	if err != nil && closing != nil && errors.Is(closing, err) {
		return closing
	}
	return errors.Join(err, closing)
}
