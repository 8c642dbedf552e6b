package sfstreamtest_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const topicPath = "/sobjects/PushTopic"

// madeTopic creates a PushTopic and returns its path. more are further members of the body.
func (r *rig) madeTopic(name, query, more string) string {
	r.tb.Helper()
	reply := r.want(http.StatusCreated, "POST", topicPath, topicBody(name, query, more)).(object)
	return topicPath + "/" + reply["id"].(string)
}

func topicBody(name, query, more string) string {
	return fmt.Sprintf(`{"Name":%q,"Query":%q,"ApiVersion":60.0%s}`, name, query, more)
}

func TestTheRecordOfAPushTopic(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeTopic("Accts", "SELECT Id, Name FROM Account", `,"Description":"all","NotifyForFields":"All","NotifyForOperationUpdate":false`)
		got := r.want(http.StatusOK, "GET", path, "").(object)
		for name, want := range map[string]any{
			"Name": "Accts", "Query": "SELECT Id, Name FROM Account", "Description": "all", "ApiVersion": 60.0, "IsActive": true, "IsDeleted": false,
			"NotifyForFields": "All", "NotifyForOperations": "Create", "NotifyForOperationCreate": true, "NotifyForOperationUpdate": false,
			"NotifyForOperationDelete": true, "NotifyForOperationUndelete": true, "CreatedById": r.Account().UserID, "LastModifiedById": r.Account().UserID,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		r.want(http.StatusNoContent, "PATCH", path, `{"Description":null,"NotifyForFields":null,"NotifyForOperationUpdate":true,"ApiVersion":"68.0"}`)
		rows := r.rowsOf("/query", "SELECT Description, ApiVersion, NotifyForFields, NotifyForOperations FROM PushTopic WHERE Name = 'Accts' AND IsActive = true")
		if row := rows[0].(object); row["Description"] != nil || row["ApiVersion"] != 68.0 || row["NotifyForFields"] != "Referenced" || row["NotifyForOperations"] != "All" {
			t.Errorf("%v", row)
		}
		fields := r.want(http.StatusOK, "GET", topicPath+"/describe", "").(object)["fields"].([]any)
		if len(fields) != 18 {
			t.Errorf("%d fields: %v", len(fields), fields)
		}
		r.want(http.StatusNoContent, "DELETE", path, "")
		if again := r.madeTopic("Accts", "SELECT Id, Name FROM Account", ""); again == path {
			t.Error("a new PushTopic has the id of the deleted one")
		}
	})
}

func TestPushTopicsAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeTopic("Accts", "SELECT Id, Name FROM Account", "")
		const good = "SELECT Id, Name FROM Account"
		for _, test := range []struct{ want, body string }{
			{"DUPLICATE_VALUE: duplicate value found: Name duplicates value on record with id: " + strings.TrimPrefix(path, topicPath+"/") + " [Name]", topicBody("accts", good, "")},
			{"STRING_TOO_LONG: Topic Name: data value too large: ABCDEFGHIJKLMNOPQRSTUVWXYZ (max length=25) [Name]", topicBody("ABCDEFGHIJKLMNOPQRSTUVWXYZ", good, "")},
			{"STRING_TOO_LONG: SOQL Query: data value too large: SELECT", topicBody("A", good+" WHERE Name = '"+strings.Repeat("x", 1300)+"'", "")},
			{"STRING_TOO_LONG: Description: data value too large", topicBody("A", good, `,"Description":"`+strings.Repeat("x", 401)+`"`)},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [Name, Query, ApiVersion] [Name]", `{}`},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [ApiVersion] [ApiVersion]", `{"Name":"A","Query":"` + good + `"}`},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [Name] [Name]", topicBody("", good, "")},
			{"REQUIRED_FIELD_MISSING: Required fields are missing: [Query] [Query]", topicBody("A", "", "")},
			{"INVALID_FIELD: No such column 'Querry' on sobject of type PushTopic", `{"Querry":"x"}`},
			{"INVALID_FIELD_FOR_INSERT_UPDATE: Unable to create/update fields: NotifyForOperations", topicBody("A", good, `,"NotifyForOperations":"All"`)},
			{"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST: Notify For Fields: bad value for restricted picklist field: Some [NotifyForFields]", topicBody("A", good, `,"NotifyForFields":"Some"`)},
			{"INVALID_FIELD: ApiVersion", `{"Name":"A","Query":"` + good + `","ApiVersion":20.0}`},
			{"JSON_PARSER_ERROR: ", topicBody("A", good, `,"IsActive":"perhaps"`)},
			{"JSON_PARSER_ERROR: ", `{`},
		} {
			r.refused("Bad Request, "+test.want, "POST", topicPath, test.body)
		}
		r.refused("Bad Request, MALFORMED_ID: PushTopic ID: id value of incorrect type: Accts", "PATCH", topicPath+"/Accts", "{}")
		r.refused("Not Found, NOT_FOUND: ", "PATCH", topicPath+"/0IF000000000999", "{}")
		r.refused("Not Found, NOT_FOUND: ", "DELETE", topicPath+"/0IF000000000999", "")
		r.FailRecords("PushTopic", 1, "UNABLE_TO_LOCK_ROW")
		r.refused("Bad Request, UNABLE_TO_LOCK_ROW: ", "PATCH", path, "{}")
		r.FailREST(1, "INSUFFICIENT_ACCESS_OR_READONLY")
		r.refused("Bad Request, INSUFFICIENT_ACCESS_OR_READONLY: insufficient access rights on object id", "POST", topicPath, topicBody("A", good, ""))
		r.ExpireToken()
		r.refused("Unauthorized, INVALID_SESSION_ID: ", "POST", topicPath, topicBody("A", good, ""))
	})
}

