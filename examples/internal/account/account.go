// Package account finds the Salesforce org that an example runs with.
package account

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// An Account is what [sfstream.New] needs to reach an org.
type Account struct {
	Auth    authenticator.Authenticator
	Options []sfstream.Option
	Org     *sfstreamtest.Server // the org in this process; nil: it is one of Salesforce's
}

// Find returns the account of the environment, whose variables [authenticator.FromEnv] lists. If
// none of them is set it returns the account of an org in this process, which start starts. It
// prints which of them it is.
func Find(start func() (*sfstreamtest.Server, error)) (*Account, error) {
	if !slices.ContainsFunc(os.Environ(), isAccount) {
		fmt.Println("No Salesforce account in the environment: starting an org in this process.")
		org, err := start()
		if err != nil {
			return nil, err
		}
		return &Account{Auth: org.Authenticator(), Options: []sfstream.Option{sfstream.WithOrg(org)}, Org: org}, nil
	}
	auth, loginURL, err := authenticator.FromEnv()
	if err != nil {
		return nil, err
	}
	fmt.Println("Logging in at", loginURL)
	options := []sfstream.Option{sfstream.WithLoginURL(loginURL)}
	if endpoint := os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"); endpoint != "" {
		options = append(options, sfstream.WithPubSubEndpoint(endpoint))
	}
	return &Account{Auth: auth, Options: options}, nil
}

// Parse parses the flags of a program and returns its arguments, of which there are at most so many.
// -h prints how the program is called, and whose org it runs with.
func Parse(call string, most int) []string {
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s\n\n"+
			"The org is that of the SALESFORCE_… variables, which \"sfstream help tail\" lists.\n"+
			"Where none is set, it is a simulated one in this process.\n\n", call)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > most {
		fmt.Fprintf(flag.CommandLine.Output(), "too many arguments, or a flag behind one: %q\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	return flag.Args()
}

// isAccount reports whether a variable is a part of an account. FromEnv decides which of them
// belong together.
func isAccount(variable string) bool {
	name, value, _ := strings.Cut(variable, "=")
	return strings.HasPrefix(name, "SALESFORCE_") && value != ""
}

// MayWrite returns an error unless the org is in this process or its user agrees to what an example
// does in it.
func (a *Account) MayWrite(agreed bool, what string) error {
	if a.Org == nil && !agreed {
		return fmt.Errorf("this example %s, in the org of your account: say -write to let it", what)
	}
	return nil
}

// Close ends the org in this process, if there is one.
func (a *Account) Close() error {
	if a.Org == nil {
		return nil
	}
	return a.Org.Close()
}
