package main

import (
	"errors"
	"fmt"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orders = "/event/Order__e"

// startOrg starts a simulated org in this process and publishes some orders. The org keeps its
// events in a file, so that the next run finds them, as it would in Salesforce.
func startOrg(log string, count int) (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start(sfstreamtest.WithLog(log))
	if err != nil {
		return nil, err
	}
	err = org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`)
	before := len(org.Retained(orders))
	for n := range count {
		_, published := org.Publish(orders, map[string]any{"Number__c": fmt.Sprintf("A-%d", before+n+1)})
		err = errors.Join(err, published)
	}
	return org, err
}
