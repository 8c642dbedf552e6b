package sfstreamtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	channelPath = "/tooling/sobjects/PlatformEventChannel"
	memberPath  = "/tooling/sobjects/PlatformEventChannelMember"
)

// madeTooling creates a record of the Tooling API and returns its path.
func (r *rig) madeTooling(path, body string) string {
	r.tb.Helper()
	reply := r.want(http.StatusCreated, "POST", path, body).(object)
	for _, name := range []string{"errors", "warnings", "infos"} {
		if list, ok := reply[name].([]any); !ok || len(list) > 0 {
			r.tb.Errorf("%s: %v", name, reply)
		}
	}
	return path + "/" + reply["id"].(string)
}

func channelBody(name, kind, label string) string {
	return fmt.Sprintf(`{"FullName":%q,"Metadata":{"channelType":%q,"label":%q}}`, name, kind, label)
}

// memberBody returns the body that adds an event to a channel. more are further members of Metadata.
func memberBody(name, channel, event, more string) string {
	return fmt.Sprintf(`{"FullName":%q,"Metadata":{"eventChannel":%q,"selectedEntity":%q%s}}`, name, channel, event, more)
}

func TestACustomChannelOfRESTCarriesEventsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		r.madeTooling(channelPath, channelBody("Sales__chn", "data", "Sales"))
		member := r.madeTooling(memberPath, memberBody("Sales_chn_AccountChangeEvent", "Sales__chn", "AccountChangeEvent",
			`,"enrichedFields":[{"name":"Phone"}],"filterExpression":"Industry = 'Energy'"`))
		b := r.shaken()
		b.follow("/data/Sales__chn", -1)
		got := func(want int, contains string) {
			t.Helper()
			_, _ = r.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"}, Set: map[string]any{"Rating": "Hot"}})
			events, _ := b.connect()
			if len(events) != want || want > 0 && !containsText(events[0].Data, contains) {
				t.Errorf("%d events, want %d with %s: %+v", len(events), want, contains, events)
			}
		}
		r.SetRecord("Account", "001000000000001AAA", map[string]any{"Name": "Acme", "Industry": "Energy", "Phone": "110"})
		got(1, `"Phone":"110"`)
		r.SetRecord("Account", "001000000000001AAA", map[string]any{"Industry": "Water"})
		got(0, "")
		r.want(http.StatusNoContent, "PATCH", member, `{"Metadata":{"filterExpression":"Industry = 'Water'"}}`)
		got(1, `"Industry":"Water"`)
		r.want(http.StatusNoContent, "PATCH", member, memberBody("Sales_chn_AccountChangeEvent", "Sales__chn", "AccountChangeEvent", ""))
		got(1, `"Rating":"Hot"`)
		r.want(http.StatusNoContent, "DELETE", member, "")
		got(0, "")
		r.want(http.StatusNotFound, "DELETE", member, "")
	}, sfstreamtest.WithHold(1))
}

