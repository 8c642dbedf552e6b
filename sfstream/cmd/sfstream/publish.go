package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// publishFlags are the flags and arguments of sfstream publish.
type publishFlags struct {
	file    string
	rate    float64
	dryRun  bool
	keepIDs bool
	inDoubt string
	verbose bool
	account accountFlags
	channel string
}

const publishHelp = `Publishes events, one for each line of JSON, and prints a line of JSON for each
that tells what has become of it:

  echo '{"Number__c": "A-17"}' | sfstream publish /event/Order__e
  sfstream publish -f orders.jsonl -dry-run /event/Order__e
  sfstream tail -from 2d /event/Order__e | sfstream publish /event/Order__e

A line has the fields of an event, as "sfstream topic CHANNEL" lists them; for a
channel /u/… it has any JSON, of which a text is published as it is. Or it is
what tail has printed: then its payload is published, as a new event of now and
of this user, with a new id unless -keep-ids says otherwise.

  {"line":1,"id":"8f14…","replayId":"0000000000a1b2c3","outcome":"published"}

outcome is published, refused (it is not there), in doubt (no answer: it may be
there) or not sent; error says why. A line that is no event is not sent, and the
others are. The exit status is 1 if any line was not published.

Events that were not answered are sent again with the same id, so that one may
be there twice; subscribers tell by its id. Those of /u/ channels have no ids,
and are never sent again.
`

func (f *publishFlags) register(flags *flag.FlagSet) {
	f.file = "-"
	flags.Var(filled(&f.file), "f", "read events from this `file`, or from standard input where it is -")
	flags.Float64Var(&f.rate, "rate", 0, "publish at most `n` events per second; 0 means as fast as it goes")
	flags.BoolVar(&f.dryRun, "dry-run", false, "send nothing: compare each event with the channel's schema")
	flags.BoolVar(&f.keepIDs, "keep-ids", false, "publish what tail has printed with the id that it had: subscribers that have seen it take it for the same event")
	flags.Var(choiceOf(&f.inDoubt, "resend", "report"), "in-doubt", "what to do with an event that was not answered: send it again, or report it in doubt")
	flags.BoolVar(&f.verbose, "v", false, "log at debug level")
	f.account.register(flags)
}

var publishChannel = regexp.MustCompile(`^/(event/\w+|u/.+)$`)

// check finds the mistakes on the command line.
func (f *publishFlags) check() error {
	mistake := func(format string, args ...any) error {
		return usageError{"sfstream publish: " + fmt.Sprintf(format, args...)}
	}
	if !publishChannel.MatchString(f.channel) {
		return mistake("nobody can publish on channel %q: want /event/Name__e or /u/Name", f.channel)
	}
	if !(f.rate >= 0 && f.rate <= 1e6) {
		return mistake("-rate is not between 0 and 1000000")
	}
	if generic := strings.HasPrefix(f.channel, "/u/"); generic && f.dryRun {
		return mistake("-dry-run compares with a schema, and %s has none", f.channel)
	} else if generic && f.keepIDs {
		return mistake("-keep-ids: the events of %s have no ids", f.channel)
	}
	return f.account.check("publish")
}

func (f *publishFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	f.channel = args[0]
	if err := f.check(); err != nil {
		return err
	}
	console := newConsole(stdout, stderr)
	file := os.Stdin
	if f.file != "-" {
		if file, err = os.Open(f.file); err != nil {
			return err
		}
		defer file.Close()
	} else if terminalOf(file).is {
		console.note("sfstream: reading events from the terminal, a JSON object on each line; Ctrl-D ends")
	}
	defer f.account.finish()
	account, err := f.account.account()
	if err != nil {
		return err
	}
	results := newPublishResults(console, f)
	if f.dryRun {
		return f.rehearse(ctx, account, file, results)
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := newJournal(console, level)
	log.hold()
	policy := map[string]sfstream.DoubtPolicy{"resend": sfstream.Resend, "report": sfstream.Report}[f.inDoubt]
	client, err := sfstream.New(account.auth, append(account.options(), sfstream.WithLogger(slog.New(log)), sfstream.WithInDoubt(policy),
		sfstream.WithReplayStore(replaystore.NewMemory()))...) // there are no markers, and nothing to warn of
	if err != nil {
		return err
	}
	defer func() { err = joined(err, client.Close()) }()
	stop := console.patience("log in at "+account.loginURL, nil)
	err = client.Open(ctx)
	stop()
	if err != nil {
		return cmp.Or(interrupted(ctx, err), errInterrupted)
	}
	log.release()
	if strings.HasPrefix(f.channel, "/u/") {
		return results.run(ctx, file, func(in <-chan publishLine, out chan<- pendingResult) error {
			return pushLines(ctx, client, f.channel, in, out)
		})
	}
	return f.stream(ctx, client, file, results)
}

// errInterrupted is the end by Ctrl-C, which comes before the end of the events.
var errInterrupted = errors.New("interrupted: what is not told of is not published")

// closing is how long what was sent may still be answered after Ctrl-C.
const closing = 10 * time.Second

// stream publishes over the Pub/Sub API.
func (f *publishFlags) stream(ctx context.Context, client *sfstream.Client, file io.Reader, results *publishResults) error {
	publisher, err := client.Publisher(f.channel)
	if err != nil {
		return err
	}
	end := func() {
		// The results tell what became of each event, also where this is not enough.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		_ = publisher.Close(ctx)
	}
	defer end()
	// Results that are waited for come, whatever the sender waits for.
	defer context.AfterFunc(ctx, end)()
	return results.run(ctx, file, func(in <-chan publishLine, out chan<- pendingResult) error {
		return streamLines(ctx, publisher, in, out)
	})
}
