package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const leads = "/data/LeadChangeEvent"

// account is what the proxy needs to reach an org.
type account struct {
	auth    authenticator.Authenticator
	options []sfstream.Option
	close   func() error
}

// findAccount returns the account of the environment, or of an org in this process.
func findAccount(ctx context.Context) (*account, error) {
	if slices.ContainsFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "SALESFORCE_") }) {
		auth, loginURL, err := authenticator.FromEnv()
		a := &account{auth: auth, options: []sfstream.Option{sfstream.WithLoginURL(loginURL)}, close: func() error { return nil }}
		if endpoint := os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"); endpoint != "" {
			a.options = append(a.options, sfstream.WithPubSubEndpoint(endpoint))
		}
		return a, err
	}
	fmt.Println("No Salesforce account in the environment: starting an org in this process.")
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	err = org.DefineObject("Lead", sfstreamtest.Field{Name: "Company", Type: "Text"}, sfstreamtest.Field{Name: "Status", Type: "Text"})
	if err != nil {
		return nil, err
	}
	go work(ctx, org) // it ends with ctx
	return &account{org.Authenticator(), []sfstream.Option{sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll)}, org.Close}, nil
}

// work makes a lead after the other, and makes something of it.
func work(ctx context.Context, org *sfstreamtest.Server) {
	for n := 0; ; n++ {
		record := []string{fmt.Sprintf("00Q%012dAAA", n)}
		for _, change := range []sfstreamtest.Change{
			{Object: "Lead", Type: "CREATE", RecordIDs: record, Set: map[string]any{"Company": fmt.Sprintf("Acme %d", n), "Status": "New"}},
			{Object: "Lead", Type: "UPDATE", RecordIDs: record, Set: map[string]any{"Status": "Contacted"}},
			{Object: "Lead", Type: "UPDATE", RecordIDs: record, Set: map[string]any{"Status": "Qualified"}},
			{Object: "Lead", Type: "DELETE", RecordIDs: record},
		} {
			select {
			case <-ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
			if _, err := org.Change(change); err != nil {
				fmt.Fprintln(os.Stderr, "proxy: changing a record:", err)
				return
			}
		}
	}
}
