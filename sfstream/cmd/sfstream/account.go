package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// accountFlags are the flags of all commands that log in.
type accountFlags struct {
	sandbox  bool
	loginURL string
	name     string

	refreshes sync.WaitGroup // of a saved login, see finishing
}

func (f *accountFlags) register(flags *flag.FlagSet) {
	flags.BoolVar(&f.sandbox, "sandbox", false, "log in at test.salesforce.com")
	flags.Var(filled(&f.loginURL), "login-url", "log in at this `URL`, such as the org's My Domain URL, and not where SALESFORCE_LOGIN_URL says")
	flags.Var(filled(&f.name), "account", "use this `login`, which \"sfstream login\" has saved, and not the variables")
}

// check finds the mistakes in the flags, before any login. Its errors name the command.
func (f *accountFlags) check(command string) error {
	mistake := func(text string) error { return usageError{"sfstream " + command + ": " + text} }
	switch {
	case f.sandbox && f.loginURL != "":
		return mistake("-sandbox and -login-url exclude each other")
	case f.name != "" && (f.sandbox || f.loginURL != ""):
		return mistake("the login that -account names has an URL of its own: leave out -sandbox and -login-url")
	case f.sandbox && elsewhere():
		// A login at the wrong one of two hosts sends the secrets there: nobody is to guess.
		return mistake("-sandbox contradicts SALESFORCE_LOGIN_URL: unset that, or give the sandbox's own URL by -login-url")
	case f.loginURL != "":
		// New does no I/O. Only the address matters to it.
		if _, err := sfstream.New(authenticator.Static{}, sfstream.WithLoginURL(f.loginURL)); err != nil {
			return mistake("-login-url must be an https URL without user and query, as in https://acme.my.salesforce.com (http is for this machine only)")
		}
	}
	return nil
}

// text is a flag whose value must not be empty, as that of -replay "$FILE" is where FILE is not
// set.
type text struct{ value *string }

// filled returns a flag that sets value. Without the flag value is empty.
func filled(value *string) text { return text{value} }

func (t text) String() string {
	if t.value == nil { // the flag package calls it of a zero text
		return ""
	}
	return *t.value
}

func (t text) Set(value string) error {
	if strings.TrimSpace(value) == "" {
		return errors.New("it is empty")
	}
	*t.value = value
	return nil
}

// elsewhere reports whether a variable says to log in at another place than test.salesforce.com.
// SALESFORCE_SANDBOX does not count: a flag comes before a variable of the same meaning.
func elsewhere() bool {
	const variable = "SALESFORCE_LOGIN_URL"
	url := strings.TrimRight(os.Getenv(variable), "/")
	return url != "" && url != authenticator.SandboxURL || os.Getenv(variable+"_FILE") != ""
}

// account is how to log in, where, and where the Pub/Sub API is.
type account struct {
	auth     authenticator.Authenticator
	loginURL string
	endpoint string // in the form of [sfstream.WithPubSubEndpoint]; never empty
}

// account returns the account that flags and variables name. It reads variables and files, and does
// not log in.
func (f *accountFlags) account() (a account, err error) {
	a.endpoint = cmp.Or(os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"), sfstream.EndpointGlobal)
	if f.name != "" {
		a.auth, a.loginURL, err = authenticator.Saved(f.name)
		a.auth = finishing{a.auth, &f.refreshes}
		return a, err
	}
	saved := len(salesforceVariables()) == 0
	if (f.sandbox || f.loginURL != "") && saved {
		// A saved login, which FromEnv would take, has an URL of its own.
		return a, usageError{"sfstream: -sandbox and -login-url say where the variables log in, but no variable SALESFORCE_… is set: set them, or name a saved login by -account"}
	}
	a.auth, a.loginURL, err = authenticator.FromEnv()
	if saved {
		a.auth = finishing{a.auth, &f.refreshes}
	}
	switch {
	case f.loginURL != "":
		a.loginURL = f.loginURL
	case f.sandbox:
		a.loginURL = authenticator.SandboxURL
	}
	return a, err
}

// finish waits for the refreshes that have begun and whose callers have left. It is what a command
// does last, and takes a few seconds at most.
func (f *accountFlags) finish() { f.refreshes.Wait() }

// finishing is the Authenticator of a saved login in a program that Ctrl-C may end at any time. If the
// program were gone before the answer to a refresh is saved, a rotated refresh token would be lost,
// and a person would have to log in again.
type finishing struct {
	authenticator.Authenticator
	refreshes *sync.WaitGroup
}

func (l finishing) Authenticate(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
	l.refreshes.Add(1)
	defer l.refreshes.Done()
	return l.Authenticator.Authenticate(ctx, login)
}

// options are those of a client that logs in to the account.
func (a account) options() []sfstream.Option {
	return []sfstream.Option{sfstream.WithLoginURL(a.loginURL), sfstream.WithPubSubEndpoint(a.endpoint)}
}

// pubsub returns the address of the Pub/Sub API as grpc.NewClient takes it, for calls beside those
// of a client. The client has checked the endpoint.
func (a account) pubsub() (target string, security credentials.TransportCredentials) {
	target, plaintext := strings.CutPrefix(strings.TrimSuffix(a.endpoint, "/"), "http://")
	if plaintext {
		return target, insecure.NewCredentials()
	}
	target, isURL := strings.CutPrefix(target, "https://")
	if isURL && !strings.Contains(target, ":") {
		target += ":443"
	}
	return target, credentials.NewTLS(nil)
}
