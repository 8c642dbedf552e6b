package main

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// printed runs a command line in this process.
func printed(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	status, list, stderr := printed(t, "help")
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	words := strings.Join(strings.Fields(list), " ")
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(list, "\n  "+c.name+" ") || !strings.Contains(words, c.short) {
				t.Errorf("the list of commands lacks it: %s", list)
			}
			status, help, stderr := printed(t, "help", c.name)
			if status != 0 || stderr != "" || !strings.HasPrefix(help, "usage: sfstream "+c.name) || !strings.Contains(help, c.long) {
				t.Errorf("exit status %d; stderr %q; stdout %s", status, stderr, help)
			}
			for _, args := range [][]string{{c.name, "-h"}, {c.name, "--help"}, {c.name, "x", "y", "-help"}} {
				if status, same, _ := printed(t, args...); status != 0 || same != help {
					t.Errorf("%v: exit status %d: %s", args, status, same)
				}
			}
			for line := range strings.Lines(list + help) {
				line = strings.TrimSuffix(line, "\n")
				if utf8.RuneCountInString(line) > helpWidth || strings.TrimRight(line, " ") != line {
					t.Errorf("too long, or it ends with a space: %q", line)
				}
			}
			for _, f := range c.all() {
				if row := flagRow(f); f.Usage == "" || !strings.Contains(help, "\n  "+row[0]) {
					t.Errorf("the flag -%s lacks help", f.Name)
				}
				if _, text := flag.UnquoteUsage(f); !isBool(f) && !strings.Contains(f.Usage, "`") && text == f.Usage {
					if _, ok := f.Value.(*choice); !ok {
						t.Errorf("the value of the flag -%s has no name", f.Name)
					}
				}
			}
		})
	}
}

