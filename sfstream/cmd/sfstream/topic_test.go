package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTopicIsATable(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
		{"name": "Number__c", "type": "string", "doc": "Data:Text:00N000000000001"},
		{"name": "Due__c", "type": ["null", "long"], "doc": "Data:DateOnly:00N000000000003", "default": null},
		{"name": "Amount__c", "type": ["null", "double"], "doc": "Data:Double:00N000000000002", "default": null}]}`); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := printed(t, "topic", "/event/Order__e")
	id := strings.Fields(out)[3]
	want := `channel    /event/Order__e
schema     ` + id + `
subscribe  yes
publish    yes

FIELD        TYPE      IN JSON                   REQUIRED
CreatedDate  DateTime  2026-01-31T10:00:00.000Z  filled in
CreatedById  EntityId  text                      filled in
Number__c    Text      text                      yes
Due__c       DateOnly  2026-01-31
Amount__c    Double    number
`
	if status != 0 || stderr != "" || out != want {
		t.Errorf("exit status %d: %s\n%s\nwant\n%s", status, stderr, out, want)
	}

	status, out, stderr = printed(t, "topic", "/data/AccountChangeEvent")
	for _, line := range []string{"publish    no\n", "ChangeEventHeader.recordIds ", "\nBillingAddress.City ", "\nIndustry  "} {
		if status != 0 || !strings.Contains(out, line) || strings.Contains(out, "filled in") {
			t.Errorf("exit status %d, without %q: %s\n%s", status, line, stderr, out)
		}
	}

	// A channel of several kinds of events has no schema.
	status, out, stderr = printed(t, "topic", "/data/ChangeEvents")
	if status != 0 || !strings.Contains(out, "schema     none of its own") || strings.Contains(out, "FIELD") {
		t.Errorf("exit status %d: %s\n%s", status, stderr, out)
	}
}

func TestTopicAsJSON(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	org.RevokePublish("/event/Order__e")
	_, out, stderr := printed(t, "topic", "-json", "/event/Order__e")
	var got struct {
		Channel                  string
		CanSubscribe, CanPublish bool
		SchemaID                 string `json:"schemaId"`
		Schema                   struct{ Name string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: %s\n%s", err, out, stderr)
	}
	if got.Channel != "/event/Order__e" || !got.CanSubscribe || got.CanPublish || got.SchemaID == "" || got.Schema.Name != "Order__e" {
		t.Errorf("%+v", got)
	}
	_, out, _ = printed(t, "topic", "-json", "/data/ChangeEvents")
	if out != `{"channel":"/data/ChangeEvents","canSubscribe":true,"canPublish":false}`+"\n" {
		t.Error(out)
	}
}

func TestTopicFails(t *testing.T) {
	orgOfChanges(t)
	for _, test := range []struct {
		status int
		stderr string
		args   []string
	}{
		{2, "no channel given", nil},
		{2, `channel "/topic/Accounts" is not on the Pub/Sub API`, []string{"/topic/Accounts"}},
		{2, "sfstream doctor", []string{"/u/News"}},
		{2, "-sandbox", []string{"-sandbox", "/event/Order__e"}},
		{1, "/event/Nothing__e: NotFound", []string{"/event/Nothing__e"}},
	} {
		status, out, stderr := printed(t, append([]string{"topic"}, test.args...)...)
		if status != test.status || out != "" || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: exit status %d: %s\n%s", test.args, status, stderr, out)
		}
	}
}
