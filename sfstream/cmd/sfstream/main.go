// Command sfstream follows and publishes Salesforce events from a shell, writes Go structs for
// them, and serves a simulated org to programs in any language. "sfstream help" lists what it can
// do.
//
// Standard output carries what programs read; everything for people goes to standard error, but for
// a help that was asked for. The exit status is 0 after a clean end, 1 after a failure and 2 after
// a mistake on the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// commands returns the table of commands, from which usage, help and completion come.
func commands() []command {
	return []command{
		{name: "tail", args: "CHANNEL…", short: "print events as they happen, in lines or as JSON", long: tailHelp, more: accountHelp,
			new: func() runner { return new(tailFlags) }},
		{name: "publish", args: "CHANNEL", short: "publish events, one for each line of JSON", long: publishHelp, more: accountHelp,
			new: func() runner { return new(publishFlags) }},
		{name: "topic", args: "CHANNEL", short: "tell who may use a channel, and the fields of its events", long: topicHelp, more: accountHelp,
			new: func() runner { return new(topicFlags) }},
		{name: "gen", args: "CHANNEL…", short: "write Go structs for the events of channels", long: genHelp, more: accountHelp,
			new: func() runner { return new(genFlags) }},
		{name: "doctor", args: "[CHANNEL…]", short: "say what is wrong, and what to fix", long: doctorHelp, more: accountHelp,
			new: func() runner { return new(doctorFlags) }},
		{name: "login", args: "[NAME]", short: "log in at a browser, and save the login", long: loginHelp, more: loginVariables,
			new: func() runner { return new(loginFlags) }},
		{name: "testorg", short: "serve a simulated org, to test programs against", long: testorgHelp,
			new: func() runner { return new(testorgFlags) }},
		{name: "markers", args: "FILE", short: "show and change the replay markers in a file", long: markersHelp,
			new: func() runner { return new(markersFlags) }},
		{name: "completion", args: "bash|zsh|fish", short: "print a script for completion in a shell", long: completionHelp,
			new: func() runner { return completionFlags{} }},
		{name: "version", short: "print which release this is", long: versionHelp,
			new: func() runner { return new(versionFlags) }},
		{name: "help", args: "[COMMAND]", short: "explain a command, with its flags and variables", long: helpHelp,
			new: func() runner { return new(helpFlags) }},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	// So that a pipe whose reader has gone is an error of the write, and no sudden death.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	slog.SetDefault(slog.New(newJournal(newConsole(os.Stdout, os.Stderr), slog.LevelInfo)))
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, pipe{stdout}, stderr)
	var mistake usageError
	switch {
	case err == nil, errors.Is(err, errReaderGone):
		return 0
	case errors.As(err, &mistake):
		fmt.Fprintln(stderr, strings.TrimSuffix(mistake.text, "\n"))
		return 2
	}
	fmt.Fprintln(stderr, "sfstream:", harmless(sentence(err)))
	return 1
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usageError{usage()}
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	c, err := find(name)
	if err != nil {
		return err
	}
	return c.run(ctx, args[1:], stdout, stderr)
}
