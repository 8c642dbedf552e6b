package main

import (
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"text/tabwriter"
)

const about = `usage: sfstream-forward [flags] CHANNEL…

Forwards the events of Salesforce channels to a queue, until SIGTERM. An event
counts as handled when the queue has acked it: none is lost, and one that comes
again has the same id.

  sfstream-forward -sink stdout: -replay replay.db /data/AccountChangeEvent
  sfstream-forward -config forward.json
  sfstream-forward -config forward.json -check

The login comes from the variables SALESFORCE_…, which "sfstream help tail"
lists, or from files that the same names with _FILE have. URLs with passwords go
into SFSTREAM_SINK and SFSTREAM_REGISTER, or passwords alone into
SFSTREAM_SINK_PASSWORD and SFSTREAM_REGISTER_PASSWORD; each may have _FILE, too.
`

// help prints what the program can do.
func help(w io.Writer) {
	fmt.Fprintf(w, "%s\nSinks:\n", about)
	for _, k := range sinks {
		fmt.Fprintf(w, "  %s\n", k.form)
	}
	fmt.Fprintf(w, "\nRegisters:\n")
	for _, k := range registers {
		fmt.Fprintf(w, "  %s\n", k.form)
	}
	fmt.Fprintf(w, "\nFlags:\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	newFlags(new(settings), new(string)).VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if kind == "n" || kind == "duration" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(t, "  -%s\t%s\n", strings.TrimSpace(f.Name+" "+kind), usage)
	})
}

// version returns which release this is.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
