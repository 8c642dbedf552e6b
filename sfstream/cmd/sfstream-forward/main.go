// Command sfstream-forward forwards the events of Salesforce channels to a queue: Kafka, NATS, Redis
// or PostgreSQL. Several replicas of it share the channels, each event is forwarded by one of them,
// and where one dies another goes on where it was. Its README says how to run it as a container.
//
//	sfstream-forward -sink 'nats://nats:4222/salesforce.{entity}.{change}' -register nats://nats:4222 /data/ChangeEvents
//
// Each flag may also be a field of the JSON file that -config names. Everything secret is in
// variables or in the files that these name: SALESFORCE_…, as "sfstream help tail" lists them,
// SFSTREAM_SINK and SFSTREAM_REGISTER.
//
// The log goes to standard error, and standard output has events where the sink is stdout:. The exit
// status is 0 after SIGTERM or SIGINT, 1 after a failure and 2 after a mistake in the configuration.
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

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/sfstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	redis.SetLogger(noRedisLog{})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := readSettings(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(stdout)
		return 0
	case err == nil && s.version:
		fmt.Fprintln(stdout, version())
		return 0
	case err == nil:
		err = s.check()
	}
	if err == nil {
		p := &proxy{settings: s, log: newLog(s, stderr), stdout: stdout}
		if s.checkOnly {
			err = p.connectOnly(ctx)
		} else {
			err = p.run(ctx)
		}
	}
	return status(s, err, stderr)
}

// status tells of an error and returns the exit status. A failure is a line of the log, which is
// read where standard error goes; mistakes, and what -check finds, are for whom has typed a command.
func status(s *settings, err error, stderr io.Writer) int {
	var mistake mistake
	switch {
	case err == nil:
		return 0
	case errors.As(err, &mistake), errors.Is(err, sfstream.ErrInvalidOption):
		fmt.Fprintf(stderr, "sfstream-forward: %s\n", inWords(err.Error()))
		return 2
	case !s.checkOnly:
		newLog(s, stderr).Error("failed", "error", err)
		return 1
	}
	fmt.Fprintf(stderr, "sfstream-forward: %s\n", strings.ReplaceAll(inWords(err.Error()), "\n", "; "))
	return 1
}

// A mistake is one in the configuration: in flags, in the file of -config or in variables.
type mistake struct{ text string }

func (m mistake) Error() string { return m.text }

func mistaken(format string, args ...any) error { return mistake{fmt.Sprintf(format, args...)} }
