package main

import (
	"errors"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	opportunities = "/data/OpportunityChangeEvent"
	confirmations = "/event/NewOrderConfirmation__e"
)

// startOrg starts a simulated org in this process, with what a real one needs for the two programs:
// Change Data Capture of opportunities, a field on them for the date, and the platform event.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	return org, errors.Join(
		org.DefineObject("Opportunity",
			sfstreamtest.Field{Name: "Name", Type: "Text"},
			sfstreamtest.Field{Name: "StageName", Type: "DynamicEnum"},
			sfstreamtest.Field{Name: "Amount", Type: "Currency"},
			sfstreamtest.Field{Name: "CloseDate", Type: "DateOnly"},
			sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"},
			sfstreamtest.Field{Name: "EstimatedDeliveryDate__c", Type: "DateOnly"}),
		org.DefineEvent(confirmations, `{"type": "record", "name": "NewOrderConfirmation__e", "namespace": "com.sforce.eventbus", "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
			{"name": "OpptyRecordId__c", "type": ["null", "string"], "doc": "Data:Text:00N000000000011", "default": null},
			{"name": "EstimatedDeliveryDate__c", "type": ["null", "long"], "doc": "Data:DateTime:00N000000000012", "default": null}]}`),
	)
}

// environment returns the variables that lead a program to the org.
func environment(org *sfstreamtest.Server) []string {
	account := org.Account()
	return []string{
		"SALESFORCE_LOGIN_URL=" + org.LoginURL(),
		"SALESFORCE_PUBSUB_ENDPOINT=" + org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY=" + account.ConsumerKey,
		"SALESFORCE_CONSUMER_SECRET=" + account.ConsumerSecret,
	}
}
