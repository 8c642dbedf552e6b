package pubsub

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubChanges is about what change events look like.
func pubsubChanges() []scenario {
	return []scenario{
		{name: "change_types", run: changeTypes},
		{name: "bitmaps", run: bitmaps},
		{name: "unchanged_or_nulled", run: unchangedOrNulled},
		{name: "commit_number_beyond_2_to_the_53", run: commitNumber},
		{name: "gaps_and_other_headers", run: gapsAndOtherHeaders},
		{name: "shapes_of_compounds", run: shapesOfCompounds},
	}
}

const aRecord = "001000000000001AAA"

// followChanges follows an org whose accounts have these fields.
func followChanges(t *testing.T, fields ...sfstreamtest.Field) *lab.Lab {
	t.Helper()
	l := lab.New(t)
	l.Must(l.DefineObject("Account", fields...))
	l.Start()
	l.Subscribe(lab.Accounts)
	return l
}

// commit publishes a change of accounts and receives it: its header and what else it has.
func commit(l *lab.Lab, c sfstreamtest.Change) (header, body map[string]any) {
	l.T.Helper()
	if c.Object = "Account"; c.RecordIDs == nil {
		c.RecordIDs = []string{aRecord}
	}
	_, err := l.Change(c)
	l.Must(err)
	return receiveChange(l)
}

// commitRaw is commit with a header that Salesforce itself would have to write.
func commitRaw(l *lab.Lab, header, body map[string]any) (map[string]any, map[string]any) {
	l.T.Helper()
	whole := map[string]any{
		"entityName": "Account", "recordIds": []string{aRecord}, "changeType": "UPDATE", "changeOrigin": "", "transactionKey": "",
		"sequenceNumber": 1, "commitTimestamp": lab.Date, "commitNumber": 1, "commitUser": l.Account().UserID,
		"nulledFields": []string{}, "diffFields": []string{}, "changedFields": []string{},
	}
	for name, value := range header {
		whole[name] = value
	}
	payload := map[string]any{"ChangeEventHeader": whole}
	for name, value := range body {
		payload[name] = value
	}
	_, err := l.Publish(lab.Accounts, payload)
	l.Must(err)
	return receiveChange(l)
}

func receiveChange(l *lab.Lab) (header, body map[string]any) {
	l.T.Helper()
	m := l.Receive()
	m.Ack()
	body, err := m.Fields()
	l.Must(err)
	header, _ = body["ChangeEventHeader"].(map[string]any)
	delete(body, "ChangeEventHeader")
	return header, body
}

// finishChanges uses the client once more, and ends it.
func finishChanges(l *lab.Lab) {
	l.T.Helper()
	_, _ = commitRaw(l, nil, nil)
	l.Must(l.Client.Err())
	if n := len(l.Subscribes(lab.Accounts)); n != 1 || l.Logins() != 1 {
		l.T.Errorf("%d Subscribe calls and %d logins", n, l.Logins())
	}
	closeStreams(l)
}

// expectSame fails the test unless a part of a change is what it should be.
func expectSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

// textList is an array of texts as a message has it.
func textList(texts ...string) []any {
	values := []any{}
	for _, text := range texts {
		values = append(values, text)
	}
	return values
}

// changeTypes: an enum that has got longer, and may do so again.
func changeTypes(t *testing.T) {
	l := followChanges(t, sfstreamtest.Field{Name: "Name", Type: "Text"})
	for _, kind := range []string{"CREATE", "UPDATE", "DELETE", "UNDELETE", "SNAPSHOT"} {
		header, body := commit(l, sfstreamtest.Change{Type: kind})
		expectSame(t, kind, header["changeType"], kind)
		expectSame(t, kind, body, map[string]any{})
	}
	finishChanges(l)

	// An org of a later release.
	for _, symbols := range [][]string{
		{"CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT", "MERGED"},
		{"MERGED", "UPDATE"},
	} {
		const merges = "/data/MergeChangeEvent"
		enum, err := json.Marshal(symbols)
		l.Must(err)
		l.Must(l.DefineEvent(merges, `{"type":"record","name":"MergeChangeEvent","fields":[{"name":"ChangeEventHeader","type":{
			"type":"record","name":"ChangeEventHeader","fields":[{"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":`+string(enum)+`}},
			{"name":"commitNumber","type":"long"}]}},{"name":"N__c","type":["null","double"],"default":null}]}`))
		l.Start()
		l.Subscribe(merges)
		for _, kind := range []string{"UPDATE", "MERGED"} {
			_, err = l.Publish(merges, map[string]any{"ChangeEventHeader": map[string]any{"changeType": kind, "commitNumber": 7}, "N__c": 1.5})
			l.Must(err)
			header, body := receiveChange(l)
			expectSame(t, kind, header, map[string]any{"changeType": kind, "commitNumber": int64(7)})
			expectSame(t, kind, body, map[string]any{"N__c": 1.5})
		}
		l.Stop()
	}
}

