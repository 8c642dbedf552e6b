package sfstreamtest_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// rowsOf returns the records that a query finds.
func (r *rig) rowsOf(path, soql string) []any {
	r.tb.Helper()
	return r.want(http.StatusOK, "GET", path+"?"+url.Values{"q": {soql}}.Encode(), "").(object)["records"].([]any)
}

// refused makes a request and compares the error, "STATUS CODE: message" and then its fields; the
// message may be cut short.
func (r *rig) refused(want, method, path, body string) {
	r.tb.Helper()
	status, reply := r.rest(method, path, body)
	list, _ := reply.([]any)
	if len(list) != 1 {
		r.tb.Errorf("%s %s: %d %v, want %s", method, path, status, reply, want)
		return
	}
	e := list[0].(object)
	got := strings.Join([]string{http.StatusText(status), e["errorCode"].(string) + ": " + e["message"].(string)}, ", ")
	if fields, _ := e["fields"].([]any); len(fields) > 0 {
		got += " [" + fields[0].(string) + "]"
	}
	if !strings.HasPrefix(got, want) {
		r.tb.Errorf("%s %s:\ngot  %s\nwant %s", method, path, got, want)
	}
}

func TestARecordTypeIsARowAndAFieldOfItsObject(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		student, err := r.DefineRecordType("Contact", "Student")
		check(t, err)
		again, err := r.DefineRecordType("Contact", "Student")
		check(t, err)
		alumni, err := r.DefineRecordType("Contact", "Former_Student")
		check(t, err)
		if len(student) != 18 || !strings.HasPrefix(student, "012") || student != again || student == alumni {
			t.Errorf("ids %s, %s and %s", student, again, alumni)
		}
		rows := r.rowsOf("/query", "SELECT Id, DeveloperName, Name, SobjectType, IsActive FROM RecordType WHERE SobjectType = 'Contact' AND DeveloperName = 'Former_Student'")
		if len(rows) != 1 || rows[0].(object)["Id"] != alumni || rows[0].(object)["Name"] != "Former Student" || rows[0].(object)["IsActive"] != true {
			t.Errorf("%v", rows)
		}
		check(t, r.RenameRecordType("Contact", "Student", "Learner"))
		check(t, r.DeactivateRecordType("Contact", "Former_Student"))
		if rows := r.rowsOf("/query", "SELECT Id FROM RecordType WHERE DeveloperName = 'Student'"); len(rows) != 0 {
			t.Errorf("still %v", rows)
		}
		if rows := r.rowsOf("/query", "SELECT Id FROM RecordType WHERE DeveloperName = 'Learner' AND IsActive = true"); rows[0].(object)["Id"] != student {
			t.Errorf("%v, want %s", rows, student)
		}
		if r.RenameRecordType("Contact", "Learner", "Former_Student") == nil || r.RenameRecordType("Contact", "Nobody", "X") == nil {
			t.Error("renamed to a name that is there, or what is not there")
		}
		made := r.want(http.StatusCreated, "POST", "/sobjects/Contact", `{"LastName":"Doe","RecordTypeId":"`+student[:15]+`"}`).(object)
		got := r.want(http.StatusOK, "GET", "/sobjects/Contact/"+made["id"].(string), "").(object)
		if got["RecordTypeId"] != student || got["Name"] != "Doe" {
			t.Errorf("%v", got)
		}
		r.refused("Bad Request, INVALID_CROSS_REFERENCE_KEY: Record Type ID: this ID value isn't valid for the user: "+alumni+" [RecordTypeId]",
			"POST", "/sobjects/Contact", `{"LastName":"Doe","RecordTypeId":"`+alumni+`"}`)
		r.refused("Bad Request, INVALID_FIELD: No such column 'RecordTypeId' on sobject of type Account",
			"POST", "/sobjects/Account", `{"Name":"Acme","RecordTypeId":"`+student+`"}`)
	})
}

