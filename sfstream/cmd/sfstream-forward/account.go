package main

import (
	"cmp"
	"os"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// account is how to log in, where, and where the Pub/Sub API is.
type account struct {
	auth               authenticator.Authenticator
	loginURL, endpoint string
}

// account reads the variables and files of [authenticator.FromEnv]. All clients share one login.
func (s *settings) account() (account, error) {
	auth, loginURL, err := authenticator.FromEnv()
	if err != nil {
		return account{}, mistaken("%v", err)
	}
	switch {
	case s.loginURL != "":
		loginURL = s.loginURL
	case s.sandbox:
		loginURL = authenticator.SandboxURL
	}
	return account{authenticator.NewCache(auth), loginURL, cmp.Or(os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"), sfstream.EndpointGlobal)}, nil
}