func TestQueriesThatNoPushTopicCanHave(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for query, want := range map[string]string{
			"SELECT Id, Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Title = 'CEO')": "INVALID_FIELD: semi/anti join sub-selects are not supported [Query]",
			"SELECT Id, (SELECT Id FROM Contacts) FROM Account":                                            "INVALID_FIELD: relationships are not supported",
			"SELECT Id, AVG(AnnualRevenue) FROM Account":                                                   "INVALID_FIELD: Aggregate queries are not supported",
			"SELECT Id, Industry, Count(Name) FROM Account":                                                "INVALID_FIELD: Aggregate queries are not supported",
			"SELECT Id, AccountId FROM Contact GROUP BY AccountId":                                         "INVALID_FIELD: Aggregate queries are not supported",
			"SELECT Id, Name FROM Contact LIMIT 10":                                                        "INVALID_FIELD: 'LIMIT' is not allowed",
			"SELECT Id, Name FROM Contact OFFSET 10":                                                       "INVALID_FIELD: 'OFFSET' is not allowed",
			"SELECT Id, Name FROM Account ORDER BY Name":                                                   "INVALID_FIELD: 'ORDER BY' clause is not allowed",
			"SELECT Id, Contact.Account.Name FROM Contact":                                                 "INVALID_FIELD: relationships are not supported",
			"SELECT Id FROM Account WHERE NOT Name = 'Salesforce.com'":                                     "INVALID_FIELD: 'NOT' is not supported",
			"SELECT Id, Name FROM Account WHERE Description = 'x'":                                         "INVALID_FIELD: ",
			"SELECT Id, Nope FROM Account":                                                                 "INVALID_FIELD: \nSELECT Id, Nope FROM Account",
			"SELECT Id, Name, name FROM Account":                                                           "MALFORMED_QUERY: SOQL: duplicate field selected: name",
			"SELECT Name FROM Account":                                                                     "INVALID_FIELD: The query must select Id",
			"SELECT Id, Name FROM Case":                                                                    "INVALID_FIELD: \nSELECT Id, Name FROM Case",
			"SELECT Id, Name FROM Nothing__c":                                                              "INVALID_TYPE: sObject type 'Nothing__c' is not supported.",
			"SELECT Id, Name FROM User":                                                                    "INVALID_TYPE: sObject type 'User' is not supported.",
			"SELECT Id, Name FROM Account WHERE":                                                           "MALFORMED_QUERY: ",
			"Accounts":                                                                                     "MALFORMED_QUERY: ",
		} {
			r.refused("Bad Request, "+want, "POST", topicPath, topicBody("A", query, ""))
		}
		for i, query := range []string{
			"SELECT Id, Name FROM Account WHERE Name NOT IN ('LIMIT 10', 'a.b', 'x\\' ORDER BY y')",
			"SELECT Id, CaseNumber FROM Case WHERE IsClosed = false",
			"SELECT Id, Name, FirstName, MailingCity FROM Contact WHERE CreatedDate > 2026-01-01T00:00:00.000Z",
		} {
			r.madeTopic(fmt.Sprint("Good", i), query, "")
		}
	})
}

