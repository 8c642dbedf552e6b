package moving

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// dispatcher is a queue that keeps the names under which events would be dispatched.
type dispatcher struct {
	subject sink.Template
	names   []string
	full    context.CancelFunc // called at the third
}

func (d *dispatcher) Send(_ context.Context, records []sink.Record) error {
	for i := range records {
		if d.names = append(d.names, d.subject.Expand(&records[i])); len(d.names) == 3 {
			d.full()
		}
	}
	return nil
}

// A proxy from notifications to a queue has its names, whichever API the changes come over.
func TestAnEventProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		lab.Must(t, org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Account", Query: "SELECT Id, Name FROM Account"}))
		client := open(t, org, sfstream.WithAck(sfstream.AckManual), sfstream.WithReplay(sfstream.ReplayAll))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		lab.Must(t, client.Subscribe(ctx, "/topic/Account"))
		lab.Must(t, client.Subscribe(ctx, change))
		_, err := org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"}, Set: map[string]any{"Name": "Acme"}})
		lab.Must(t, err)
		_, err = org.PublishTopic("Account", "updated", map[string]any{"Id": "001000000000001AAA", "Name": "Acme"})
		lab.Must(t, err)
		subject, err := sink.ParseTemplate("salesforce_{entity}_{change}")
		lab.Must(t, err)
		queue := &dispatcher{subject: subject, full: cancel}
		lab.Must(t, sink.Forward(ctx, client, queue))
		expect(t, "names", queue.names, []string{"salesforce_account_updated", "salesforce_account_updated", "salesforce_account_updated"})
	})
}
