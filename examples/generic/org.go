package main

import (
	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const ben = "ben@sfstream.example"

// startOrg starts a simulated org in this process, with a second user.
func startOrg() (*sfstreamtest.Server, error) {
	return sfstreamtest.Start(sfstreamtest.WithUser(ben, "005000000000002AAA"))
}

// secondUser is the login of the second user.
func secondUser(org *sfstreamtest.Server) authenticator.Authenticator {
	account := org.Account()
	return authenticator.Password{
		ConsumerKey: account.ConsumerKey, ConsumerSecret: account.ConsumerSecret,
		Username: ben, Password: account.Password, SecurityToken: account.SecurityToken,
	}
}
