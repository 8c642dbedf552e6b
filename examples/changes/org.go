package main

import (
	"errors"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	accounts = "/data/AccountChangeEvent"
	orders   = "/event/Order__e"
)

// startOrg starts a simulated org in this process.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	return org, errors.Join(
		org.DefineObject("Account",
			sfstreamtest.Field{Name: "Name", Type: "Text"},
			sfstreamtest.Field{Name: "BillingAddress", Type: "Address"},
			sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"},
			sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"},
			sfstreamtest.Field{Name: "Regions__c", Type: "MultiEnum"},
			sfstreamtest.Field{Name: "Contract_End__c", Type: "DateOnly"}),
		org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
			{"name": "Number__c", "type": ["null", "string"], "doc": "Data:Text:00N000000000001", "default": null},
			{"name": "Amount__c", "type": ["null", "double"], "doc": "Data:Double:00N000000000002", "default": null}]}`),
	)
}

// publish changes an account and publishes an order. It returns how many events that makes.
func publish(org *sfstreamtest.Server) (count int, err error) {
	record := []string{"001000000000042AAA"}
	for _, change := range []sfstreamtest.Change{
		{Type: "CREATE", Set: map[string]any{
			"Name": "Acme", "BillingAddress": map[string]any{"Street": "1 Quai Perrache", "City": "Lyon"},
			"Regions__c": "Europe;Asia", "Contract_End__c": time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}},
		{Type: "UPDATE", Set: map[string]any{"BillingAddress": map[string]any{"City": "Graz"}}, Null: []string{"Contract_End__c"}},
	} {
		change.Object, change.RecordIDs = "Account", record
		if _, err := org.Change(change); err != nil {
			return 0, err
		}
		count++
	}
	_, err = org.Publish(orders, map[string]any{"CreatedDate": time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), "Number__c": "A-1", "Amount__c": 12.5})
	return count + 1, err
}
