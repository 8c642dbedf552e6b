package sfstream_test

import (
	"errors"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The test of the README, to the letter.
func TestOrders(t *testing.T) {
	org := sfstreamtest.NewServer(t)
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`); err != nil {
		t.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Open(t.Context()), client.Subscribe(t.Context(), "/event/Order__e")); err != nil {
		t.Fatal(err)
	}
	org.Publish("/event/Order__e", map[string]any{"Number__c": "A-1"})
	org.DropConnections() // the client reconnects and loses nothing
	org.Publish("/event/Order__e", map[string]any{"Number__c": "A-2"})
	for _, want := range []string{"A-1", "A-2"} {
		msg, err := client.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fields, err := msg.Fields(); err != nil || fields["Number__c"] != want {
			t.Errorf("got %v, %v, want %s", fields, err, want)
		}
	}
}