// The help of a command that logs in names the variables that the code reads, and no others.
func TestHelpNamesTheVariables(t *testing.T) {
	source := func(pattern string) (text string) {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no source at %s (%v)", pattern, err)
		}
		for _, path := range paths {
			if data, err := os.ReadFile(path); err != nil {
				t.Fatal(err)
			} else if !strings.HasSuffix(path, "_test.go") {
				text += string(data)
			}
		}
		return text
	}
	read := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?:Getenv|LookupEnv)\("(SALESFORCE_\w+)"\)`).FindAllStringSubmatch(source("*.go")+source("../../../authenticator/*.go"), -1) {
		read[m[1]] = true
	}
	list := regexp.MustCompile(`(?s)envVariables = \[\]string\{(.*?)\}`).FindStringSubmatch(source("../../../authenticator/env.go"))
	if list == nil {
		t.Fatal("env.go has no list of variables")
	}
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list[1], -1) {
		read["SALESFORCE_"+m[1]] = true
	}
	for _, c := range commands() {
		named := make(map[string]bool)
		for _, name := range regexp.MustCompile(`SALESFORCE_\w+`).FindAllString(c.help(), -1) {
			named[strings.TrimSuffix(name, "_FILE")] = true
		}
		want := read
		if c.name == "login" { // it reads some of them by itself
			want = make(map[string]bool)
			for _, m := range regexp.MustCompile(`&[\w.]+, "(SALESFORCE_\w+)"`).FindAllStringSubmatch(source("login.go"), -1) {
				want[m[1]] = true
			}
		}
		if len(named) > 0 && !maps.Equal(named, want) {
			t.Errorf("sfstream help %s names %v, the code reads %v", c.name, slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(want)))
		}
	}
	if !strings.Contains(accountHelp, "SALESFORCE_LOGIN_URL") {
		t.Error("the help of the account names no variables")
	}
}

// A mistake on the command line is one line on standard error.
func TestMistakesAreOneLine(t *testing.T) {
	for _, test := range []struct {
		want string
		args []string
	}{
		{`sfstream tail: flag provided but not defined: -x; "sfstream help tail" tells the flags`, []string{"tail", "-x"}},
		{`sfstream tail: flag provided but not defined: -x; "sfstream help tail" tells the flags`, []string{"tail", "/event/X__e", "-x", "-h"}},
		{`sfstream tail: invalid value "x" for flag -store-ack: it is none of auto, receive; "sfstream help tail" tells the flags`, []string{"tail", "-store-ack", "x"}},
		{`sfstream tail: invalid value "ten" for flag -count: want a whole number; "sfstream help tail" tells the flags`, []string{"tail", "-count", "ten"}},
		{`sfstream tail: invalid boolean value "x: parse error" for -v: want true or false; "sfstream help tail" tells the flags`, []string{"tail", "-v=x: parse error"}},
		{`sfstream testorg: invalid value "1e999" for flag -rate: want a number; "sfstream help testorg" tells the flags`, []string{"testorg", "-rate=1e999"}},
		{`sfstream tail: flag needs an argument: -from; "sfstream help tail" tells the flags`, []string{"tail", "/event/X__e", "-from"}},
		{`sfstream tail: no channel given; usage: sfstream tail [flags] CHANNEL…`, []string{"tail", "-v"}},
		{`sfstream gen: channel "-x" has no schema: want /event/Name__e or /data/NameChangeEvent`, []string{"gen", "/event/X__e", "--", "-x"}},
		{`sfstream completion: "ksh" is none of bash, zsh, fish; usage: sfstream completion bash|zsh|fish`, []string{"completion", "ksh"}},
		{`sfstream testorg: unexpected argument "x"; usage: sfstream testorg [flags]`, []string{"testorg", "x"}},
		{`sfstream: no command "tial": did you mean "tail"? "sfstream help" lists the commands`, []string{"tial", "-x"}},
		{`sfstream: no command "testor": did you mean "testorg"? "sfstream help" lists the commands`, []string{"help", "testor"}},
		{`sfstream: no command "follow"; "sfstream help" lists the commands`, []string{"follow"}},
		{`sfstream: no command ""; "sfstream help" lists the commands`, []string{""}},
	} {
		if status, stdout, stderr := printed(t, test.args...); status != 2 || stdout != "" || stderr != test.want+"\n" {
			t.Errorf("%v: exit status %d; stdout %q; stderr %q, want %q", test.args, status, stdout, stderr, test.want)
		}
	}
}

// Flags and arguments come in any order.
func TestParse(t *testing.T) {
	for _, test := range []struct{ line, others, values string }{
		{"a b", "a b", "false 0 "},
		{"-v a -n 1 b -s x", "a b", "true 1 x"},
		{"a --v=false b --n=2 -s -v", "a b", "false 2 -v"},
		{"-s -- a -v", "a", "true 0 --"},
		{"-v -- -n 1 --", "-n 1 --", "true 0 "},
		{"- a -n -1 -", "- a -", "false -1 "},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.Bool("v", false, "")
		flags.Int("n", 0, "")
		s := flags.String("s", "", "")
		others, err := parse(flags, strings.Fields(test.line))
		values := strings.Join([]string{flags.Lookup("v").Value.String(), flags.Lookup("n").Value.String(), *s}, " ")
		if err != nil || strings.Join(others, " ") != test.others || values != test.values {
			t.Errorf("%s: got %q with %q, %v", test.line, others, values, err)
		}
	}
}

// The examples in help are command lines without a mistake, as far as that can be told before they
// run.
func TestTheExamplesInHelpAreRight(t *testing.T) {
	indented := regexp.MustCompile(`(?m)^  .*`)
	example := regexp.MustCompile(`\bsfstream (\w+)((?: [^|>&;"()\s]+)*)`)
	found := 0
	for _, c := range commands() {
		lines := strings.Join(indented.FindAllString(c.long, -1), "\n")
		for _, m := range example.FindAllStringSubmatch(lines, -1) {
			of, err := find(m[1])
			if err != nil {
				t.Errorf("%s: %v", m[0], err)
				continue
			}
			args, err := parse(of.flags(of.new()), strings.Fields(m[2]))
			if err == nil {
				err = of.count(args)
			}
			if err != nil {
				t.Errorf("%s: %v", m[0], err)
			}
			found++
		}
	}
	if found < 10 {
		t.Errorf("%d examples", found)
	}
}

func TestTheReadmeNamesEachCommand(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		row := "| `" + strings.TrimSpace(c.name+" "+strings.ReplaceAll(c.args, "|", `\|`)) + "` |"
		if !strings.Contains(string(readme), row) {
			t.Errorf("there is no row %s", row)
		}
	}
}
