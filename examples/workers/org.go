package main

import (
	"errors"
	"strconv"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// startOrg starts a simulated org in this process, with five orders of each of four customers. The
// second one of Ben has no amount.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	err = org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Customer__c", "type": ["null", "string"], "default": null},
		{"name": "Number__c", "type": ["null", "string"], "default": null},
		{"name": "Amount__c", "type": ["null", "double"], "default": null}]}`)
	for n := 1; n <= 5; n++ {
		for i, customer := range []string{"Ana", "Ben", "Cleo", "Dan"} {
			order := map[string]any{"Customer__c": customer, "Number__c": strconv.Itoa(n), "Amount__c": float64(10*n + i)}
			if customer == "Ben" && n == 2 {
				delete(order, "Amount__c")
			}
			_, published := org.Publish(orders, order)
			err = errors.Join(err, published)
		}
	}
	return org, err
}
