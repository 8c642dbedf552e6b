package sfstreamtest

import (
	"fmt"
	"strings"

	"github.com/hamba/avro/v2"
)

// standardObjects are objects that an org has without being told, with their fields in the order of
// the schema. An org that is new has custom fields on Account, as an example.
var standardObjects = map[string][]Field{
	"Account": {
		{Name: "Name", Type: "Switchable_PersonName"}, {Name: "Type", Type: "DynamicEnum"},
		{Name: "ParentId", Type: "EntityId"}, {Name: "BillingAddress", Type: "Address"},
		{Name: "ShippingAddress", Type: "Address"}, {Name: "Phone", Type: "Phone"},
		{Name: "Fax", Type: "Fax"}, {Name: "AccountNumber", Type: "Text"},
		{Name: "Website", Type: "Url"}, {Name: "Sic", Type: "Text"},
		{Name: "Industry", Type: "DynamicEnum"}, {Name: "AnnualRevenue", Type: "Currency"},
		{Name: "NumberOfEmployees", Type: "Integer"}, {Name: "Ownership", Type: "DynamicEnum"},
		{Name: "TickerSymbol", Type: "Content"}, {Name: "Description", Type: "StringPlusClob"},
		{Name: "Rating", Type: "DynamicEnum"}, {Name: "Site", Type: "Text"},
		{Name: "OwnerId", Type: "EntityId"}, {Name: "CreatedDate", Type: "DateTime"},
		{Name: "CreatedById", Type: "EntityId"}, {Name: "LastModifiedDate", Type: "DateTime"},
		{Name: "LastModifiedById", Type: "EntityId"}, {Name: "Active__c", Type: "Boolean"},
		{Name: "Contract_Start__c", Type: "DateOnly"}, {Name: "Site_Location__c", Type: "Location"},
	},
	"Case": { // it has no Name: CaseNumber is what it is called
		{Name: "CaseNumber", Type: "Text"}, {Name: "ContactId", Type: "EntityId"},
		{Name: "AccountId", Type: "EntityId"}, {Name: "ParentId", Type: "EntityId"},
		{Name: "SuppliedEmail", Type: "Email"}, {Name: "Type", Type: "DynamicEnum"},
		{Name: "Status", Type: "DynamicEnum"}, {Name: "Reason", Type: "DynamicEnum"},
		{Name: "Origin", Type: "DynamicEnum"}, {Name: "Subject", Type: "Text"},
		{Name: "Priority", Type: "DynamicEnum"}, {Name: "Description", Type: "StringPlusClob"},
		{Name: "IsClosed", Type: "Boolean"}, {Name: "ClosedDate", Type: "DateTime"},
		{Name: "IsEscalated", Type: "Boolean"}, {Name: "OwnerId", Type: "EntityId"},
		{Name: "CreatedDate", Type: "DateTime"}, {Name: "CreatedById", Type: "EntityId"},
		{Name: "LastModifiedDate", Type: "DateTime"}, {Name: "LastModifiedById", Type: "EntityId"},
	},
	"Contact": {
		{Name: "AccountId", Type: "EntityId"}, {Name: "Name", Type: "PersonName"},
		{Name: "OtherAddress", Type: "Address"}, {Name: "MailingAddress", Type: "Address"},
		{Name: "Phone", Type: "Phone"}, {Name: "Fax", Type: "Fax"},
		{Name: "MobilePhone", Type: "Phone"}, {Name: "ReportsToId", Type: "EntityId"},
		{Name: "Email", Type: "Email"}, {Name: "Title", Type: "Text"},
		{Name: "Department", Type: "Text"}, {Name: "LeadSource", Type: "DynamicEnum"},
		{Name: "Birthdate", Type: "Birthday"}, {Name: "Description", Type: "StringPlusClob"},
		{Name: "OwnerId", Type: "EntityId"}, {Name: "CreatedDate", Type: "DateTime"},
		{Name: "CreatedById", Type: "EntityId"}, {Name: "LastModifiedDate", Type: "DateTime"},
		{Name: "LastModifiedById", Type: "EntityId"},
	},
	"Opportunity": {
		{Name: "AccountId", Type: "EntityId"}, {Name: "IsPrivate", Type: "Boolean"},
		{Name: "Name", Type: "Text"}, {Name: "Description", Type: "StringPlusClob"},
		{Name: "StageName", Type: "DynamicEnum"}, {Name: "Amount", Type: "Currency"},
		{Name: "Probability", Type: "Percent"}, {Name: "ExpectedRevenue", Type: "Currency"},
		{Name: "TotalOpportunityQuantity", Type: "Double"}, {Name: "CloseDate", Type: "DateOnly"},
		{Name: "Type", Type: "DynamicEnum"}, {Name: "NextStep", Type: "Text"},
		{Name: "LeadSource", Type: "DynamicEnum"}, {Name: "IsClosed", Type: "Boolean"},
		{Name: "IsWon", Type: "Boolean"}, {Name: "ForecastCategory", Type: "StaticEnum"},
		{Name: "ForecastCategoryName", Type: "DynamicEnum"}, {Name: "CampaignId", Type: "EntityId"},
		{Name: "HasOpportunityLineItem", Type: "Boolean"}, {Name: "Pricebook2Id", Type: "EntityId"},
		{Name: "OwnerId", Type: "EntityId"}, {Name: "CreatedDate", Type: "DateTime"},
		{Name: "CreatedById", Type: "EntityId"}, {Name: "LastModifiedDate", Type: "DateTime"},
		{Name: "LastModifiedById", Type: "EntityId"}, {Name: "LastStageChangeDate", Type: "DateTime"},
		{Name: "ContactId", Type: "EntityId"}, {Name: "ContractId", Type: "EntityId"},
		{Name: "LastAmountChangedHistoryId", Type: "EntityId"},
		{Name: "LastCloseDateChangedHistoryId", Type: "EntityId"},
	},
}