// What a PushTopic selects is what its records are when it is asked: by record type, and by who has
// changed them.
func TestAPushTopicSelectsByRecordTypeAndByUser(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		student, err := r.DefineRecordType("Contact", "Student")
		check(t, err)
		teacher, err := r.DefineRecordType("Contact", "Teacher")
		check(t, err)
		r.madeTopic("Students", "SELECT id, Name, LastModifiedById FROM Contact WHERE RecordTypeId = '"+student[:15]+"' AND LastModifiedById != '"+r.Account().UserID[:15]+"'", "")
		b := r.shaken()
		b.follow("/topic/Students", -1)
		write := func(method, path, body string) string {
			reply := r.want(map[string]int{"POST": 201, "PATCH": 204, "DELETE": 204}[method], method, path, body)
			if made, ok := reply.(object); ok {
				return "/sobjects/Contact/" + made["id"].(string)
			}
			return ""
		}
		own := write("POST", "/sobjects/Contact", `{"LastName":"Own","RecordTypeId":"`+student+`"}`)
		r.loginAs("second@sfstream.example")
		write("POST", "/sobjects/Contact", `{"LastName":"Other","RecordTypeId":"`+teacher+`"}`)
		write("POST", "/sobjects/Contact", `{"FirstName":"Ann","LastName":"Lee","RecordTypeId":"`+student+`"}`)
		check(t, r.RenameRecordType("Contact", "Student", "Learner"))
		write("PATCH", own, `{"LastName":"Ours"}`)
		write("PATCH", own, `{"MailingCity":"Rome"}`)
		write("PATCH", own, `{"RecordTypeId":"`+teacher+`"}`)
		events, _ := b.connect()
		got := sobjects(t, events)
		if len(got) != 2 || !strings.Contains(got[0], `"Name":"Ann Lee","LastModifiedById":"005000000000002AAA"`) || !strings.HasPrefix(got[1], `updated {"Id":"`+strings.TrimPrefix(own, "/sobjects/Contact/")+`","Name":"Ours"`) {
			t.Errorf("%q", got)
		}
	}, sfstreamtest.WithUser("second@sfstream.example", "005000000000002AAA"))
}

// loginAs logs another user in, whose session the rig uses from then on.
func (r *rig) loginAs(username string) {
	r.tb.Helper()
	form := r.passwordForm()
	form.Set("username", username)
	resp, reply := r.post(form)
	if resp.StatusCode != http.StatusOK {
		r.tb.Fatalf("login of %s: %s %v", username, resp.Status, reply)
	}
	r.auth.Set("accesstoken", reply["access_token"])
}

// Salesforce sees a change of a name by Name, and one of an address by the address's parts.
func TestAPushTopicSeesCompoundsAsSalesforceDoes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Contact"))
		for name, fields := range map[string]string{"Names": "Name", "Parts": "FirstName, LastName", "Cities": "MailingCity", "Whole": "MailingAddress", "Dates": "LastModifiedDate"} {
			r.madeTopic(name, "SELECT Id, "+fields+" FROM Contact", `,"NotifyForOperationCreate":false`)
		}
		made := r.want(http.StatusCreated, "POST", "/sobjects/Contact", `{"LastName":"Lee","MailingCity":"Rome"}`).(object)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Contact/"+made["id"].(string), `{"FirstName":"Ann"}`)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Contact/"+made["id"].(string), `{"MailingCity":"Oslo"}`)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Contact/"+made["id"].(string), `{"MailingCity":null}`)
		for name, want := range map[string]int{"Names": 1, "Parts": 0, "Cities": 2, "Whole": 0, "Dates": 0} {
			if got := len(r.Retained("/topic/" + name)); got != want {
				t.Errorf("/topic/%s has %d events, want %d", name, got, want)
			}
		}
	})
}

func TestAPushTopicThatIsNotActiveIsSilent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeTopic("Accts", "SELECT Id, Name FROM Account", `,"IsActive":false`)
		create := func(want int) {
			t.Helper()
			r.want(http.StatusCreated, "POST", "/sobjects/Account", `{"Name":"Acme"}`)
			if got := len(r.Retained("/topic/Accts")); got != want {
				t.Errorf("%d events, want %d", got, want)
			}
		}
		create(0)
		r.want(http.StatusNoContent, "PATCH", path, `{"IsActive":true}`)
		create(1)
		r.want(http.StatusNoContent, "PATCH", path, `{"Query":"SELECT Id, Name FROM Account WHERE Name = 'Beta'"}`)
		create(1) // another query acts at once
		r.want(http.StatusNoContent, "PATCH", path, `{"IsActive":false}`)
		create(1)
	})
}

