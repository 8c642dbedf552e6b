package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orderEvent = `{"type": "record", "name": "Order__e", "namespace": "com.sforce.eventbus", "fields": [
	{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
	{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
	{"name": "Number__c", "type": ["null", "string"], "doc": "Data:Text", "default": null},
	{"name": "Amount__c", "type": ["null", "double"], "doc": "Data:Double", "default": null}]}`

// demo publishes account and opportunity changes and orders.
type demo struct {
	org    *sfstreamtest.Server
	random *rand.Rand
}

// newDemo returns a demo, which publishes the same each time if there is a seed.
func newDemo(org *sfstreamtest.Server, seed *uint64) demo {
	if seed == nil {
		return demo{org, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	}
	return demo{org, rand.New(rand.NewPCG(*seed, 0))}
}

// define makes the channels.
func (d demo) define() error {
	return errors.Join(
		d.org.DefineObject("Account",
			sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
			sfstreamtest.Field{Name: "Industry", Type: "DynamicEnum"}, sfstreamtest.Field{Name: "AnnualRevenue", Type: "Currency"},
			sfstreamtest.Field{Name: "BillingAddress", Type: "Address"}, sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"}),
		d.org.DefineObject("Opportunity",
			sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "StageName", Type: "DynamicEnum"},
			sfstreamtest.Field{Name: "Amount", Type: "Currency"}, sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"}),
		d.org.DefineEvent("/event/Order__e", orderEvent))
}

// publish publishes until ctx ends. The channels are those of whoever controls the org, who may
// give them other fields or remove them: then the demo says so, once, and goes on with the others.
func (d demo) publish(ctx context.Context, rate float64, stderr io.Writer) {
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	told := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			channel, err := d.publishOne()
			if err != nil && !told[channel] {
				told[channel] = true
				fmt.Fprintf(stderr, "sfstream: -demo cannot publish on %s any more: %s\n", channel, harmless(strings.TrimPrefix(err.Error(), "sfstreamtest: ")))
			}
		}
	}
}

func (d demo) pick(from ...string) string { return from[d.random.IntN(len(from))] }

func (d demo) publishOne() (channel string, err error) {
	record := d.random.IntN(40)
	city := d.pick("Lyon", "Porto", "Graz", "Turku", "Ghent")
	switch d.random.IntN(5) {
	case 0, 1:
		sets := []map[string]any{
			{"Phone": fmt.Sprintf("+33 4 %08d", d.random.IntN(1e8))},
			{"BillingAddress": map[string]any{"City": city}},
			{"AnnualRevenue": float64(d.random.IntN(900)+100) * 1000, "Industry": d.pick("Retail", "Energy", "Banking")},
		}
		channel = "/data/AccountChangeEvent"
		_, err = d.org.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{fmt.Sprintf("001%012dAAA", record)}, Set: sets[d.random.IntN(len(sets))],
		})
	case 2:
		channel = "/data/AccountChangeEvent"
		_, err = d.org.Change(sfstreamtest.Change{
			Object: "Account", Type: "CREATE", RecordIDs: []string{fmt.Sprintf("001%012dAAA", record)},
			Set: map[string]any{"Name": d.pick("Acme", "Byron & Sons", "Nordlicht") + " " + city, "Industry": "Retail"},
		})
	case 3:
		channel = "/data/OpportunityChangeEvent"
		_, err = d.org.Change(sfstreamtest.Change{
			Object: "Opportunity", Type: "UPDATE", RecordIDs: []string{fmt.Sprintf("006%012dAAA", record)},
			Set: map[string]any{"StageName": d.pick("Prospecting", "Negotiation", "Closed Won"), "Amount": float64(d.random.IntN(500)) * 100},
		})
	default:
		channel = "/event/Order__e"
		_, err = d.org.Publish(channel, map[string]any{
			"Number__c": fmt.Sprintf("A-%05d", d.random.IntN(1e5)), "Amount__c": float64(d.random.IntN(9000)) / 10,
		})
	}
	return channel, err
}
