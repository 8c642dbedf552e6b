package sinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	accounts = "/data/AccountChangeEvent"
	orders   = "/event/Order__e"
	records  = 300 // Accounts that change
)

// newOrg is an org in memory with numbered events: of five, four are changes of an Account, some of
// several, and one is an order.
func newOrg(t *testing.T, events int) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t, sfstreamtest.InMemory())
	must(t, org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	must(t, org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`))
	for n := range events {
		var err error
		if n%5 == 4 {
			_, err = org.Publish(orders, map[string]any{"Number__c": strconv.Itoa(n)})
		} else {
			_, err = org.Change(change(n))
		}
		must(t, err)
	}
	return org
}

// change is the event with a number; each 97th is of three records.
func change(n int) sfstreamtest.Change {
	ids := []string{recordID(n)}
	if n%97 == 0 {
		ids = append(ids, recordID(n+1), recordID(n+2))
	}
	return sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, Set: map[string]any{"NumberOfEmployees": n}}
}

func recordID(n int) string { return fmt.Sprintf("001%012dAAA", n%records+1) }

// number reads the number of an event in the envelope JSON.
func number(value []byte) (int, error) {
	var event struct {
		Data struct {
			Payload struct {
				NumberOfEmployees int
				Number            string `json:"Number__c"`
			}
		}
	}
	if err := json.Unmarshal(value, &event); err != nil {
		return 0, fmt.Errorf("value %q: %w", value, err)
	}
	if event.Data.Payload.Number != "" {
		return strconv.Atoi(event.Data.Payload.Number)
	}
	return event.Data.Payload.NumberOfEmployees, nil
}

// follow opens a client on all events of the org, from where the store says.
func follow(ctx context.Context, t *testing.T, org *sfstreamtest.Server, store replaystore.Store) *sfstream.Client {
	t.Helper()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplayStore(store),
		sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(1000))
	must(t, err)
	must(t, client.Open(ctx))
	must(t, client.Subscribe(ctx, accounts))
	must(t, client.Subscribe(ctx, orders))
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
