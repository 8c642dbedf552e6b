package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// tailFlags are the flags and arguments of sfstream tail.
type tailFlags struct {
	replay   string
	from     string
	rewind   bool
	fallback string
	count    int
	storeAck string
	health   string
	output   string
	filter   filter
	cometd   bool
	verbose  bool
	account  accountFlags
	channels []string
	start    start
}

const tailHelp = `Prints the events of channels until Ctrl-C: on a terminal one short line each,
else one JSON object a line. What is for people goes to standard error.

  sfstream tail /data/AccountChangeEvent
  sfstream tail -replay replay.db /event/Order__e /topic/Accounts
  sfstream tail -from 2d -type UPDATE -field Phone /data/ChangeEvents
  sfstream tail -from all -count 10 /event/Order__e | jq .data.payload

-from takes: new (or -1); all that Salesforce retains (or -2); how long ago
(90m, 2d12h); a day, from its midnight here (2026-11-27); a time, here unless it
names its zone (2026-11-27T10:00, 2026-11-27T10:00:00Z); or the replay id of the
event after which to start, as it is printed here or by other clients: a number,
hex or base64. An id belongs to one channel.

-entity, -type and -field are for change events. A gap event stands in for
changes that Salesforce does not tell: it passes -field, and -type UPDATE lets
GAP_UPDATE pass, too. What is filtered out counts as handled.
`

func (f *tailFlags) register(flags *flag.FlagSet) {
	flags.Var(filled(&f.replay), "replay", "keep replay markers in this `file`, and continue from them")
	flags.StringVar(&f.from, "from", "new", "`where` to start without a marker: new, all, 2d, 2026-11-27, a time, or after a replay id")
	flags.BoolVar(&f.rewind, "rewind", false, "start at -from even if there is a marker")
	flags.Var(choiceOf(&f.fallback, "fail", "all", "new"), "fallback", "where to go on if Salesforce does not know the replay id any more: nowhere, with all that is retained, or with new events")
	flags.IntVar(&f.count, "count", 0, "end when `n` events are printed; 0 means never")
	flags.Var(choiceOf(&f.storeAck, "auto", "receive"), "store-ack", "when an event counts as handled: auto (once it is printed) or receive (before)")
	flags.Var(choiceOf(&f.output, "auto", "json", "line"), "o", "what to print: JSON, a short line, or auto: that on a terminal, else JSON")
	flags.Var(&f.filter.entities, "entity", "print changes of this `object` only; repeat it, or give several with commas")
	flags.Var(&f.filter.types, "type", "print changes of this `type` only: CREATE, UPDATE, DELETE, UNDELETE, GAP_UPDATE …")
	flags.Var(&f.filter.fields, "field", "print changes of this `field` only: updates that change it, and new records that have it")
	flags.BoolVar(&f.cometd, "cometd", false, "use the Streaming API for /event and /data too")
	flags.Var(filled(&f.health), "health", "answer the probes /livez and /readyz at this `address`, as :8080")
	flags.BoolVar(&f.verbose, "v", false, "log at debug level")
	f.account.register(flags)
}

// check finds the mistakes on the command line.
func (f *tailFlags) check() error {
	mistake := func(format string, args ...any) error {
		return usageError{"sfstream tail: " + fmt.Sprintf(format, args...)}
	}
	if f.count < 0 {
		return mistake("-count is negative")
	}
	if _, _, err := net.SplitHostPort(f.health); err != nil && f.health != "" {
		return mistake("-health %q is no address: want host:port, or :8080 for all of this computer", f.health)
	}
	if err := nameChannels(f.channels); err != nil {
		return mistake("%s", sentence(err))
	}
	var err error
	if f.start, err = parseStart(f.from, f.streaming(), time.Now()); err != nil {
		return mistake("-from %q: %v", f.from, err)
	}
	if len(f.start.id) > 0 && len(f.channels) > 1 {
		return mistake("-from %s is the replay id of one channel: give one channel, or a time", f.from)
	}
	if name := f.filter.unknownType(); name != "" {
		return mistake("-type %q is none of %s", name, strings.Trim(fmt.Sprint(changeTypes), "[]"))
	}
	for _, channel := range f.channels {
		if f.filter.isSet() && !strings.HasPrefix(channel, "/data/") {
			return mistake("-entity, -type and -field are for change events (/data), and %s has none", channel)
		}
	}
	return f.account.check("tail")
}

// nameChannels refuses names that no channel has, and one channel that is given twice.
func nameChannels(channels []string) error {
	client, err := sfstream.New(authenticator.Static{}) // it is not opened: it checks names, and no more
	if err != nil {
		return err
	}
	defer client.Close()
	var before []string
	for _, channel := range channels {
		if err := client.Subscribe(context.Background(), channel); errors.Is(err, sfstream.ErrInvalidOption) {
			return err
		}
		name := replaystore.Key{Channel: channel}.Canonical().Channel // without its filter
		if slices.Contains(before, name) {
			return fmt.Errorf("%s is given twice", channel)
		}
		before = append(before, name)
	}
	return nil
}

// streaming reports whether the Streaming API serves all channels.
func (f *tailFlags) streaming() bool {
	return f.cometd || !slices.ContainsFunc(f.channels, func(channel string) bool {
		return !strings.HasPrefix(channel, "/topic/") && !strings.HasPrefix(channel, "/u/")
	})
}

