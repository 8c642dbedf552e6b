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

// genFlags are the flags and arguments of sfstream gen.
type genFlags struct {
	pkg      string
	out      string
	channels []string
}

var schemaChannel = regexp.MustCompile(`^/(event|data)/\w+$`)

func parseGen(args []string, stderr io.Writer) (genFlags, error) {
	var f genFlags
	flags := flag.NewFlagSet("sfstream gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	// go generate tells in GOPACKAGE in which package its directive stands.
	flags.StringVar(&f.pkg, "pkg", cmp.Or(os.Getenv("GOPACKAGE"), "events"), "the `name` of the package")
	flags.StringVar(&f.out, "o", "", "write to this `file`, once all is well, and not to standard output")
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: sfstream gen [flags] CHANNEL…\n\n"+
			"Writes Go structs for the events of channels, as their schemas are now. The same\n"+
			"schemas make the same file. The account comes from the environment: see\n"+
			"\"sfstream tail -h\".\n\n")
		flags.PrintDefaults()
	}
	var err error
	if f.channels, err = parseChannels(flags, args); err != nil {
		return f, err
	}
	if len(f.channels) == 0 {
		return f, usageError{"sfstream gen: no channel given"}
	}
	for _, channel := range f.channels {
		if !schemaChannel.MatchString(channel) {
			return f, usageError{fmt.Sprintf("sfstream gen: channel %q has no schema: want /event/Name__e or /data/NameChangeEvent", channel)}
		}
	}
	if !token.IsIdentifier(f.pkg) || f.pkg == "_" {
		return f, usageError{fmt.Sprintf("sfstream gen: -pkg %q is no name of a package", f.pkg)}
	}
	slices.Sort(f.channels)
	f.channels = slices.Compact(f.channels)
	return f, nil
}

func gen(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parseGen(args, stderr)
	if err != nil {
		return err
	}
	schemas, err := fetchSchemas(ctx, f.channels)
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