func bitmaps(t *testing.T) {
	var fields []sfstreamtest.Field
	for i := range 80 { // positions 1 to 80
		fields = append(fields, sfstreamtest.Field{Name: fmt.Sprintf("F%d__c", i+1), Type: "Text"})
	}
	fields = append(fields, sfstreamtest.Field{Name: "BillingAddress", Type: "Address"}) // 81
	l := followChanges(t, fields...)
	set := map[string]any{"F1__c": "a", "F63__c": "b", "F64__c": "c", "F65__c": "d", "F80__c": "e"}
	header, body := commit(l, sfstreamtest.Change{Type: "UPDATE", Set: set})
	expectSame(t, "more than 64 fields", header["changedFields"], textList("F1__c", "F63__c", "F64__c", "F65__c", "F80__c"))
	expectSame(t, "more than 64 fields", body, set)

	for _, test := range []struct {
		name    string
		bitmaps []string
		want    []any
	}{
		{"none", []string{}, textList()},
		{"of a compound only", []string{"81-0x06"}, textList("BillingAddress.City", "BillingAddress.State")},
		{"in lower case", []string{"0x0a", "81-0x0a"}, textList("F1__c", "F3__c", "BillingAddress.City", "BillingAddress.PostalCode")},
		{"in upper case", []string{"0x0A", "81-0x0A"}, textList("F1__c", "F3__c", "BillingAddress.City", "BillingAddress.PostalCode")},
		{"with an odd number of digits", []string{"0x2"}, textList("F1__c")},
		{"with bits beyond the schema", []string{"0xFF" + strings.Repeat("0", 24) + "02", "81-0xFF0001"}, textList("F1__c", "BillingAddress.Street")},
		{"of a parent that is no record", []string{"0x04", "1-0x01", "81-0x01"}, textList("F2__c", "BillingAddress.Street")},
		{"of a parent that is not there", []string{"0x04", "82-0x01", "-1-0x01", "999999999999-0x01"}, textList("F2__c")},
		{"that are none", []string{"", "0x", "x", "0xZZ", "81-", "-", "81-81-0x01", "0x04"}, textList("F2__c")},
	} {
		header, body := commitRaw(l, map[string]any{"changedFields": test.bitmaps, "diffFields": test.bitmaps}, nil)
		expectSame(t, "bitmaps "+test.name, header["changedFields"], test.want)
		expectSame(t, "bitmaps "+test.name, header["diffFields"], test.want)
		expectSame(t, "bitmaps "+test.name, body, map[string]any{})
	}
	finishChanges(l)
}

// unchangedOrNulled: null means unchanged, but for the nulled fields.
func unchangedOrNulled(t *testing.T) {
	l := followChanges(t, sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
		sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"}, sfstreamtest.Field{Name: "BillingAddress", Type: "Address"})
	header, body := commit(l, sfstreamtest.Change{
		Type: "UPDATE", Set: map[string]any{"Name": "Acme", "BillingAddress": map[string]any{"City": "Lyon"}},
		Null: []string{"Description", "BillingAddress.State"},
	})
	expectSame(t, "body", body, map[string]any{"Name": "Acme", "Description": nil, "BillingAddress": map[string]any{"City": "Lyon", "State": nil}})
	expectSame(t, "nulled", header["nulledFields"], textList("Description", "BillingAddress.State"))
	expectSame(t, "changed", header["changedFields"], textList("Name", "Description", "BillingAddress.City", "BillingAddress.State"))

	_, body = commit(l, sfstreamtest.Change{Type: "UPDATE", Null: []string{"BillingAddress.City"}})
	expectSame(t, "only in a compound", body, map[string]any{"BillingAddress": map[string]any{"City": nil}})
	_, body = commitRaw(l, map[string]any{"nulledFields": []string{"0x02"}}, map[string]any{"Name": "Acme"})
	expectSame(t, "nulled and set", body, map[string]any{"Name": "Acme"})

	// A struct tells the same: what is unchanged is left alone.
	type account struct{ Name, Phone, Description *string }
	name, phone, text := "old", "old", "old"
	kept := account{&name, &phone, &text}
	_, err := l.Change(sfstreamtest.Change{
		Object: "Account", RecordIDs: []string{aRecord}, Type: "UPDATE", Set: map[string]any{"Name": "new"}, Null: []string{"Description"},
	})
	l.Must(err)
	m := l.Receive()
	m.Ack()
	l.Must(m.Decode(&kept))
	if *kept.Name != "new" || kept.Phone != &phone || phone != "old" || kept.Description != nil {
		t.Errorf("%+v", kept)
	}
	finishChanges(l)
}

// commitNumber: a float64 would round it.
func commitNumber(t *testing.T) {
	for _, number := range []int64{1735689600123456789, 1709303151782928388, 1<<53 + 1, 1<<63 - 1} {
		l := followChanges(t, sfstreamtest.Field{Name: "Name", Type: "Text"})
		_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{aRecord}, CommitNumber: number})
		l.Must(err)
		m := l.Receive()
		m.Ack()
		fields, err := m.Fields()
		l.Must(err)
		expectSame(t, "in fields", fields["ChangeEventHeader"].(map[string]any)["commitNumber"], number)
		v, err := sfstream.Decode[struct {
			ChangeEventHeader struct {
				Number int64 `sf:"commitNumber"`
			}
		}](m)
		l.Must(err)
		expectSame(t, "in a struct", v.ChangeEventHeader.Number, number)
		text, err := json.Marshal(m)
		l.Must(err)
		lab.Contains(t, string(text), fmt.Sprintf(`"commitNumber":%d,`, number))
		finishChanges(l)
	}
}

