package sfstreamtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contacts defines an object with a field of every kind that the REST API shows in its own way.
func contacts(t *testing.T, r *rig) {
	t.Helper()
	check(t, r.DefineObject("Contact",
		sfstreamtest.Field{Name: "Name", Type: "PersonName"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
		sfstreamtest.Field{Name: "MailingAddress", Type: "Address"}, sfstreamtest.Field{Name: "Birthdate", Type: "DateOnly"},
		sfstreamtest.Field{Name: "Seen__c", Type: "DateTime"}, sfstreamtest.Field{Name: "Score__c", Type: "Double"},
		sfstreamtest.Field{Name: "Active__c", Type: "Boolean"}, sfstreamtest.Field{Name: "AccountId", Type: "EntityId"},
		sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"}, sfstreamtest.Field{Name: "Site__c", Type: "Location"},
		sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"},
	))
}

func contactID(n int) string { return fmt.Sprintf("003000000%06dAAA", n) }

func create(t *testing.T, r *rig, n int, set map[string]any) {
	t.Helper()
	_, err := r.Change(sfstreamtest.Change{Object: "Contact", Type: "CREATE", RecordIDs: []string{contactID(n)}, Set: set})
	check(t, err)
}

// query returns the records that a query finds, without their attributes.
func (r *rig) query(soql string) (total int, records []any) {
	r.tb.Helper()
	return r.page("/query?q=" + url.QueryEscape(soql))
}

func (r *rig) page(path string) (total int, records []any) {
	r.tb.Helper()
	reply := r.want(http.StatusOK, "GET", path, "").(object)
	for _, row := range reply["records"].([]any) {
		delete(row.(object), "attributes")
	}
	return int(reply["totalSize"].(float64)), reply["records"].([]any)
}

// refusal returns the error of a request.
func (r *rig) refusal(status int, path string) (code, message string) {
	r.tb.Helper()
	e := r.want(status, "GET", path, "").([]any)[0].(object)
	return e["errorCode"].(string), e["message"].(string)
}

func wantJSON(t *testing.T, got any, want string) {
	t.Helper()
	var wanted any
	check(t, json.Unmarshal([]byte(want), &wanted))
	if !reflect.DeepEqual(got, wanted) {
		text, _ := json.Marshal(got)
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestQueriesReadTheRecordsThatChangesTellOf(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		seen := time.Date(2026, 11, 27, 10, 0, 0, 5e6, time.UTC)
		create(t, r, 1, map[string]any{
			"Name": map[string]any{"FirstName": "Ada", "LastName": "Byron"}, "Phone": "1", "Score__c": 2.5, "Active__c": true,
			"MailingAddress": map[string]any{"City": "Lyon"}, "Birthdate": seen, "Seen__c": seen, "AccountId": "001000000000001AAA",
			"Site__c": map[string]any{"Latitude": 1.5, "Longitude": 2.0},
		})
		create(t, r, 2, map[string]any{"Score__c": 1})
		_, rows := r.query("select id, Name, firstname, MailingCity, MailingStreet, Birthdate, Seen__c, Site__Latitude__s, MailingAddress, IsDeleted, CreatedDate from contact where Id = '003000000000001'")
		wantJSON(t, rows, `[{"Id":"003000000000001AAA","Name":"Ada Byron","FirstName":"Ada","MailingCity":"Lyon","MailingStreet":null,"Birthdate":"2026-11-27",
			"Seen__c":"2026-11-27T10:00:00.005+0000","Site__Latitude__s":1.5,"MailingAddress":{"city":"Lyon"},"IsDeleted":false,"CreatedDate":"2000-01-01T00:00:00.000+0000"}]`)
		for where, want := range map[string]string{
			"Score__c > 1.5": "1", "Score__c <= 1": "2", "Active__c = true": "1", "Active__c != true": "2", "Phone = null": "2",
			"Seen__c = 2026-11-27T10:00:00.005Z": "1", "Seen__c >= 2026-11-27T12:00:00.005+02:00": "1", "Seen__c > 2026-11-27T10:00:00.005Z": "",
			"Birthdate = 2026-11-27": "1", "Birthdate > 2026-11-27": "", "AccountId IN ('001000000000001', '001000000000002AAA')": "1",
			"(Score__c = 1 OR Phone = '1') AND NOT Active__c = true": "2", "Id NOT IN ('003000000000001AAA')": "2", "LastName LIKE 'b%'": "1",
			"MailingCity = 'LYON'": "1", "LastModifiedDate >= 2000-01-01T00:00:00Z ORDER BY Score__c": "21",
			"Id != null ORDER BY Phone DESC NULLS LAST, Id": "12", "Id != null ORDER BY Phone": "21", "Id != null ORDER BY Id DESC LIMIT 1": "2",
			"Id != null ORDER BY Id LIMIT 5 OFFSET 1": "2", "Id != null LIMIT 0": "",
		} {
			total, rows := r.query("SELECT Id FROM Contact WHERE " + where)
			got := ""
			for _, row := range rows {
				got += row.(object)["Id"].(string)[14:15]
			}
			if got != want || total != len(want) {
				t.Errorf("%s: got %q of %d, want %q", where, got, total, want)
			}
		}
		if total, rows := r.query("SELECT COUNT() FROM Contact"); total != 2 || len(rows) != 0 {
			t.Errorf("count: %d %v", total, rows)
		}
		_, rows = r.query("SELECT FIELDS(ALL) FROM Contact LIMIT 200")
		if len(rows) != 2 || len(rows[0].(object)) < 25 {
			t.Errorf("all fields: %v", rows)
		}
		_, rows = r.query("SELECT Id, FIELDS(CUSTOM) FROM Contact WHERE Score__c = 1 LIMIT 1")
		wantJSON(t, rows, `[{"Id":"003000000000002AAA","Seen__c":null,"Score__c":1,"Active__c":null,"Site__c":null,"Site__Latitude__s":null,"Site__Longitude__s":null}]`)
	})
}

func TestQueriesThatSalesforceRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		for soql, want := range map[string]string{
			"SELECT Id FROM Contact WHERE":                                     "MALFORMED_QUERY",
			"DELETE Id FROM Contact":                                           "MALFORMED_QUERY unexpected token: 'DELETE'",
			"SELECT Id, Id FROM Contact":                                       "MALFORMED_QUERY duplicate field selected: Id",
			"SELECT Id FROM Contact GROUP BY Id":                               "MALFORMED_QUERY unexpected token: 'GROUP'",
			"SELECT MAX(Id) FROM Contact":                                      "MALFORMED_QUERY unexpected token: 'MAX'",
			"SELECT FIELDS(ALL) FROM Contact":                                  "MALFORMED_QUERY The SOQL FIELDS function must have a LIMIT of at most 200",
			"SELECT FIELDS(CUSTOM) FROM Contact LIMIT 201":                     "MALFORMED_QUERY The SOQL FIELDS function must have a LIMIT of at most 200",
			"SELECT Id FROM Contact LIMIT x":                                   "MALFORMED_QUERY LIMIT without a number",
			"SELECT Id FROM Contact WHERE Seen__c > 2026-11-27T10:00:00 00:00": "MALFORMED_QUERY",
			"SELECT Id, Nonsense FROM Contact":                                 "INVALID_FIELD \nSELECT Id, Nonsense FROM Contact\n           ^\nERROR at Row:1:Column:12\nNo such column 'Nonsense' on entity 'Contact'.",
			"SELECT Id FROM Contact ORDER BY Nonsense":                         "INVALID_FIELD ",
			"SELECT Id FROM Contact WHERE Nonsense = 1":                        "INVALID_FIELD ",
			"SELECT Id FROM Contact WHERE Seen__c > '2026-11-27T10:00:00Z'":    "INVALID_FIELD value of filter criterion for field 'Seen__c' must be of type dateTime and should not be enclosed in quotes",
			"SELECT Id FROM Contact WHERE Seen__c > 2026-11-27":                "INVALID_FIELD must be of type dateTime",
			"SELECT Id FROM Contact WHERE Birthdate = 2026-11-27T10:00:00Z":    "INVALID_FIELD must be of type date and",
			"SELECT Id FROM Contact WHERE Score__c IN (1, '2')":                "INVALID_FIELD must be of type double",
			"SELECT Id FROM Contact WHERE Active__c = 'true'":                  "INVALID_FIELD must be of type boolean",
			"SELECT Id FROM Contact WHERE Phone = 1":                           "INVALID_FIELD must be of type string and should be enclosed in quotes",
			"SELECT Id FROM Contact WHERE Id = 'x'":                            "INVALID_QUERY_FILTER_OPERATOR invalid ID field: x",
			"SELECT Id FROM Contact WHERE Description != null":                 "INVALID_FIELD field 'Description' can not be filtered in a query call",
			"SELECT Id FROM Nonsense":                                          "INVALID_TYPE sObject type 'Nonsense' is not supported.",
			"SELECT Id FROM Order_Event__e":                                    "INVALID_TYPE_FOR_OPERATION entity type Order_Event__e does not support query",
		} {
			code, message := r.refusal(http.StatusBadRequest, "/query?q="+url.QueryEscape(soql))
			wantCode, part, _ := strings.Cut(want, " ")
			if code != wantCode || !strings.Contains(message, part) {
				t.Errorf("%s: %s %q", soql, code, message)
			}
		}
	})
}

