package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	accounts = "/data/AccountChangeEvent"
	orders   = "/event/Order__e"
)

// startOrg starts a simulated org in this process, which publishes until ctx ends. It keeps its
// events in a file, so that the next run finds them, as it would in Salesforce.
func startOrg(ctx context.Context, log string) (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start(sfstreamtest.WithLog(log))
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		org.DefineObject("Account",
			sfstreamtest.Field{Name: "Name", Type: "Text"},
			sfstreamtest.Field{Name: "Phone", Type: "Phone"},
			sfstreamtest.Field{Name: "BillingAddress", Type: "Address"},
			sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"}),
		org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string"},
			{"name": "Number__c", "type": ["null", "string"], "default": null},
			{"name": "Amount__c", "type": ["null", "double"], "default": null}]}`),
	)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { org.Close() })
	go publish(ctx, org) // it ends with ctx, or with the program
	return org, nil
}

// publish changes a record or publishes an event every half second.
func publish(ctx context.Context, org *sfstreamtest.Server) {
	cities := []string{"Lyon", "Porto", "Graz", "Turku"}
	for tick := time.Tick(500 * time.Millisecond); ; {
		n := time.Now().UnixMilli() / 500
		record := []string{fmt.Sprintf("001%012dAAA", n%40)}
		var err error
		switch n % 3 {
		case 0:
			_, err = org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: record,
				Set: map[string]any{"BillingAddress": map[string]any{"City": cities[n%4]}}})
		case 1:
			_, err = org.Change(sfstreamtest.Change{Object: "Account", Type: "CREATE", RecordIDs: record,
				Set: map[string]any{"Name": "Acme " + cities[n%4], "Phone": fmt.Sprintf("+33 4 %08d", n%1e8)}})
		default:
			_, err = org.Publish(orders, map[string]any{"Number__c": fmt.Sprintf("A-%05d", n%1e5), "Amount__c": float64(n%900) / 10})
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Print("quickstart: publishing: ", err)
			}
			return
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}