// gapsAndOtherHeaders: changes without a body, of many records, of nobody knows which.
func gapsAndOtherHeaders(t *testing.T) {
	l := followChanges(t, sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"})
	three := []string{aRecord, "001000000000002AAA", "001000000000003AAA"}
	for _, test := range []struct {
		change sfstreamtest.Change
		ids    []any
		body   map[string]any
	}{
		{sfstreamtest.Change{Type: "GAP_UPDATE"}, textList(aRecord), nil},
		{sfstreamtest.Change{Type: "GAP_CREATE"}, textList(aRecord), nil},
		{sfstreamtest.Change{Type: "GAP_OVERFLOW", RecordIDs: []string{}}, textList("000000000000000AAA"), nil},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{"001*"}, Set: map[string]any{"Name": "x"}}, textList("001*"), map[string]any{"Name": "x"}},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: three, Set: map[string]any{"Name": "x"}}, textList(three...), map[string]any{"Name": "x"}},
	} {
		at := time.Now().Truncate(time.Millisecond)
		header, body := commit(l, test.change)
		expectSame(t, test.change.Type, header["changeType"], test.change.Type)
		expectSame(t, test.change.Type, header["recordIds"], test.ids)
		expectSame(t, test.change.Type, header["commitTimestamp"], at.UnixMilli())
		if len(test.body)+len(body) > 0 {
			expectSame(t, test.change.Type, body, test.body)
		}
	}
	diff := "--- \n+++ " + strings.Repeat("0f", 32) + "\n@@ -1,1 +1,1 @@\n-old\n+new\n"
	header, body := commit(l, sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Description": diff, "Name": "x"}, Diff: []string{"Description"}})
	expectSame(t, "diff", header["diffFields"], textList("Description"))
	expectSame(t, "diff", body, map[string]any{"Description": diff, "Name": "x"}) // the text of a diff is left alone
	finishChanges(l)
}

// shapesOfCompounds: orgs differ in what a name and an address are.
func shapesOfCompounds(t *testing.T) {
	address := []string{"Street", "City", "Latitude", "Longitude", "GeocodeAccuracy"}
	for _, members := range [][]string{address, slices.Insert(slices.Clone(address), 4, "Xyz")} {
		l := followChanges(t, sfstreamtest.Field{Name: "Name", Type: "Switchable_PersonName"},
			sfstreamtest.Field{Name: "BillingAddress", Type: "Address", Members: members}, sfstreamtest.Field{Name: "ShippingAddress", Type: "Address"})
		place := map[string]any{"City": "Lyon", "Latitude": 45.76, "GeocodeAccuracy": "City"}
		for _, name := range []any{"Acme", map[string]any{"FirstName": "Ada", "LastName": "Byron"}} {
			set := map[string]any{"Name": name, "BillingAddress": place, "ShippingAddress": map[string]any{"Street": "12 Main Street"}}
			_, body := commit(l, sfstreamtest.Change{Type: "UPDATE", Set: set})
			expectSame(t, fmt.Sprint("with members ", members), body, set)
			_, body = commit(l, sfstreamtest.Change{Type: "CREATE", Set: set})
			expectSame(t, fmt.Sprint("with members ", members), body, set)
		}
		finishChanges(l)
	}
}