func TestQueryPages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		for n := range 7 {
			create(t, r, n, nil)
		}
		var ids []string
		path := "/query?q=" + url.QueryEscape("SELECT Id FROM Contact LIMIT 6")
		for path != "" {
			reply := r.want(http.StatusOK, "GET", path, "").(object)
			next, more := reply["nextRecordsUrl"].(string)
			if reply["totalSize"] != 6.0 || reply["done"] == more {
				t.Errorf("%v", reply)
			}
			for _, row := range reply["records"].([]any) {
				ids = append(ids, row.(object)["Id"].(string))
			}
			path = strings.TrimPrefix(next, "/services/data/v60.0")
			if n := len(ids); n == 3 { // a page can be read again, and what is created meanwhile is not in it
				create(t, r, 9, nil)
				r.want(http.StatusOK, "GET", path, "")
			}
		}
		if len(ids) != 6 || ids[0] != contactID(0) || ids[5] != contactID(5) {
			t.Errorf("%v", ids)
		}
		for _, locator := range []string{"01g000000000001-6", "01g000000000001-0", "01g000000000002-3", "x"} {
			if code, _ := r.refusal(http.StatusBadRequest, "/query/"+locator); code != "INVALID_QUERY_LOCATOR" {
				t.Errorf("%s: %s", locator, code)
			}
		}
	}, sfstreamtest.WithQueryPage(3))
}

