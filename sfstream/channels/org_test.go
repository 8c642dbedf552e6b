package channels_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
)

// org is an org's REST API, as far as PushTopic records go and what their queries are made of, whose
// answers a test may lose, replace or have a rival in front of. It is written for the races that no
// faithful org can be made to have.
type org struct {
	objects     map[string]string            // what describe says of their fields; a field with ! is the object's name
	recordTypes map[string]map[string]string // of objects: developer name and id
	user        string                       // what userinfo answers

	// before may answer a request in the org's place, or change the org before it does.
	before func(r *http.Request, body string) (*http.Response, error)
	// after may replace the answer to what is done.
	after func(r *http.Request, answer *http.Response) (*http.Response, error)

	mu       sync.Mutex
	topics   []map[string]any
	made     int
	requests []string // method, path below the API version, and body
}

const (
	studentID = "012000000000001AAA"
	teacherID = "012000000000002AAA"
	userID    = "005000000000001AAA"
)

func newOrg() *org {
	return &org{
		objects: map[string]string{
			"Contact":     "Id !Name Email Student_Number__c LastModifiedById LastModifiedDate RecordTypeId",
			"Case":        "Id !CaseNumber Subject LastModifiedById LastModifiedDate",
			"Employee__c": "Id !Name LastModifiedById LastModifiedDate",
			"Bare__c":     "Id Value__c",
			"Packed__c":   "Id acme__Code__c",
		},
		recordTypes: map[string]map[string]string{"Contact": {"Student": studentID, "Teacher": teacherID}},
		user:        `{"user_id":"` + userID + `"}`,
	}
}

var whereName = regexp.MustCompile(`WHERE Name = '(.*)'$`)

func (o *org) RoundTrip(r *http.Request) (*http.Response, error) {
	var body string
	if r.Body != nil {
		text, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		body = string(text)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.URL.Path == "/services/data/" {
		return jsonResponse(200, `[{"version":"67.0"},{"version":"68.0"}]`), nil
	}
	path := strings.TrimPrefix(r.URL.Path, "/services/data/v68.0/")
	o.mu.Lock()
	o.requests = append(o.requests, strings.TrimSpace(r.Method+" "+path+" "+body))
	o.mu.Unlock()
	if o.before != nil {
		if answer, err := o.before(r, body); answer != nil || err != nil {
			return answer, err
		}
	}
	answer := o.answer(r, path, body)
	if o.after != nil {
		return o.after(r, answer)
	}
	return answer, nil
}

// answer is what an org without faults answers.
func (o *org) answer(r *http.Request, path, body string) *http.Response {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, one := strings.CutPrefix(path, "sobjects/PushTopic/")
	at := slices.IndexFunc(o.topics, func(t map[string]any) bool { return one && t["Id"] == id })
	object, isDescribe := strings.CutSuffix(strings.TrimPrefix(path, "sobjects/"), "/describe")
	switch {
	case path == "/services/oauth2/userinfo":
		return jsonResponse(200, o.user)
	case isDescribe:
		return o.describe(object)
	case path == "query" && strings.Contains(r.URL.Query().Get("q"), "FROM RecordType"):
		return jsonResponse(200, rowsOf(o.typesOf(r.URL.Query().Get("q"))...))
	case path == "query":
		return jsonResponse(200, rowsOf(o.query(r.URL.Query().Get("q"))...))
	case r.Method == http.MethodPost && path == "sobjects/PushTopic":
		return o.create(body)
	case at < 0:
		return jsonResponse(404, refuses("NOT_FOUND", "The requested resource does not exist"))
	case r.Method == http.MethodPatch:
		_ = json.Unmarshal([]byte(body), &o.topics[at])
		return jsonResponse(204, "")
	case r.Method == http.MethodDelete:
		o.topics = slices.Delete(o.topics, at, at+1)
		return jsonResponse(204, "")
	}
	return jsonResponse(405, refuses("METHOD_NOT_ALLOWED", r.Method))
}

func (o *org) describe(object string) *http.Response {
	for name, fields := range o.objects {
		if !strings.EqualFold(name, object) {
			continue
		}
		list := []map[string]any{}
		for field := range strings.FieldsSeq(fields) {
			list = append(list, map[string]any{"name": strings.Trim(field, "!"), "nameField": strings.HasPrefix(field, "!")})
		}
		return jsonResponse(200, map[string]any{"name": name, "fields": list})
	}
	return jsonResponse(404, refuses("NOT_FOUND", "The requested resource does not exist"))
}

var whereType = regexp.MustCompile(`^SELECT Id, DeveloperName FROM RecordType WHERE SobjectType = '(\w+)' ORDER BY NamespacePrefix, DeveloperName$`)

func (o *org) typesOf(soql string) (rows []map[string]any) {
	types := o.recordTypes[whereType.FindStringSubmatch(soql)[1]]
	for _, name := range slices.Sorted(maps.Keys(types)) {
		rows = append(rows, map[string]any{"Id": types[name], "DeveloperName": name})
	}
	return rows
}

// query is that of PushTopics: texts of SOQL are equal in any case.
func (o *org) query(soql string) []map[string]any {
	match := whereName.FindStringSubmatch(soql)
	var rows []map[string]any
	for _, topic := range o.topics {
		if match == nil || strings.EqualFold(topic["Name"].(string), match[1]) {
			rows = append(rows, topic)
		}
	}
	return rows
}

func (o *org) create(body string) *http.Response {
	topic := map[string]any{
		"Description": nil, "IsActive": true, "NotifyForFields": "Referenced",
		"NotifyForOperationCreate": true, "NotifyForOperationUpdate": true, "NotifyForOperationDelete": true, "NotifyForOperationUndelete": true,
	}
	if err := json.Unmarshal([]byte(body), &topic); err != nil {
		return jsonResponse(400, refuses("JSON_PARSER_ERROR", err.Error()))
	}
	for _, there := range o.topics {
		if strings.EqualFold(there["Name"].(string), topic["Name"].(string)) {
			return jsonResponse(400, refuses("DUPLICATE_VALUE", "duplicate value found: Name duplicates value on record with id: "+there["Id"].(string)))
		}
	}
	o.made++
	topic["Id"] = fmt.Sprintf("0IF%012dAAA", o.made)
	o.topics = append(o.topics, topic)
	return jsonResponse(201, made(topic["Id"].(string)))
}

// rival makes a topic beside the client.
func (o *org) rival(name, query string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.create(fmt.Sprintf(`{"Name":%q,"Query":%q,"ApiVersion":60.0}`, name, query))
}

// clear deletes all topics beside the client.
func (o *org) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.topics = nil
}

// one is the one topic that there is.
func (o *org) one(t *testing.T) map[string]any {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.topics) != 1 {
		t.Fatalf("there are %d topics, want one: %v", len(o.topics), o.topics)
	}
	return maps.Clone(o.topics[0])
}

// writes are the requests that change something, since the last call.
func (o *org) writes() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	writes := slices.DeleteFunc(slices.Clone(o.requests), func(r string) bool { return strings.HasPrefix(r, "GET ") })
	o.requests = nil
	return writes
}

// count is how many requests there were since the last call of writes.
func (o *org) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

// open returns an open client of the org.
func (o *org) open(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	return openOver(t, o, opts...)
}