// standardObject returns the name and the fields of a standard object by its name in any case.
func standardObject(name string) (object string, fields *avro.RecordSchema, ok bool) {
	for object, fields := range standardObjects {
		if !strings.EqualFold(object, name) {
			continue
		}
		text, err := objectSchema(object, fields)
		if err != nil {
			return "", nil, false
		}
		sc, err := parseSchema(text)
		if err != nil {
			return "", nil, false
		}
		return object, sc.avro, true
	}
	return "", nil, false
}

// stages are the stages of an opportunity in a new org, with the probability of each in percent.
var stages = map[string]float64{
	"Prospecting": 10, "Qualification": 10, "Needs Analysis": 20, "Value Proposition": 50, "Id. Decision Makers": 60,
	"Perception Analysis": 70, "Proposal/Price Quote": 75, "Negotiation/Review": 90, "Closed Won": 100, "Closed Lost": 0,
}

// nameField returns the field that an object's records are called by.
func nameField(object string) string {
	if object == "Case" {
		return "CaseNumber"
	}
	return "Name"
}

// derive adds to the changes of a case or an opportunity what Salesforce changes with them. rec is
// what it was before; nil: it is created.
func (tx *transaction) derive(o *sobject, set, rec map[string]any) {
	if o.name == "Case" && rec == nil && o.captures("CaseNumber") {
		set["CaseNumber"] = fmt.Sprintf("%08d", 1000+tx.server.records.count("Case"))
	}
	if o.name != "Opportunity" {
		return
	}
	add := func(name string, v any) {
		if _, given := set[name]; !given && o.captures(name) && !same(v, rec[name]) {
			set[name] = v
		}
	}
	stage, moved := set["StageName"].(string)
	if probability, known := stages[stage]; known {
		add("Probability", probability)
	}
	if rec == nil {
		return
	}
	if moved {
		add("LastStageChangeDate", tx.at)
	}
	for _, name := range []string{"Amount", "CloseDate"} {
		if _, changed := set[name]; changed {
			add("Last"+name+"ChangedHistoryId", tx.server.records.newID("OpportunityHistory", tx.server.journal.restored()))
		}
	}
}