func TestDeletedRecords(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		create(t, r, 1, nil)
		create(t, r, 2, nil)
		time.Sleep(time.Hour)
		remove := func(kind string, n int) {
			_, err := r.Change(sfstreamtest.Change{Object: "Contact", Type: kind, RecordIDs: []string{contactID(n)}})
			check(t, err)
		}
		remove("DELETE", 1)
		if _, rows := r.query("SELECT Id FROM Contact"); len(rows) != 1 {
			t.Errorf("%v", rows)
		}
		all := "/queryAll?q=" + url.QueryEscape("SELECT Id, IsDeleted, SystemModstamp FROM Contact WHERE IsDeleted = true")
		_, rows := r.page(all)
		wantJSON(t, rows, `[{"Id":"003000000000001AAA","IsDeleted":true,"SystemModstamp":"2000-01-01T01:00:00.000+0000"}]`)
		if code, _ := r.refusal(http.StatusNotFound, "/sobjects/Contact/"+contactID(1)); code != "ENTITY_IS_DELETED" {
			t.Error(code)
		}
		const span = "/?start=2000-01-01T00:30:00Z&end=2000-01-01T02:00:00%2B00:00"
		gone := r.want(http.StatusOK, "GET", "/sobjects/Contact/deleted"+span, "").(object)
		wantJSON(t, gone["deletedRecords"], `[{"id":"003000000000001AAA","deletedDate":"2000-01-01T01:00:00.000+0000"}]`)
		remove("UNDELETE", 1)
		remove("GAP_DELETE", 2)
		back := r.want(http.StatusOK, "GET", "/sobjects/Contact/updated"+span, "").(object)
		wantJSON(t, back, `{"ids":["003000000000001AAA"],"latestDateCovered":"2000-01-01T02:00:00.000+0000"}`)
		_, rows = r.page(all)
		wantJSON(t, rows, `[{"Id":"003000000000002AAA","IsDeleted":true,"SystemModstamp":"2000-01-01T01:00:00.000+0000"}]`)
		for _, bad := range []string{"?start=2000-01-01T00:30:00Z&end=2000-01-01T00:30:30Z", "?start=x&end=2000-01-01T02:00:00Z", "?start=1999-01-01T00:00:00Z&end=2000-01-01T02:00:00Z"} {
			if code, _ := r.refusal(http.StatusBadRequest, "/sobjects/Contact/deleted/"+bad); code != "INVALID_REPLICATION_DATE" {
				t.Errorf("%s: %s", bad, code)
			}
		}
	})
}

