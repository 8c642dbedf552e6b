package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/near"
)

// command is a row of the table of commands.
type command struct {
	name  string
	args  string // its arguments, as usage shows them: FILE, CHANNEL… (one or more), [NAME], one|other
	short string // one line about it, without a dot
	long  string // its help, before the flags: lines of at most 80 columns
	more  string // its help, after the flags
	new   func() runner
}

// runner is one run of a command: it has the values of the flags.
type runner interface {
	register(flags *flag.FlagSet)

	// run gets the arguments that are no flags, as many as the table allows. It returns a
	// usageError for another mistake on the command line, and this before it touches anything.
	run(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// find returns the command of that name.
func find(name string) (command, error) {
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	if meant := near.Word(name, names, 1); meant != "" {
		return command{}, usageError{fmt.Sprintf(`sfstream: no command %q: did you mean %q? "sfstream help" lists the commands`, name, meant)}
	}
	return command{}, usageError{fmt.Sprintf(`sfstream: no command %q; "sfstream help" lists the commands`, name)}
}

func (c command) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	r := c.new()
	flags := c.flags(r)
	args, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(stdout, c.help())
		return err
	case err != nil:
		return usageError{fmt.Sprintf(`sfstream %s: %s; "sfstream help %s" tells the flags`, c.name, inPlainWords(flags, err), c.name)}
	}
	if err := c.count(args); err != nil {
		return usageError{fmt.Sprintf(`sfstream %s: %s; usage: %s`, c.name, err, c.usage())}
	}
	return r.run(ctx, args, stdout, stderr)
}

// flags returns the flags of a run.
func (c command) flags(r runner) *flag.FlagSet {
	flags := flag.NewFlagSet("sfstream "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the flag package would print all flags below each mistake
	flags.Usage = func() {}
	r.register(flags)
	return flags
}

// all returns the flags of a command.
func (c command) all() (flags []*flag.Flag) {
	c.flags(c.new()).VisitAll(func(f *flag.Flag) { flags = append(flags, f) })
	return flags
}

// usage returns the form of the command.
func (c command) usage() string {
	form := "sfstream " + c.name
	if len(c.all()) > 0 {
		form += " [flags]"
	}
	return strings.TrimSuffix(form+" "+c.args, " ")
}

// count fails unless there are as many arguments as c.args shows.
func (c command) count(args []string) error {
	for _, want := range strings.Fields(c.args) {
		switch name, many := strings.CutSuffix(strings.Trim(want, "[]"), "…"); {
		case len(args) == 0 && !strings.HasPrefix(want, "["):
			return fmt.Errorf("no %s given", strings.ToLower(name))
		case many:
			return nil
		case strings.Contains(name, "|") && !slices.Contains(strings.Split(name, "|"), args[0]):
			return fmt.Errorf("%q is none of %s", args[0], strings.ReplaceAll(name, "|", ", "))
		case len(args) > 0:
			args = args[1:]
		}
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// parse reads flags, and returns the other arguments. They come in any order, until -- ends the
// flags.
func parse(flags *flag.FlagSet, args []string) (others []string, err error) {
	var given []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			others, args = append(others, args...), nil
		case len(arg) < 2 || arg[0] != '-':
			others = append(others, arg)
		default:
			given = append(given, arg)
			if takesNext(flags, arg) && len(args) > 0 {
				given, args = append(given, args[0]), args[1:]
			}
		}
	}
	return others, flags.Parse(given)
}

var unreadableValue = regexp.MustCompile(` for (?:flag )?-(\S+): (?:parse error|value out of range)$`)

// inPlainWords returns the error of flags.Parse, with what is wanted in place of "parse error".
func inPlainWords(flags *flag.FlagSet, err error) string {
	text := err.Error()
	m := unreadableValue.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	value, ok := flags.Lookup(m[1]).Value.(flag.Getter)
	if !ok {
		return text
	}
	want := "want a number"
	switch value.Get().(type) {
	case bool:
		want = "want true or false"
	case time.Duration:
		want = "want a duration, as 90s, 5m or 1h30m"
	case int, int64, uint, uint64:
		want = "want a whole number"
	}
	return text[:strings.LastIndex(text, ": ")+2] + want
}

// takesNext reports whether the value of the flag in arg is the next argument.
func takesNext(flags *flag.FlagSet, arg string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	f := flags.Lookup(name) // nil if it has a value behind =, too
	return f != nil && !isBool(f)
}

// isBool reports whether a flag stands without a value.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// choice is a flag whose value is one of some words, which help and completion tell.
type choice struct {
	value *string
	words []string
}

// choiceOf returns a choice of words for a flag. The first word is its default; "" means that there
// is none.
func choiceOf(value *string, words ...string) *choice {
	*value = words[0]
	return &choice{value, slices.DeleteFunc(words, func(word string) bool { return word == "" })}
}

func (c *choice) String() string {
	if c.value == nil { // the flag package calls it of a zero choice
		return ""
	}
	return *c.value
}

func (c *choice) Set(word string) error {
	if !slices.Contains(c.words, word) {
		return errors.New("it is none of " + strings.Join(c.words, ", "))
	}
	*c.value = word
	return nil
}
