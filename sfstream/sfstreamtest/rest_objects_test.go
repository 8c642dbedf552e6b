package sfstreamtest_test

import (
	"net/http"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The list of objects has what the user may see: objects, platform events, and the change events of
// those objects whose changes are captured.
func TestObjects(t *testing.T) {
	r := newRig(t)
	contacts(t, r)
	check(t, r.DefineObject("Order__c", sfstreamtest.Field{Name: "Number__c", Type: "Text"}))
	check(t, r.DefineEvent("/event/Secret__e", `{"type": "record", "name": "Secret__e", "fields": []}`))
	r.Revoke("/event/Secret__e")
	check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Leads", Query: "SELECT Id FROM Lead"}))
	_, err := r.Change(sfstreamtest.Change{Object: "Lead", Type: "CREATE", RecordIDs: []string{"00Q000000000001AAA"}})
	check(t, err)
	var names []any
	for _, o := range r.want(http.StatusOK, "GET", "/sobjects/", "").(object)["sobjects"].([]any) {
		names = append(names, o.(object)["name"])
	}
	wantJSON(t, names, `["Account", "Case", "Contact", "ContactChangeEvent", "Lead", "Opportunity", "Order_Event__e", "Order__ChangeEvent", "Order__c", "Organization",
		"PushTopic", "RecordType", "StreamingChannel", "User"]`)
}
