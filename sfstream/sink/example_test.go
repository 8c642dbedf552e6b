package sink_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// printer is a sink that prints. A real one returns nil when its queue has acked all records.
type printer struct {
	subject sink.Template
	done    context.CancelFunc
}

func (p printer) Send(_ context.Context, records []sink.Record) error {
	for i := range records {
		fmt.Println(p.subject.Expand(&records[i]), records[i].Type, records[i].Key)
	}
	p.done()
	return nil
}

func ExampleForward() {
	org, err := sfstreamtest.Start() // in place of a real org
	if err != nil {
		log.Fatal(err)
	}
	defer org.Close()
	if err := org.DefineObject("Lead", sfstreamtest.Field{Name: "Company", Type: "Text"}); err != nil {
		log.Fatal(err)
	}
	if _, err := org.Change(sfstreamtest.Change{
		Object: "Lead", Type: "UPDATE", RecordIDs: []string{"00Q000000000001AAA"}, Set: map[string]any{"Company": "Acme"},
	}); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org),
		sfstream.WithAck(sfstream.AckManual), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		log.Fatal(err)
	}
	if err := client.Subscribe(ctx, "/data/LeadChangeEvent"); err != nil {
		log.Fatal(err)
	}
	subject, err := sink.ParseTemplate("salesforce.{entity}.{change}")
	if err != nil {
		log.Fatal(err)
	}
	if err := sink.Forward(ctx, client, printer{subject, cancel}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// salesforce.lead.updated com.salesforce.data.lead.updated 00Q000000000001AAA
}
