package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newTerminal returns both ends of a terminal: what programs are given, and what a person sees.
func newTerminal(t *testing.T, columns uint16) (inside, outside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { outside.Close() })
	fd := int(outside.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	return inside, outside
}

// A person gets a line that fits, whatever is in the event; a program gets JSON.
func TestOnATerminalTailPrintsLines(t *testing.T) {
	org := orgOfChanges(t)
	env := []string{"SALESFORCE_LOGIN_URL=" + org.LoginURL(), "SALESFORCE_PUBSUB_ENDPOINT=" + org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY=" + org.Account().ConsumerKey, "SALESFORCE_CONSUMER_SECRET=" + org.Account().ConsumerSecret}
	const colour = "\x1b["
	for _, test := range []struct {
		name    string
		columns uint16
		env     []string
		args    []string
		want    string // a regular expression for the line of the contact
		colours bool
	}{
		{"colours", 120, []string{"TERM=xterm"}, nil, `Contact.*UPDATE.*Phone=.*"\+44\\x1b\[2J\\u009b2J\\u202e".*LastModifiedDate`, true},
		{"narrow", 60, []string{"TERM=xterm", "NO_COLOR=1"}, nil, `^\d\d-\d\d \d\d:\d\d:\d\d  Contact  UPDATE    001000000000002AAA  Phon…$`, false},
		{"dumb", 120, []string{"TERM=dumb"}, nil, `Contact  UPDATE    001000000000002AAA  Phone="\+44\\x1b\[2J\\u009b2J\\u202e" LastModifiedDate`, false},
		{"JSON is asked for", 120, []string{"TERM=xterm"}, []string{"-o", "json"}, `^{"channel":"/data/ContactChangeEvent".*\\u001b\[2J\\u009b2J`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inside, outside := newTerminal(t, test.columns)
			cmd := program(t, append(append([]string{"NO_COLOR="}, test.env...), env...), append(append([]string{"tail"}, test.args...), "-from", "all", "-count", "1", "/data/ContactChangeEvent")...)
			cmd.Stdout, cmd.Stderr = inside, inside
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			inside.Close()
			seen := bufio.NewScanner(outside)
			line := ""
			for seen.Scan() {
				if text := strings.TrimSuffix(seen.Text(), "\r"); strings.Contains(text, "Contact") && !strings.Contains(text, "subscribing") {
					line = text
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(test.want).MatchString(line) {
				t.Errorf("%q, want %s", line, test.want)
			}
			if strings.Contains(line, colour) != test.colours {
				t.Errorf("colours: %q", line)
			}
			bare := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(line, "")
			if strings.ContainsAny(bare, "\x1b\u009b\u202e") {
				t.Errorf("the event drives the terminal: %q", line)
			}
		})
	}
}
