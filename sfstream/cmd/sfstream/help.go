package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const helpWidth = 80 // columns

const helpHelp = `Lists the commands, or explains one of them: what it does, its flags, and the
environment variables that it reads. "sfstream COMMAND -h" does the same.
`

// accountHelp is about the variables of a command that logs in.
const accountHelp = `The account is one that "sfstream login" has saved, by -account NAME or where no
variable SALESFORCE_… is set; else it comes from environment variables. Where to
log in:

  SALESFORCE_LOGIN_URL    the org's My Domain URL, such as
                          https://example.my.salesforce.com
  SALESFORCE_SANDBOX      true: https://test.salesforce.com
                          (default https://login.salesforce.com)

How to log in is what the variables of one of these flows say:

  jwt_bearer              SALESFORCE_CONSUMER_KEY, SALESFORCE_USERNAME,
                          SALESFORCE_PRIVATE_KEY (PEM); optional
                          SALESFORCE_AUDIENCE
  client_credentials      SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET,
                          SALESFORCE_LOGIN_URL
  refresh_token           SALESFORCE_CONSUMER_KEY, SALESFORCE_REFRESH_TOKEN;
                          optional SALESFORCE_CONSUMER_SECRET
  static                  SALESFORCE_ACCESS_TOKEN, SALESFORCE_INSTANCE_URL;
                          optional SALESFORCE_ORG_ID
  cli                     SALESFORCE_ORG, an alias or username that the
                          Salesforce CLI (sf) is logged in to
  password                SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET,
                          SALESFORCE_USERNAME, SALESFORCE_PASSWORD; optional
                          SALESFORCE_SECURITY_TOKEN; until 20 February 2027
  soap                    SALESFORCE_USERNAME, SALESFORCE_PASSWORD,
                          SALESFORCE_LOGIN_FLOW=soap; optional
                          SALESFORCE_SECURITY_TOKEN; until Summer '27

Where the variables of two flows are set, SALESFORCE_LOGIN_FLOW names the one to
use. Each of these variables can also name a file that has the value, with _FILE
at its end, as SALESFORCE_PRIVATE_KEY_FILE=server.key.

  SALESFORCE_PUBSUB_ENDPOINT
                          where the Pub/Sub API is (host:port), if not at the
                          global address; "sfstream testorg" tells its own
`

// helpFlags is a run of sfstream help, which has no flags.
type helpFlags struct{}

func (*helpFlags) register(*flag.FlagSet) {}

func (*helpFlags) run(_ context.Context, args []string, stdout, _ io.Writer) error {
	text := usage()
	if len(args) > 0 {
		c, err := find(args[0])
		if err != nil {
			return err
		}
		text = c.help()
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// usage returns the list of commands.
func usage() string {
	var rows [][2]string
	for _, c := range commands() {
		rows = append(rows, [2]string{strings.TrimSuffix(c.name+" "+c.args, " "), c.short})
	}
	return "usage: sfstream COMMAND [flags] [arguments]\n\n" + columns(rows) +
		"\n\"sfstream help tail\" explains tail, and so on. To begin without a Salesforce\n" +
		"account see \"sfstream help testorg\". With one, log in by \"sfstream login\" or set\n" +
		"the variables that \"sfstream help tail\" lists; \"sfstream doctor\" checks either.\n" +
		"\nFlags and arguments may come in any order; -- ends the flags. The exit status\n" +
		"is 0 after a clean end, 1 after a failure, and 2 after a mistake on the command\n" +
		"line.\n"
}

// help returns the whole help of a command.
func (c command) help() string {
	r := c.new()
	flags := c.flags(r)
	parts := []string{"usage: " + c.usage() + "\n", c.long}
	var groups []flagGroup
	if g, ok := r.(interface{ flagGroups() []flagGroup }); ok {
		groups = g.flagGroups()
	}
	for _, g := range append([]flagGroup{ungrouped(flags, groups)}, groups...) {
		var rows [][2]string
		for _, name := range g.names {
			rows = append(rows, flagRow(flags.Lookup(name)))
		}
		if len(rows) > 0 {
			parts = append(parts, g.title+":\n\n"+columns(rows))
		}
	}
	if c.more != "" {
		parts = append(parts, c.more)
	}
	return strings.Join(parts, "\n")
}

// flagGroup is a part of the flags of a command that has many.
type flagGroup struct {
	title string
	names []string
}

// ungrouped returns the flags that are in none of the groups.
func ungrouped(flags *flag.FlagSet, groups []flagGroup) flagGroup {
	rest := flagGroup{title: "Flags"}
	flags.VisitAll(func(f *flag.Flag) {
		if !slices.ContainsFunc(groups, func(g flagGroup) bool { return slices.Contains(g.names, f.Name) }) {
			rest.names = append(rest.names, f.Name)
		}
	})
	return rest
}

// flagRow returns a flag with the name of its value, and what help says about it.
func flagRow(f *flag.Flag) [2]string {
	value, text := flag.UnquoteUsage(f)
	if c, ok := f.Value.(*choice); ok {
		value, text = strings.Join(c.words, "|"), f.Usage
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
		text += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	return [2]string{strings.TrimSuffix("-"+f.Name+" "+value, " "), text}
}

// columns returns rows of two columns, with the second one wrapped.
func columns(rows [][2]string) string {
	const widest = 24
	width := 0
	for _, row := range rows {
		if n := utf8.RuneCountInString(row[0]); n <= widest {
			width = max(width, n)
		}
	}
	var b strings.Builder
	indent := strings.Repeat(" ", width+4)
	for _, row := range rows {
		lines := wrap(row[1], helpWidth-width-4)
		if utf8.RuneCountInString(row[0]) > width {
			fmt.Fprintf(&b, "  %s\n%s%s\n", row[0], indent, lines[0])
		} else {
			fmt.Fprintf(&b, "  %-*s  %s\n", width, row[0], lines[0])
		}
		for _, line := range lines[1:] {
			b.WriteString(indent + line + "\n")
		}
	}
	return b.String()
}

// wrap breaks text into lines of at most so many columns, where it has spaces. There is at least
// one line.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