func TestRecordsWithoutEvents(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		r.SetRecord("Contact", contactID(3), map[string]any{"Phone": "3", "LastModifiedDate": time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)})
		got := r.want(http.StatusOK, "GET", "/sobjects/contact/003000000000003?fields=Phone,lastmodifieddate,Id", "").(object)
		wantJSON(t, got, `{"attributes":{"type":"Contact","url":"/services/data/v60.0/sobjects/Contact/003000000000003AAA"},
			"Id":"003000000000003AAA","Phone":"3","LastModifiedDate":"1999-01-01T00:00:00.000+0000"}`)
		// A gap event tells that a record has changed; what it is like now only REST tells.
		_, err := r.Change(sfstreamtest.Change{Object: "Contact", Type: "GAP_CREATE", RecordIDs: []string{contactID(3), contactID(4)}})
		check(t, err)
		_, rows := r.query("SELECT Id, Phone FROM Contact WHERE LastModifiedDate >= 2000-01-01T00:00:00Z")
		wantJSON(t, rows, `[{"Id":"003000000000003AAA","Phone":"3"},{"Id":"003000000000004AAA","Phone":null}]`)
		if code, _ := r.refusal(http.StatusBadRequest, "/sobjects/Contact/"+contactID(3)+"?fields=Nonsense"); code != "INVALID_FIELD" {
			t.Error(code)
		}
		for _, path := range []string{"/sobjects/Contact/" + contactID(9), "/sobjects/Nonsense/" + contactID(3), "/nonsense", "/sobjects/Nonsense/describe"} {
			if code, _ := r.refusal(http.StatusNotFound, path); code != "NOT_FOUND" {
				t.Errorf("%s: %s", path, code)
			}
		}
	})
}

func TestDescribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		types := map[string]any{}
		reply := r.want(http.StatusOK, "GET", "/sobjects/Contact/describe", "").(object)
		for _, f := range reply["fields"].([]any) {
			types[f.(object)["name"].(string)] = f.(object)["type"]
		}
		for name, want := range map[string]string{
			"Id": "id", "Name": "string", "FirstName": "string", "Phone": "phone", "MailingAddress": "address", "MailingCity": "string",
			"Birthdate": "date", "Seen__c": "datetime", "AccountId": "reference", "Description": "textarea", "SystemModstamp": "datetime",
		} {
			if types[name] != want {
				t.Errorf("%s is %v, want %s", name, types[name], want)
			}
		}
		event := r.want(http.StatusOK, "GET", "/sobjects/Order_Event__e/describe/", "").(object)
		if reply["queryable"] != true || event["queryable"] != false || event["createable"] != true {
			t.Errorf("%v %v", reply, event)
		}
		info := r.want(http.StatusOK, "GET", "/sobjects/contact", "").(object)
		if about := info["objectDescribe"].(object); about["name"] != "Contact" || about["fields"] != nil || len(info["recentItems"].([]any)) != 0 {
			t.Errorf("%v", info)
		}
		r.Revoke("/data/ContactChangeEvent")
		r.login()
		r.want(http.StatusNotFound, "GET", "/sobjects/Contact/describe", "")
		if code, _ := r.refusal(http.StatusBadRequest, "/query?q="+url.QueryEscape("SELECT Id FROM Contact")); code != "INVALID_TYPE" {
			t.Error(code)
		}
		r.Grant("/data/ContactChangeEvent")
		r.query("SELECT Id FROM Contact")
	})
}

func TestTheOrgAndItsUsers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, org := r.query("SELECT Id, Name, IsSandbox, InstanceName, OrganizationType FROM Organization")
		wantJSON(t, org, `[{"Id":"00D000000000001EAA","Name":"sfstreamtest","IsSandbox":true,"InstanceName":"SIM1","OrganizationType":"Enterprise Edition"}]`)
		_, users := r.query("SELECT Id, Username, Name, Email FROM User WHERE Id = '" + r.Account().UserID[:15] + "'")
		wantJSON(t, users, `[{"Id":"005000000000001AAA","Username":"integration@sfstream.example","Name":"Integration User","Email":"integration@sfstream.example"}]`)
	}, sfstreamtest.WithSandbox())
}
