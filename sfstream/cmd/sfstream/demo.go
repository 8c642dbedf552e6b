package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orderEvent = `{"type": "record", "name": "Order__e", "namespace": "com.sforce.eventbus", "fields": [
	{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
	{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
	{"name": "Number__c", "type": ["null", "string"], "doc": "Data:Text", "default": null},
	{"name": "Amount__c", "type": ["null", "double"], "doc": "Data:Double", "default": null}]}`

// publishDemo publishes account and opportunity changes and orders until ctx ends.
func publishDemo(ctx context.Context, org *sfstreamtest.Server, rate float64) error {
	for _, define := range []func() error{
		func() error {
			return org.DefineObject("Account",
				sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
				sfstreamtest.Field{Name: "Industry", Type: "DynamicEnum"}, sfstreamtest.Field{Name: "AnnualRevenue", Type: "Currency"},
				sfstreamtest.Field{Name: "BillingAddress", Type: "Address"}, sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"})
		},
		func() error {
			return org.DefineObject("Opportunity",
				sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "StageName", Type: "DynamicEnum"},
				sfstreamtest.Field{Name: "Amount", Type: "Currency"}, sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"})
		},
		func() error { return org.DefineEvent("/event/Order__e", orderEvent) },
	} {
		if err := define(); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := publishOne(org); err != nil {
				return err
			}
		}
	}
}

func pick[T any](from ...T) T { return from[rand.IntN(len(from))] }

func publishOne(org *sfstreamtest.Server) error {
	var err error
	record := rand.IntN(40)
	city := pick("Lyon", "Porto", "Graz", "Turku", "Ghent")
	switch rand.IntN(5) {
	case 0, 1:
		_, err = org.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{fmt.Sprintf("001%012dAAA", record)},
			Set: pick(
				map[string]any{"Phone": fmt.Sprintf("+33 4 %08d", rand.IntN(1e8))},
				map[string]any{"BillingAddress": map[string]any{"City": city}},
				map[string]any{"AnnualRevenue": float64(rand.IntN(900)+100) * 1000, "Industry": pick("Retail", "Energy", "Banking")},
			),
		})
	case 2:
		_, err = org.Change(sfstreamtest.Change{
			Object: "Account", Type: "CREATE", RecordIDs: []string{fmt.Sprintf("001%012dAAA", record)},
			Set: map[string]any{"Name": pick("Acme", "Byron & Sons", "Nordlicht") + " " + city, "Industry": "Retail"},
		})
	case 3:
		_, err = org.Change(sfstreamtest.Change{
			Object: "Opportunity", Type: "UPDATE", RecordIDs: []string{fmt.Sprintf("006%012dAAA", record)},
			Set: map[string]any{"StageName": pick("Prospecting", "Negotiation", "Closed Won"), "Amount": float64(rand.IntN(500)) * 100},
		})
	default:
		_, err = org.Publish("/event/Order__e", map[string]any{
			"Number__c": fmt.Sprintf("A-%05d", rand.IntN(1e5)), "Amount__c": float64(rand.IntN(9000)) / 10,
		})
	}
	return err
}