func TestTheRecordsOfACustomChannel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		check(t, r.DefineChannel("/data/Old__chn", "/data/AccountChangeEvent"))
		path := r.madeTooling(channelPath+"/", channelBody("Orders__chn", "event", "All orders"))
		member := r.madeTooling(memberPath, memberBody("Orders_chn_Order_Event_e", "Orders__chn", "Order_Event__e", `,"filterExpression":"Amount__c > 10"`))

		got := r.want(http.StatusOK, "GET", path, "").(object)
		meta := got["Metadata"].(object)
		if got["FullName"] != "Orders__chn" || got["DeveloperName"] != "Orders" || got["ChannelType"] != "event" || got["MasterLabel"] != "All orders" ||
			meta["channelType"] != "event" || meta["label"] != "All orders" || !strings.HasPrefix(got["Id"].(string), "0YL") {
			t.Errorf("%v", got)
		}
		if of, _ := got["attributes"].(object); of["url"] != "/services/data/v60.0"+path[:len(channelPath)]+path[len(channelPath)+1:] {
			t.Errorf("%v", of)
		}
		rows := r.rowsOf("/tooling/query", "SELECT Id, DeveloperName, ChannelType FROM PlatformEventChannel ORDER BY DeveloperName")
		if len(rows) != 2 || rows[0].(object)["DeveloperName"] != "Old" || rows[0].(object)["ChannelType"] != "data" {
			t.Errorf("%v", rows)
		}
		// A member of a custom channel names it by its id.
		rows = r.rowsOf("/tooling/query", "SELECT Id, DeveloperName, EventChannel, SelectedEntity FROM PlatformEventChannelMember WHERE EventChannel = '"+got["Id"].(string)+"'")
		if len(rows) != 1 || rows[0].(object)["SelectedEntity"] != "Order_Event__e" || !strings.HasSuffix(member, rows[0].(object)["Id"].(string)) {
			t.Errorf("%v", rows)
		}
		rows = r.rowsOf("/tooling/query", "SELECT FullName, Metadata FROM PlatformEventChannelMember WHERE EventChannel = 'ChangeEvents'")
		if len(rows) != 1 || rows[0].(object)["FullName"] != "ChangeEvents_AccountChangeEvent" {
			t.Errorf("%v", rows)
		}
		of := r.want(http.StatusOK, "GET", member[:len(memberPath)+1+15], "").(object)["Metadata"].(object)
		if of["eventChannel"] != "Orders__chn" || of["selectedEntity"] != "Order_Event__e" || of["filterExpression"] != "Amount__c > 10" || len(of["enrichedFields"].([]any)) != 0 {
			t.Errorf("%v", of)
		}
		for _, fields := range []string{"Metadata", "FullName"} {
			r.refused("Bad Request, MALFORMED_QUERY: When retrieving results with Metadata or FullName fields, the query qualifications must specify no more than one row for retrieval. Result size: 3",
				"GET", "/tooling/query?"+url.Values{"q": {"SELECT Id, " + fields + " FROM PlatformEventChannelMember"}}.Encode(), "")
		}
		r.want(http.StatusNoContent, "PATCH", path, `{"Metadata":{"label":"Orders"}}`)
		if got := r.want(http.StatusOK, "GET", path, "").(object); got["MasterLabel"] != "Orders" {
			t.Errorf("%v", got)
		}
		r.want(http.StatusOK, "GET", channelPath+"/describe", "")
		// The members go with their channel.
		r.want(http.StatusNoContent, "DELETE", path, "")
		r.want(http.StatusNotFound, "GET", path, "")
		r.want(http.StatusNotFound, "GET", member, "")
		if again := r.madeTooling(channelPath, channelBody("Orders__chn", "event", "Orders")); again == path {
			t.Error("a new channel has the id of the deleted one")
		}
		if rows := r.rowsOf("/tooling/query", "SELECT Id FROM PlatformEventChannelMember"); len(rows) != 2 {
			t.Errorf("a new channel has old members: %v", rows)
		}
	})
}

func TestTheToolingAPIRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		r.madeTooling(channelPath, channelBody("Sales__chn", "data", "Sales"))
		r.madeTooling(channelPath, channelBody("Orders__chn", "event", strings.Repeat("ü", 80)))
		r.madeTooling(memberPath, memberBody("Sales_chn_AccountChangeEvent", "Sales__chn", "AccountChangeEvent", ""))
		member := func(more string) string {
			return memberBody("Sales_AccountChangeEvent", "Sales__chn", "AccountChangeEvent", more)
		}
		for _, test := range []struct{ want, path, body string }{
			{"DUPLICATE_DEVELOPER_NAME: ", channelPath, channelBody("sales__chn", "event", "Sales")},
			{"FIELD_INTEGRITY_EXCEPTION: The name", channelPath, channelBody("Sales", "data", "Sales")},
			{"FIELD_INTEGRITY_EXCEPTION: The name", channelPath, channelBody("Sales__EMEA__chn", "data", "Sales")},
			{"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST: ", channelPath, channelBody("More__chn", "topic", "More")},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [label] [label]", channelPath, `{"FullName":"More__chn","Metadata":{"channelType":"data"}}`},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [FullName, Metadata]", channelPath, `{}`},
			{"STRING_TOO_LONG: Label: data value too large", channelPath, channelBody("More__chn", "data", strings.Repeat("x", 81))},
			{"INVALID_FIELD: No such column 'Label' on sobject of type PlatformEventChannel", channelPath, `{"FullName":"More__chn","Label":"More"}`},
			{"JSON_PARSER_ERROR: ", channelPath, `{"FullName":7}`},
			{"DUPLICATE_DEVELOPER_NAME: ", memberPath, memberBody("Sales_chn_AccountChangeEvent", "ChangeEvents", "AccountChangeEvent", "")},
			{"DUPLICATE_VALUE: ", memberPath, member("")},
			{"FIELD_INTEGRITY_EXCEPTION: Cannot create a new component with the namespace: Sales", memberPath, memberBody("Sales__chn_AccountChangeEvent", "Sales__chn", "AccountChangeEvent", "")},
			{"FIELD_INTEGRITY_EXCEPTION: Unable to find the specified channel", memberPath, memberBody("X", "data/ChangeEvents", "AccountChangeEvent", "")},
			{"FIELD_INTEGRITY_EXCEPTION: invalid event in selectedEntity", memberPath, memberBody("X", "Sales__chn", "Account", "")},
			{"FIELD_INTEGRITY_EXCEPTION: invalid event in selectedEntity", memberPath, memberBody("X", "Sales__chn", "Nothing__ChangeEvent", "")},
			{"FIELD_INTEGRITY_EXCEPTION: invalid event in selectedEntity", memberPath, memberBody("X", "Orders__chn", "AccountChangeEvent", "")},
			{"FIELD_INTEGRITY_EXCEPTION: invalid event in selectedEntity", memberPath, memberBody("X", "Sales__chn", "Order_Event__e", "")},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: The selected field, Owner.Name, isn't valid", memberPath, member(`,"enrichedFields":[{"name":"Owner.Name"}]`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: the filter expression has syntax errors", memberPath, member(`,"filterExpression":"WHERE Industry = 'X'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: Nope__c: field is invalid", memberPath, member(`,"filterExpression":"Nope__c = 'X'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: BillingCity: field is invalid", memberPath, member(`,"filterExpression":"BillingCity = 'X'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: BillingAddress: field has to be used with a component", memberPath, member(`,"filterExpression":"BillingAddress = 'X'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: ChangeEventHeader.recordIds: field is invalid", memberPath, member(`,"filterExpression":"ChangeEventHeader.recordIds = 'X'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: CreatedDate: Only equality operators", memberPath, member(`,"filterExpression":"CreatedDate > 2026-01-01T00:00:00Z"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: Industry: 5 is no value of type picklist", memberPath, member(`,"filterExpression":"Industry IN ('a', 5)"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /data/AccountChangeEvent of /data/Sales__chn: filter: AnnualRevenue: '5' is no value of type currency", memberPath, member(`,"filterExpression":"AnnualRevenue > '5'"`)},
			{"FIELD_INTEGRITY_EXCEPTION: member /event/Order_Event__e of /event/Orders__chn: only change events can be enriched", memberPath, memberBody("X", "Orders__chn", "Order_Event__e", `,"enrichedFields":[{"name":"Amount__c"}]`)},
		} {
			r.refused("Bad Request, "+test.want, "POST", test.path, test.body)
		}
		sales := channelPath + "/" + r.rowsOf("/tooling/query", "SELECT Id FROM PlatformEventChannel WHERE DeveloperName = 'Sales'")[0].(object)["Id"].(string)
		r.refused("Bad Request, FIELD_INTEGRITY_EXCEPTION: You can't change the channel type", "PATCH", sales, `{"Metadata":{"channelType":"event","label":"Sales"}}`)
		r.refused("Bad Request, INVALID_FIELD_FOR_INSERT_UPDATE: ", "PATCH", sales, `{"FullName":"More__chn"}`)
		r.refused("Bad Request, MALFORMED_ID: PlatformEventChannel ID: id value of incorrect type: Sales__chn", "GET", channelPath+"/Sales__chn", "")
		r.refused("Not Found, NOT_FOUND: ", "GET", channelPath+"/0YL000000000999", "")
		r.refused("Not Found, NOT_FOUND: ", "POST", "/tooling/sobjects/Nothing", "{}")
		r.refused("Bad Request, INVALID_TYPE: ", "GET", "/tooling/query?q=SELECT+Id+FROM+Nothing", "")
		r.FailRecords("PlatformEventChannel", 1, "UNABLE_TO_LOCK_ROW")
		r.refused("Bad Request, UNABLE_TO_LOCK_ROW: ", "DELETE", sales, "")
		r.want(http.StatusNoContent, "DELETE", sales, "")
	})
}