// Sessions that have subscribed to the old name go on there; new ones need the new name.
func TestARenamedPushTopic(t *testing.T) {
	log := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "log"))
	path := ""
	t.Run("before", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			path = r.madeTopic("Old", "SELECT Id, Name FROM Account", "")
			old, fresh := r.shaken(), r.shaken()
			old.follow("/topic/Old", -1)
			r.want(http.StatusNoContent, "PATCH", path, `{"Name":"Newer"}`)
			_, reply := fresh.subscribe("/topic/Old", -1)
			wantError(t, reply, "400::The channel you requested to subscribe to does not exist {/topic/Old}")
			fresh.follow("/topic/Newer", -1)
			r.want(http.StatusCreated, "POST", "/sobjects/Account", `{"Name":"Acme"}`)
			for name, b := range map[string]*bayeux{"/topic/Old": old, "/topic/Newer": fresh} {
				if events, _ := b.connect(); len(events) != 1 || events[0].Channel != name {
					t.Errorf("%s: %+v", name, events)
				}
			}
			if got := r.want(http.StatusOK, "GET", path, "").(object); got["Name"] != "Newer" {
				t.Errorf("%v", got)
			}
			r.refused("Bad Request, DUPLICATE_VALUE: ", "POST", topicPath, topicBody("Newer", "SELECT Id, Name FROM Account", ""))
			if other := r.madeTopic("Old", "SELECT Id, Name FROM Account", ""); other == path {
				t.Error("a new PushTopic with the old name has the id of the renamed one")
			}
		}, log)
	})
	t.Run("after", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			if got := r.want(http.StatusOK, "GET", path, "").(object); got["Name"] != "Newer" || got["CreatedById"] != r.Account().UserID {
				t.Errorf("%v", got)
			}
		}, log)
	})
}

func TestTheLimitOfAnEdition(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for i := range 49 {
			check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: fmt.Sprint("T", i), Query: "SELECT Id, Name FROM Account"}))
		}
		path := r.madeTopic("Last", "SELECT Id, Name FROM Account", "")
		r.refused("Bad Request, LIMIT_EXCEEDED: ", "POST", topicPath, topicBody("More", "SELECT Id, Name FROM Account", ""))
		more := r.madeTopic("More", "SELECT Id, Name FROM Account", `,"IsActive":false`)
		r.refused("Bad Request, LIMIT_EXCEEDED: ", "PATCH", more, `{"IsActive":true}`)
		r.want(http.StatusNoContent, "PATCH", path, `{"Description":"the last one"}`)
		r.want(http.StatusNoContent, "DELETE", path, "")
		r.want(http.StatusNoContent, "PATCH", more, `{"IsActive":true}`)
	}, sfstreamtest.WithEdition("enterprise"))
	if sfstreamtest.Validate(sfstreamtest.WithEdition("starter")) == nil {
		t.Error("there is no starter edition here")
	}
}

func TestADeletedPushTopicCanLeaveItsSessions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeTopic("Accts", "SELECT Id, Name FROM Account", "")
		b := r.shaken()
		b.follow("/topic/Accts", -1)
		r.want(http.StatusNoContent, "DELETE", path, "")
		r.want(http.StatusCreated, "POST", "/sobjects/Account", `{"Name":"Acme"}`)
		if r.Sessions() != 1 {
			t.Errorf("%d sessions", r.Sessions())
		}
		if events, reply := b.connect(); len(events) != 0 || !reply.ok() {
			t.Errorf("%+v %+v", events, reply)
		}
	}, sfstreamtest.WithQuietDelete(), sfstreamtest.WithHold(1))
}

func TestTwoThatCreateOnePushTopic(t *testing.T) {
	newRig(t).madeOnce(topicPath, topicBody("Accts", "SELECT Id, Name FROM Account", ""))
}

// madeOnce fails the test unless one of several requests that create the same at once succeeds.
func (r *rig) madeOnce(path, body string) {
	r.tb.Helper()
	var wg sync.WaitGroup
	statuses := make(chan int, 8)
	for range cap(statuses) {
		wg.Go(func() {
			if status, err := r.status("POST", path, body); err == nil {
				statuses <- status
			}
		})
	}
	wg.Wait()
	close(statuses)
	got := make(map[int]int)
	for status := range statuses {
		got[status]++
	}
	if got[http.StatusCreated] != 1 || got[http.StatusBadRequest] != 7 {
		r.tb.Errorf("%v", got)
	}
}

// status makes a request from any goroutine.
func (r *rig) status(method, path, body string) (int, error) {
	req, err := http.NewRequestWithContext(r.tb.Context(), method, r.LoginURL()+"/services/data/v60.0"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+r.auth.Get("accesstoken")[0])
	resp, err := r.HTTPClient().Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
