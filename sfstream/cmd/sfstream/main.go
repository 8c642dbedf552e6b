// Command sfstream follows Salesforce events from a shell, writes Go structs for them, and serves a
// simulated org to programs in any language.
//
//	sfstream tail [flags] CHANNEL…    print events as JSON lines
//	sfstream gen [flags] CHANNEL…     write Go structs for events
//	sfstream testorg [flags]          serve a simulated org
//
// Standard output carries JSON lines or Go only; everything for people goes to standard error. The
// exit status is 0 after a clean end, 1 after a failure and 2 after a mistake on the command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: sfstream tail [flags] CHANNEL…    print events as JSON lines
       sfstream gen [flags] CHANNEL…     write Go structs for events
       sfstream testorg [flags]          serve a simulated org

"sfstream tail -h" and the like tell the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a mistake on the command line. Its text is empty if the flag package has explained
// it.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	var mistake usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &mistake):
		if mistake.text != "" {
			fmt.Fprintln(stderr, strings.TrimSuffix(mistake.text, "\n"))
		}
		return 2
	}
	fmt.Fprintln(stderr, "sfstream:", strings.TrimPrefix(err.Error(), "sfstream: "))
	return 1
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usageError{usage}
	}
	switch args[0] {
	case "tail":
		return tail(ctx, args[1:], stdout, stderr)
	case "gen":
		return gen(ctx, args[1:], stdout, stderr)
	case "testorg":
		return testorg(ctx, args[1:], stdout, stderr)
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stderr, usage)
		return nil
	}
	return usageError{fmt.Sprintf("sfstream: no command %q\n%s", args[0], usage)}
}

// parseChannels reads flags and channels in any order.
func parseChannels(flags *flag.FlagSet, args []string) (channels []string, err error) {
	for {
		if err := parse(flags, args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return channels, nil
		}
		channels = append(channels, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// parse reads flags. The flag package has explained a mistake to the user when parse returns.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{}
}
