package interop

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// TestJSForceWritesRecords has jsforce change records and publish events by REST, and ours receive
// what became of them.
func TestJSForceWritesRecords(t *testing.T) {
	t.Parallel()
	org := sfstreamtest.NewServer(t)
	check(t, org.DefineObject("Account"))
	check(t, org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"}, {"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
		{"name": "N__c", "type": ["null", "double"], "doc": "Data:Double", "default": null},
		{"name": "At__c", "type": ["null", "long"], "doc": "Data:DateTime", "default": null}]}`))
	account := org.Account()
	js := startClient(t, []string{"CONSUMER_KEY=" + account.ConsumerKey, "CONSUMER_SECRET=" + account.ConsumerSecret},
		"jsforce_records.js", org.LoginURL(), account.Username, account.Password+account.SecurityToken)
	answer := func(name, want string) any {
		t.Helper()
		got, ok := js.next()[name]
		text, err := json.Marshal(got)
		check(t, err)
		if !ok || string(text) != want && want != "" {
			t.Errorf("%s: got %s, want %s", name, text, want)
		}
		return got
	}
	id := func(answer any) string { return answer.(map[string]any)["id"].(string) }
	done := func(id string) string { return fmt.Sprintf(`{"errors":[],"id":%q,"success":true}`, id) }

	one := id(answer("create", ""))
	many := answer("createMany", "").([]any)
	two, three := id(many[0]), id(many[2])
	if errs := many[1].(map[string]any)["errors"].([]any); errs[0].(map[string]any)["statusCode"] != "REQUIRED_FIELD_MISSING" {
		t.Errorf("createMany: %v", many)
	}
	answer("update", done(one))
	answer("updateMany", "["+done(one)+","+done(two)+"]")
	if upserted := answer("upsert", "").(map[string]any); upserted["created"] != true {
		t.Errorf("upsert: %v", upserted)
	}
	if upserted := answer("upsertAgain", "").(map[string]any); upserted["created"] != false {
		t.Errorf("upsertAgain: %v", upserted)
	}
	if rec := answer("retrieve", "").(map[string]any); rec["Description"] != "changed" || rec["BillingCity"] != nil || rec["Rating"] != "Hot" || rec["NumberOfEmployees"] != 7.0 {
		t.Errorf("retrieve: %v", rec)
	}
	answer("destroy", done(one))
	answer("destroyMany", "["+done(two)+","+done(three)+"]")
	answer("gone", `{"errorCode":"ENTITY_IS_DELETED","message":"entity is deleted"}`)
	answer("column", `{"errorCode":"INVALID_FIELD","message":"No such column 'Nonsense' on sobject of type Account"}`)
	uuid := func(result any) string {
		t.Helper()
		errs := result.(map[string]any)["errors"].([]any)[0].(map[string]any)
		return fmt.Sprint(errs["statusCode"], " ", errs["message"])
	}
	var published []string
	published = append(published, uuid(answer("publish", "")))
	for _, result := range answer("publishMany", "").([]any) {
		if text := uuid(result); result.(map[string]any)["success"] == true {
			published = append(published, text)
		}
	}

	// What ours receives of all that, over the other API.
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	check(t, err)
	defer client.Close()
	check(t, client.Open(t.Context()))
	check(t, client.Subscribe(t.Context(), "/data/AccountChangeEvent"))
	var changes []string
	for len(changes) < 8 {
		msg, err := client.Receive(t.Context())
		check(t, err)
		change, err := msg.Change()
		check(t, err)
		if change.OriginClient() != "jsforceApp" || change.CommitUser != account.UserID {
			t.Errorf("%+v", change)
		}
		changes = append(changes, fmt.Sprintf("%s %d %s", change.Type, len(change.RecordIDs), change.ChangedFields))
	}
	want := []string{
		"CREATE 1 []", "CREATE 2 []", "UPDATE 1 [Description LastModifiedDate BillingAddress.City]", "UPDATE 2 [Rating LastModifiedDate]",
		"CREATE 1 []", "UPDATE 1 [Name LastModifiedDate]", "DELETE 1 []", "DELETE 2 []",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("changes:\n%q, want\n%q", changes, want)
	}
	check(t, client.Subscribe(t.Context(), "/event/Order__e"))
	for n, text := range published {
		msg, err := client.Receive(t.Context())
		check(t, err)
		fields, err := msg.Fields()
		check(t, err)
		if fields["N__c"] != float64(n+1) || text != "OPERATION_ENQUEUED "+msg.ID {
			t.Errorf("%v %s, want %d %s", fields, msg.ID, n+1, text)
		}
		if at := fields["At__c"]; n == 0 && fmt.Sprint(at) != "2026-01-02T03:04:05.678Z" {
			t.Errorf("At__c is %v", at)
		}
	}
	if len(published) != 3 {
		t.Errorf("%v", published)
	}
}