func TestDescribeTellsTheRecordTypesAndTheNameField(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		student, err := r.DefineRecordType("Contact", "Student")
		check(t, err)
		types := r.want(http.StatusOK, "GET", "/sobjects/Contact/describe", "").(object)["recordTypeInfos"].([]any)
		if len(types) != 2 || types[0].(object)["recordTypeId"] != student || types[1].(object)["master"] != true {
			t.Errorf("%v", types)
		}
		for name, want := range map[string]string{"Contact": "Name", "Case": "CaseNumber"} {
			called := ""
			for _, f := range r.want(http.StatusOK, "GET", "/sobjects/"+name+"/describe", "").(object)["fields"].([]any) {
				if f.(object)["nameField"] == true {
					called += f.(object)["name"].(string)
				}
			}
			if called != want {
				t.Errorf("%s is called by %q, want %s", name, called, want)
			}
		}
		r.refused("Bad Request, INVALID_FIELD: \nSELECT Id, Name FROM Case", "GET", "/query?q=SELECT+Id,+Name+FROM+Case", "")
		made := r.want(http.StatusCreated, "POST", "/sobjects/Case", `{"Subject":"Broken"}`).(object)
		got := r.want(http.StatusOK, "GET", "/sobjects/Case/"+made["id"].(string)+"?fields=CaseNumber", "").(object)
		if got["CaseNumber"] != "00001000" {
			t.Errorf("%v", got)
		}
	})
}

// The changes of an object are captured with the schema that it was defined with: a record type
// that comes later is in the record, and in no event.
func TestRecordTypeIDOfACapturedObject(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Contact"))
		student, err := r.DefineRecordType("Contact", "Student")
		check(t, err)
		made := r.want(http.StatusCreated, "POST", "/sobjects/Contact", `{"LastName":"Doe","RecordTypeId":"`+student+`"}`).(object)
		rows := r.rowsOf("/query", "SELECT Id FROM Contact WHERE RecordTypeId = '"+student+"'")
		if len(rows) != 1 || rows[0].(object)["Id"] != made["id"] {
			t.Errorf("%v", rows)
		}
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Contact/"+made["id"].(string), `{"RecordTypeId":null}`)
		_, err = r.Change(sfstreamtest.Change{Object: "Contact", Type: "UPDATE", RecordIDs: []string{made["id"].(string)}, Null: []string{"RecordTypeId"}})
		check(t, err)
		if events := r.Retained("/data/ContactChangeEvent"); len(events) != 3 {
			t.Errorf("%d events", len(events))
		}
	})
}

func TestRecordTypesAreInTheLog(t *testing.T) {
	log := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "log"))
	var before []sfstreamtest.RecordType
	for range 2 {
		org, err := sfstreamtest.Start(sfstreamtest.InMemory(), log)
		check(t, err)
		if before == nil {
			_, err := org.DefineRecordType("Contact", "Student")
			check(t, err)
			_, err = org.DefineRecordType("Contact", "Teacher")
			check(t, err)
			check(t, org.RenameRecordType("Contact", "Student", "Learner"))
			before = org.RecordTypes()
		}
		after := org.RecordTypes()
		check(t, org.Close())
		if len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
			t.Errorf("%v, and were %v", after, before)
		}
	}
}

func TestControlRecordType(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(t, r, "define", `{"object":"Contact","recordTypes":["Student","Teacher"]}`)
		must(t, r, "recordType", `{"object":"Contact","developerName":"Student","renameTo":"Learner","active":false}`)
		if got := r.RecordTypes(); len(got) != 2 || got[0].DeveloperName != "Learner" || !got[0].Inactive || got[1].Inactive {
			t.Errorf("%v", got)
		}
		if code, reply := control(t, r, "define", `{"channel":"/event/X__e","recordTypes":["Student"]}`); code != http.StatusBadRequest {
			t.Errorf("%d %v", code, reply)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}
