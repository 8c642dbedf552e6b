package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orders = "/event/Order__e"

// account returns the account of the environment, or of a simulated org that keeps its events in a
// file.
func account(events string) (options []sfstream.Option, auth authenticator.Authenticator, end func() error, err error) {
	if slices.ContainsFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "SALESFORCE_") }) {
		auth, loginURL, err := authenticator.FromEnv()
		options = []sfstream.Option{sfstream.WithLoginURL(loginURL)}
		if endpoint := os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"); endpoint != "" {
			options = append(options, sfstream.WithPubSubEndpoint(endpoint))
		}
		return options, auth, func() error { return nil }, err
	}
	fmt.Println("No Salesforce account in the environment: starting an org in this process.")
	org, err := sfstreamtest.Start(sfstreamtest.WithLog(events))
	if err != nil {
		return nil, nil, nil, err
	}
	err = org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`)
	for n := 0; n < 10 && err == nil; n++ { // ten more orders for each run
		_, err = org.Publish(orders, map[string]any{"Number__c": fmt.Sprintf("A-%d", n)})
	}
	return []sfstream.Option{sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll)}, org.Authenticator(), org.Close, err
}
