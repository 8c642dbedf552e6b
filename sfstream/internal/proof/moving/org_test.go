package moving

import (
	"fmt"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The channels of the org that programs move to.
const (
	orders = "/event/Order__e"
	topic  = "/topic/Accounts"
	news   = "/u/News"
	change = "/data/AccountChangeEvent"
)

func newOrg(t *testing.T) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t, sfstreamtest.InMemory())
	lab.Must(t, org.DefineEvent(orders, lab.Schema("Order__e", `{"name":"Number__c","type":["null","string"],"default":null}`)))
	lab.Must(t, org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
	lab.Must(t, org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accounts", Query: "SELECT Id, Name FROM Account"}))
	lab.Must(t, org.DefineGenericChannel(news))
	return org
}

// open opens a client that ends with the test.
func open(t *testing.T, org *sfstreamtest.Server, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	client, err := sfstream.New(org.Authenticator(), append(opts, sfstream.WithOrg(org))...)
	lab.Must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	lab.Must(t, client.Open(t.Context()))
	return client
}

// publish publishes orders with these numbers.
func publish(t *testing.T, org *sfstreamtest.Server, numbers ...int) (ids [][]byte) {
	t.Helper()
	for _, n := range numbers {
		event, err := org.Publish(orders, map[string]any{"Number__c": fmt.Sprint("A-", n)})
		lab.Must(t, err)
		ids = append(ids, event.ReplayID)
	}
	return ids
}

// next receives orders and returns the number of the last one of n.
func next(t *testing.T, client *sfstream.Client, n int) (number any) {
	t.Helper()
	for range n {
		msg, err := client.Receive(t.Context())
		lab.Must(t, err)
		fields, err := msg.Fields()
		lab.Must(t, err)
		number = fields["Number__c"]
	}
	return number
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
