// Package exampletest runs an example in its test, as a process of its own: the test binary is also
// the program.
package exampletest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// isProgram is the variable that makes the test binary the program.
const isProgram = "SFSTREAM_EXAMPLE_IS_PROGRAM"

// Main is what TestMain calls.
func Main(m *testing.M, main func()) {
	if os.Getenv(isProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A Program is a run of the example.
type Program struct {
	Args []string
	Env  []string // beside that of the test, in which there is no Salesforce account

	// Interrupt is a text after which Ctrl-C is pressed: when a line that has it was printed. Empty:
	// the program ends by itself.
	Interrupt string
}

// limit is far beyond the 30 seconds within which an example has to end, for slow machines.
const limit = 2 * time.Minute

var errTooLong = fmt.Errorf("it has not ended after %v", limit)

// Run returns what the program prints, standard error too. The test fails unless the program ends
// well.
func (p Program) Run(t *testing.T) string {
	t.Helper()
	out, err := p.run(t)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}

// Fail returns what the program prints. The test fails unless the program does.
func (p Program) Fail(t *testing.T) string {
	t.Helper()
	out, err := p.run(t)
	if err == nil || errors.Is(err, errTooLong) {
		t.Fatalf("it has not failed: %v: %s", err, out)
	}
	return out
}

func (p Program) run(t *testing.T) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errTooLong)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, p.Args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALESFORCE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(append(cmd.Env, isProgram+"=1", "GORACE=atexit_sleep_ms=0"), p.Env...)
	r, w := io.Pipe()
	defer r.Close() // nothing waits for a reader any more
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go func() { // ends with the process, whose end is read below
		if err := cmd.Wait(); err != nil {
			w.CloseWithError(errors.Join(err, context.Cause(ctx)))
		}
		w.Close()
	}()
	var out bytes.Buffer
	interrupted := false
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		out.WriteString(line)
		if err == io.EOF && p.Interrupt != "" && !interrupted {
			return out.String(), fmt.Errorf("it ended before it printed %q", p.Interrupt)
		}
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
		if p.Interrupt != "" && !interrupted && strings.Contains(line, p.Interrupt) {
			interrupted = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				return out.String(), err
			}
		}
	}
}

// Account returns the variables of an account of org, by the client credentials flow.
func Account(org *sfstreamtest.Server) []string {
	account := org.Account()
	return []string{
		"SALESFORCE_LOGIN_URL=" + org.LoginURL(),
		"SALESFORCE_PUBSUB_ENDPOINT=" + org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY=" + account.ConsumerKey,
		"SALESFORCE_CONSUMER_SECRET=" + account.ConsumerSecret,
	}
}

// CtrlCBeforeTheLogin fails the test unless a program ends well on Ctrl-C while it waits for its login.
func CtrlCBeforeTheLogin(t *testing.T, args ...string) {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	Program{Args: args, Env: []string{
		"SALESFORCE_LOGIN_URL=http://" + silent.Addr().String(),
		"SALESFORCE_CONSUMER_KEY=key", "SALESFORCE_CONSUMER_SECRET=secret",
	}, Interrupt: "Logging in"}.Run(t)
}

// Records returns how many records of an org a query finds.
func Records(t *testing.T, org *sfstreamtest.Server, soql string) (count int) {
	t.Helper()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range client.Query(t.Context(), soql) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	return count
}