// Salesforce begins to capture the changes of an object when a member selects it, on that channel
// alone.
func TestAMemberSelectsItsObject(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.madeTooling(channelPath, channelBody("People__chn", "data", "People"))
		r.refused("Bad Request, FIELD_INTEGRITY_EXCEPTION: ", "POST", memberPath,
			memberBody("People_chn_ContactChangeEvent", "People__chn", "ContactChangeEvent", `,"filterExpression":"Nope = 1"`))
		r.want(http.StatusNotFound, "GET", "/sobjects/ContactChangeEvent/describe", "")
		r.madeTooling(memberPath, memberBody("People_chn_ContactChangeEvent", "People__chn", "ContactChangeEvent", `,"enrichedFields":[{"name":"MailingCity"}]`))
		r.want(http.StatusCreated, "POST", "/sobjects/Contact", `{"LastName":"Doe"}`)
		for channel, want := range map[string]int{"/data/People__chn": 1, "/data/ContactChangeEvent": 1, "/data/ChangeEvents": 0} {
			if got := len(r.Retained(channel)); got != want {
				t.Errorf("%s has %d events, want %d", channel, got, want)
			}
		}
		r.madeTooling(memberPath, memberBody("ChangeEvents_ContactChangeEvent", "ChangeEvents", "ContactChangeEvent", ""))
		r.want(http.StatusCreated, "POST", "/sobjects/Contact", `{"LastName":"Roe"}`)
		if got := len(r.Retained("/data/ChangeEvents")); got != 1 {
			t.Errorf("/data/ChangeEvents has %d events", got)
		}
		for _, name := range []string{"A__c", "B__c", "C__c", "D__c"} {
			check(t, r.DefineObject(name, sfstreamtest.Field{Name: "Name", Type: "Text"}))
		}
		r.refused("Bad Request, LIMIT_EXCEEDED: ", "POST", memberPath, memberBody("ChangeEvents_CaseChangeEvent", "ChangeEvents", "CaseChangeEvent", ""))
	})
}

func TestTwoThatCreateOneChannel(t *testing.T) {
	newRig(t).madeOnce(channelPath, channelBody("Sales__chn", "data", "Sales"))
}

func TestAtMostAHundredCustomChannelsOfAType(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for i := range 100 {
			check(t, r.DefineChannel(fmt.Sprintf("/event/C%d__chn", i)))
		}
		r.refused("Bad Request, LIMIT_EXCEEDED: ", "POST", channelPath, channelBody("More__chn", "event", "More"))
		r.madeTooling(channelPath, channelBody("More__chn", "data", "More"))
	})
}

func TestCustomChannelsAreInTheLog(t *testing.T) {
	log := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "log"))
	look := func(r *rig) string {
		return fmt.Sprint(r.rowsOf("/tooling/query", "SELECT Id, DeveloperName, MasterLabel FROM PlatformEventChannel"),
			r.rowsOf("/tooling/query", "SELECT Id, DeveloperName, EventChannel, SelectedEntity, FilterExpression FROM PlatformEventChannelMember"))
	}
	before := ""
	t.Run("before", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			gone := r.madeTooling(channelPath, channelBody("People__chn", "data", "Old"))
			r.madeTooling(memberPath, memberBody("People_Case", "People__chn", "CaseChangeEvent", ""))
			r.want(http.StatusNoContent, "DELETE", gone, "")
			r.madeTooling(channelPath, channelBody("People__chn", "data", "All people"))
			r.madeTooling(memberPath, memberBody("People_Contact", "People__chn", "ContactChangeEvent", `,"filterExpression":"Title = 'Boss'"`))
			other := r.madeTooling(memberPath, memberBody("People_Account", "People__chn", "AccountChangeEvent", ""))
			r.want(http.StatusNoContent, "DELETE", other, "")
			before = look(r)
		}, log)
	})
	t.Run("after", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			if after := look(r); after != before || !strings.Contains(after, "All people") {
				t.Errorf("%s\nand was %s", after, before)
			}
		}, log)
	})
}
