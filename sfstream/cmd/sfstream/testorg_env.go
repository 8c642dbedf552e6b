package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tell writes what programs need to connect: a line of JSON, or with -env lines for a shell.
func (f *testorgFlags) tell(w io.Writer, line orgLine) error {
	if !f.env {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // people read it too
		return enc.Encode(line)
	}
	var b strings.Builder
	for _, v := range f.variables(line) {
		if v[1] != "" {
			fmt.Fprintf(&b, "export %s=%s\n", v[0], quoted(v[1]))
		}
	}
	// One write, so that a file that is not empty has all of them.
	_, err := io.WriteString(w, b.String())
	return err
}

// variables returns the environment of programs that log in to the org.
func (f *testorgFlags) variables(line orgLine) [][2]string {
	// Which flow of those that are not off: several are complete.
	flow := "client_credentials"
	off := list(f.off)
	for _, next := range [][2]string{{"client-credentials", "jwt_bearer"}, {"jwt-bearer", "password"}, {"password", "soap"}} {
		if !slices.Contains(off, next[0]) {
			break
		}
		flow = next[1]
	}
	return [][2]string{
		{"SALESFORCE_LOGIN_URL", line.LoginURL},
		{"SALESFORCE_PUBSUB_ENDPOINT", line.PubSub},
		{"SALESFORCE_LOGIN_FLOW", flow},
		{"SALESFORCE_CONSUMER_KEY", line.ConsumerKey},
		{"SALESFORCE_CONSUMER_SECRET", line.ConsumerSecret},
		{"SALESFORCE_USERNAME", line.Username},
		{"SALESFORCE_PASSWORD", line.Password},
		{"SALESFORCE_PRIVATE_KEY_FILE", line.PrivateKeyFile},
		{"TESTORG_CONTROL_URL", line.ControlURL},
		{"TESTORG_CA_FILE", line.CAFile},
		{"NODE_EXTRA_CA_CERTS", line.CAFile},
		{"TESTORG_PID", strconv.Itoa(os.Getpid())},
	}
}
