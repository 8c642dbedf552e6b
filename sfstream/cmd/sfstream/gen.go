package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/token"
	"io"
	"os"
	"regexp"
	"slices"
)

// genFlags are the flags of sfstream gen.
type genFlags struct {
	pkg     string
	out     string
	account accountFlags
}

var schemaChannel = regexp.MustCompile(`^/(event|data)/\w+$`)

const genHelp = `Writes Go structs for the events of channels, as their schemas are now. The same
schemas make the same file.

  sfstream gen -o events.go /data/AccountChangeEvent /event/Order__e

In a Go file, "//go:generate sfstream gen -o events.go /event/Order__e" makes
them for the package of that file.
`

func (f *genFlags) register(flags *flag.FlagSet) {
	// go generate tells in GOPACKAGE in which package its directive stands.
	flags.StringVar(&f.pkg, "pkg", cmp.Or(os.Getenv("GOPACKAGE"), "events"), "the `name` of the package")
	flags.Var(filled(&f.out), "o", "write to this `file`, once all is well, and not to standard output")
	f.account.register(flags)
}

func (f *genFlags) run(ctx context.Context, channels []string, stdout, stderr io.Writer) error {
	for _, channel := range channels {
		if !schemaChannel.MatchString(channel) {
			return usageError{fmt.Sprintf("sfstream gen: channel %q has no schema: want /event/Name__e or /data/NameChangeEvent", channel)}
		}
	}
	if !token.IsIdentifier(f.pkg) || f.pkg == "_" {
		return usageError{fmt.Sprintf("sfstream gen: -pkg %q is no name of a package", f.pkg)}
	}
	if err := f.account.check("gen"); err != nil {
		return err
	}
	defer f.account.finish()
	account, err := f.account.account()
	if err != nil {
		return err
	}
	slices.Sort(channels)
	stop := newConsole(stdout, stderr).patience("read the schemas, with a login at "+account.loginURL, nil)
	schemas, err := fetchSchemas(ctx, account, slices.Compact(channels))
	stop()
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing is written")
	}
	if err != nil {
		return err
	}
	source, err := structs(f.pkg, schemas)
	if err != nil {
		return err
	}
	if f.out != "" {
		return os.WriteFile(f.out, source, 0o644)
	}
	_, err = stdout.Write(source)
	return err
}