// options returns the options of the client, and those of its subscriptions.
func (f *tailFlags) options() (options []sfstream.Option, from []sfstream.SubscribeOption) {
	fallbacks := map[string]sfstream.Fallback{"fail": sfstream.FallbackFail, "all": sfstream.FallbackAll, "new": sfstream.FallbackNew}
	options = append(options, sfstream.WithReplayFallback(fallbacks[f.fallback]))
	if f.cometd {
		options = append(options, sfstream.WithTransport(sfstream.CometD))
	}
	if f.rewind {
		from = append(from, sfstream.From(f.start.replay))
	} else {
		options = append(options, sfstream.WithReplay(f.start.replay))
	}
	if f.storeAck == "receive" {
		options = append(options, sfstream.WithAck(sfstream.AckOnReceive))
	}
	return options, from
}

func (f *tailFlags) run(ctx context.Context, channels []string, stdout, stderr io.Writer) (err error) {
	f.channels = channels
	if err := f.check(); err != nil {
		return err
	}
	defer f.account.finish()
	account, err := f.account.account()
	if err != nil {
		return err
	}
	console := newConsole(stdout, stderr)
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := newJournal(console, level)
	log.hold()
	options, from := f.options()
	options = append(append(options, account.options()...), sfstream.WithLogger(slog.New(log)))
	store, closeStore, err := f.store()
	if err != nil {
		return err
	}
	defer func() { err = joined(err, closeStore()) }()
	client, err := sfstream.New(account.auth, append(options, sfstream.WithReplayStore(store))...)
	if err != nil {
		return err
	}
	defer func() { err = joined(err, client.Close()) }()
	if f.health != "" {
		stop, err := serveHealth(f.health, client)
		if err != nil {
			return err
		}
		defer func() { err = joined(err, stop()) }()
	}
	if told := f.start.told(); told != "" {
		console.note(fmt.Sprintf("sfstream: -from %s is %s", f.from, told))
	}
	if err := f.follow(ctx, client, console, account.loginURL, from); err != nil {
		return interrupted(ctx, err)
	}
	log.release()
	return f.print(ctx, client, console)
}

// store opens what keeps the markers: a file, or the memory of the process.
func (f *tailFlags) store() (store replaystore.Store, closeStore func() error, err error) {
	if f.replay == "" {
		return replaystore.NewMemory(), func() error { return nil }, nil
	}
	file, err := replaystore.OpenBolt(f.replay)
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}

// follow logs in and subscribes, and tells what it waits for where that takes long.
func (f *tailFlags) follow(ctx context.Context, client *sfstream.Client, console *console, loginURL string, from []sfstream.SubscribeOption) error {
	stop := console.patience("log in at "+loginURL, nil)
	err := client.Open(ctx)
	stop()
	if err != nil {
		return err
	}
	for _, channel := range f.channels {
		stop := console.patience("subscribe to "+channel, func() error { return lastError(client, channel) })
		err := client.Subscribe(ctx, channel, from...)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// lastError returns the last failure of a channel, nil if there is none.
func lastError(client *sfstream.Client, channel string) error {
	for _, ch := range client.Status().Channels {
		if ch.Channel == channel {
			return ch.LastError
		}
	}
	return nil
}

// print prints events until ctx ends, enough are printed, or nobody reads them.
func (f *tailFlags) print(ctx context.Context, client *sfstream.Client, console *console) error {
	tally := newTally(console, client)
	stop := tally.watch()
	err := f.printAll(ctx, client, console, tally)
	stop()
	if errors.Is(err, errReaderGone) {
		return nil
	}
	if ctx.Err() != nil {
		console.note(tally.summary(client.Status(), f.replay)...)
	}
	return err
}

func (f *tailFlags) printAll(ctx context.Context, client *sfstream.Client, console *console, tally *tally) error {
	lines := liner{on: console.on}
	short := f.output == "line" || f.output == "auto" && console.on.is
	printed := 0
	for msg := range client.Messages(ctx) {
		wanted := f.filter.passes(msg)
		tally.add(msg.Channel, wanted)
		if !wanted {
			continue
		}
		var line []byte
		if short {
			line = []byte(lines.line(msg))
		} else {
			line = jsonLine(msg, console)
		}
		// A message that could not be written stays unhandled, and comes again.
		if err := console.result(append(line, '\n')); err != nil {
			return err
		}
		if printed++; printed == f.count {
			msg.Ack()
			break
		}
	}
	return client.Err()
}

// jsonLine returns a message as JSON. If it cannot be decoded, the line has the reason and the raw
// bytes.
func jsonLine(msg *sfstream.Message, console *console) []byte {
	line, err := plainJSON(msg)
	if err == nil {
		return line
	}
	if unreadable, ok := errors.AsType[*sfstream.DecodeError](err); ok {
		err = unreadable // without what encoding/json says of it
	}
	what, _ := explain(err)
	console.note("sfstream: " + what)
	line, _ = plainJSON(map[string]any{ // texts and bytes: it cannot fail
		"channel": msg.Channel, "error": what,
		"data": map[string]any{
			"schema": msg.SchemaID, "raw": msg.Raw(),
			"event": map[string]string{"EventUuid": msg.ID, "replayId": hex.EncodeToString(msg.ReplayID)},
		},
	})
	return line
}

// plainJSON encodes a value for grep, jq and terminals: <, > and & are as they are, and what JSON
// allows in texts although some terminals can be driven by it is escaped: control characters, and
// those that turn the direction of a text.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	control := func(r rune) bool {
		return r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if !bytes.ContainsFunc(line, control) {
		return line, nil
	}
	var safe []byte
	for _, r := range string(line) {
		if control(r) {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = append(safe, string(r)...)
		}
	}
	return safe, nil
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
