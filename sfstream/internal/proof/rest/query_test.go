package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// accountID is the id of an account.
func accountID(n int) string {
	text := fmt.Sprintf("001%012d", n)
	return text + "AAA" // it has no upper-case letters
}

// accounts gives the org n accounts.
func accounts(l *lab.Lab, n int) {
	for i := range n {
		l.SetRecord("Account", accountID(i), map[string]any{"Name": fmt.Sprint("Account ", i), "NumberOfEmployees": i})
	}
}

// take reads records until the sequence ends.
func take(t *testing.T, records func(func(*sfstream.Record, error) bool)) (ids []string, err error) {
	t.Helper()
	for record, failed := range records {
		if err != nil {
			t.Errorf("after an error came %v, %v", record, failed)
		}
		if failed != nil {
			if err = failed; record != nil {
				t.Errorf("with an error came %v", record)
			}
			continue
		}
		id := record.ID
		if record.Deleted {
			id = "deleted " + id
		}
		ids = append(ids, id)
	}
	return ids, err
}

func TestQueryReadsPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, sfstreamtest.WithQueryPage(10))
		accounts(l, 35)
		c := l.Start()
		ids, err := take(t, c.Query(t.Context(), "SELECT Id FROM Account ORDER BY Id"))
		lab.Must(t, err)
		if len(ids) != 35 || !slices.IsSorted(ids) || ids[34] != accountID(34) {
			t.Errorf("%d: %v", len(ids), ids)
		}

		// A loop that ends asks for no more, and the same sequence can be read again.
		l.FailRESTRequest(sfstreamtest.RESTFault{Path: "/query/", Times: -1, Code: "INVALID_QUERY_LOCATOR"})
		query := c.Query(t.Context(), "SELECT Id, Name FROM Account ORDER BY Id")
		for range 2 {
			n := 0
			for record, err := range query {
				lab.Must(t, err)
				if fields, err := record.Fields(); err != nil || fields["Name"] != fmt.Sprint("Account ", n) || record.Object != "Account" {
					t.Errorf("%s %v, %v", record.Object, fields, err)
				}
				if n++; n == 10 {
					break
				}
			}
		}
		// One that goes on gets the error of the second page.
		ids, err = take(t, query)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); len(ids) != 10 || e.Reason != "INVALID_QUERY_LOCATOR" {
			t.Errorf("%d, then %v", len(ids), err)
		}
	})
}

func TestQueryOutlivesWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, sfstreamtest.WithQueryPage(10))
		accounts(l, 35)
		c := l.Start(constant())
		for _, fault := range []sfstreamtest.RESTFault{
			{Path: "/query/", Code: "INVALID_SESSION_ID"}, {Path: "/query/", Status: 503}, {Path: "/query", Times: 3}, {Path: "/query/", Code: "UNABLE_TO_LOCK_ROW"},
			{Path: "/query", Code: "SERVER_UNAVAILABLE", RetryAfter: "5"},
		} {
			l.FailRESTRequest(fault)
			if ids, err := take(t, c.Query(t.Context(), "SELECT Id FROM Account")); err != nil || len(ids) != 35 {
				t.Errorf("%+v: %d, %v", fault, len(ids), err)
			}
		}
	})
}

// TestAPageThatBreaksIsReadAgain: a connection that ends in the middle of an answer.
func TestAPageThatBreaksIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		torn := func(*http.Request) (*http.Response, error) {
			resp := response(200, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"records":[{"Id":"001000000000001AAA"},`), failing{}))
			return resp, nil
		}
		o := newOrg(torn, torn, reply(200, `{"done":true,"records":[{"Id":"001000000000001AAA"},{"Id":"001000000000002AAA"}]}`))
		ids, err := take(t, o.open(t).Query(t.Context(), "SELECT Id FROM Account"))
		if err != nil || len(ids) != 2 || len(o.seen()) != 3 {
			t.Errorf("%v, %v, %d requests", ids, err, len(o.seen()))
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestErrorsOfQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		accounts(l, 1)
		c := l.NewClient()
		_, err := take(t, c.Query(t.Context(), "SELECT Id FROM Account"))
		if !errors.Is(err, sfstream.ErrNotOpen) {
			t.Error(err)
		}
		l.Must(c.Open(t.Context()))
		for soql, reason := range map[string]string{
			"SELECT Id FROM": "MALFORMED_QUERY", "SELECT Nothing FROM Account": "INVALID_FIELD", "SELECT Id FROM Nothing": "INVALID_TYPE", "": "MALFORMED_QUERY",
		} {
			_, err := take(t, c.Query(t.Context(), soql))
			if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Reason != reason || e.API != "rest" {
				t.Errorf("%q: %v", soql, err)
			}
		}
		_, err = take(t, c.Query(t.Context(), "SELECT Id FROM Account WHERE Name = '"+strings.Repeat("x", 17_000)+"'"))
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Invalid || strings.Contains(err.Error(), "xxx") || !strings.Contains(err.Error(), "16,384") {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = take(t, c.Query(ctx, "SELECT Id FROM Account")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		l.Must(c.Close())
		if _, err = take(t, c.Query(t.Context(), "SELECT Id FROM Account")); !errors.Is(err, sfstream.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestTheNextPageIsOfTheInstance: what an answer names is asked of the instance alone.
func TestTheNextPageIsOfTheInstance(t *testing.T) {
	for _, next := range []string{
		"https://evil.example/services/data/v68.0/query/01g", "//evil.example/services/data/v68.0/query/01g", "/secur/logout.jsp", "query/01g", "%zz",
		"/services/data/../../x", "/services/data/v68.0/query?q=SELECT+Id+FROM+Account",
	} {
		o := newOrg(reply(200, fmt.Sprintf(`{"records":[{"Id":"001000000000001AAA"}],"nextRecordsUrl":%q}`, next)))
		ids, err := take(t, o.open(t).Query(t.Context(), "SELECT Id FROM Account"))
		seen := o.seen()
		if err == nil || len(ids) > 2 || len(seen) > 2 {
			t.Errorf("%s: %v, %v", next, ids, err)
		}
		for _, got := range seen {
			if !strings.HasPrefix(got.url, instance+below+"query?q=") {
				t.Errorf("%s: asked %s", next, got.url)
			}
		}
	}
	// What is no JSON is told, and not repeated: a portal has answered.
	o := newOrg(reply(200, "<html><title>Log in to the network</title>"))
	_, err := take(t, o.open(t).Query(t.Context(), "SELECT Id FROM Account"))
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unavailable || !strings.Contains(err.Error(), "Log in to the network") || len(o.seen()) != 1 {
		t.Error(err)
	}
}

// TestNoPageComesTwice: an org, or a cache before it, whose pages lead in a circle.
func TestNoPageComesTwice(t *testing.T) {
	o := &org{at: instance}
	o.answer = func(r *http.Request, n int) (*http.Response, error) {
		if n > 10 {
			return response(200, `{"records":[],"done":true}`), nil
		}
		next := map[string]string{"a": "b", "b": "c", "c": "a"}[path.Base(r.URL.Path)]
		return response(200, fmt.Sprintf(`{"records":[{"Id":%q}],"done":false,"nextRecordsUrl":"/services/data/v68.0/query/%s"}`,
			accountID(n), cmp.Or(next, "a"))), nil
	}
	ids, err := take(t, o.open(t).Query(t.Context(), "SELECT Id FROM Account"))
	if err == nil || len(ids) != 4 || len(o.seen()) != 4 {
		t.Errorf("%d records, %d requests, %v", len(ids), len(o.seen()), err)
	}
}

// TestWhatIsNoPageIsNoEmptyPage: a proxy that answers 200 and some JSON loses no records, and
// deletes none.
func TestWhatIsNoPageIsNoEmptyPage(t *testing.T) {
	change := &sfstream.ChangeEvent{EntityName: "Account", RecordIDs: []string{accountID(1)}}
	overflow := &sfstream.ChangeEvent{EntityName: "Account", Type: sfstream.ChangeGapOverflow, CommitTime: time.Now()}
	for _, body := range []string{"{}", "null", `{"records":null}`, `{"status":"in maintenance"}`} {
		c := newOrg(reply(200, body)).open(t)
		tells := newOrg(reply(200, `{"totalSize":0,"done":true,"records":[]}`), reply(200, body)).open(t)
		for about, records := range map[string]iter.Seq2[*sfstream.Record, error]{
			"query": c.Query(t.Context(), "SELECT Id FROM Account"), "refetch": c.Refetch(t.Context(), change), "deletions": tells.Refetch(t.Context(), overflow),
		} {
			ids, err := take(t, records)
			if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unavailable || len(ids) > 0 {
				t.Errorf("%s of %s: %v, %v", about, body, ids, err)
			}
		}
	}
	// Nor is a page the last one that says it is not.
	torn := newOrg(reply(200, `{"totalSize":2,"done":false,"records":[{"Id":"001000000000001AAA"}]}`)).open(t)
	if ids, err := take(t, torn.Query(t.Context(), "SELECT Id FROM Account")); err == nil || len(ids) != 1 {
		t.Errorf("%v, %v", ids, err)
	}
}

// TestSubqueriesAreComplete: of many children the first ones come in the record, and a path to the
// others.
func TestSubqueriesAreComplete(t *testing.T) {
	pages := map[string]string{
		"": `{"done":true,"records":[
			{"Id":"001000000000001AAA","Contacts": {"totalSize":5,"done":false,"nextRecordsUrl":"` + below + `query/a-2","records":[{"Name":"a"},
				{"Name":"b","Cases":{"done":false,"nextRecordsUrl":"` + below + `query/c-1","records":[{"Id":"500000000000001AAA"}]}}]},
				"Name":"first \"nextRecordsUrl\"","Owner":{"Name":"o"},"Tasks":null},
			{"Id":"001000000000002AAA","Contacts":{"totalSize":1,"done":true,"records":[{"Name":"z"}]}}]}`,
		"a-2": `{"done":false,"nextRecordsUrl":"` + below + `query/a-4","records":[{"Name":"c"},{"Name":"d"}]}`,
		"a-4": `{"done":true,"records":[{"Name":"e"}]}`,
		"c-1": `{"done":true,"records":[{"Id":"500000000000002AAA"}]}`,
	}
	o := newOrg(func(r *http.Request) (*http.Response, error) {
		_, page, _ := strings.Cut(r.URL.Path, "/query/")
		if body, ok := pages[page]; ok {
			return response(200, body), nil
		}
		return refuse(400, "INVALID_QUERY_LOCATOR")(r)
	})
	c := o.open(t)
	var told []string
	for record, err := range c.Query(t.Context(), "SELECT Id, (SELECT Name FROM Contacts) FROM Account") {
		lab.Must(t, err)
		var account struct {
			Name     string
			Contacts struct {
				Size    int `sf:"totalSize"`
				Records []struct {
					Name  string
					Cases struct {
						Records []struct{ Id string } `sf:"records"`
					}
				} `sf:"records"`
			}
		}
		lab.Must(t, record.Decode(&account))
		told = append(told, fmt.Sprint(account))
		if bytes.Contains(record.Raw(), []byte(below)) || !json.Valid(record.Raw()) {
			t.Errorf("%s", record.Raw())
		}
	}
	want := []string{`{first "nextRecordsUrl" {5 [{a {[]}} {b {[{500000000000001AAA} {500000000000002AAA}]}} {c {[]}} {d {[]}} {e {[]}}]}}`, "{ {1 [{z {[]}}]}}"}
	if !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
	// Where they cannot be had the loop gets the error, and not a part of the record.
	delete(pages, "a-4")
	ids, err := take(t, c.Query(t.Context(), "SELECT Id, (SELECT Name FROM Contacts) FROM Account"))
	if e := lab.ExpectError[*sfstream.ServerError](t, err); len(ids) != 0 || e.Reason != "INVALID_QUERY_LOCATOR" {
		t.Errorf("%v, %v", ids, err)
	}
}

// contact takes a change event and a record alike.
type contact struct {
	ID       string `sf:"Id"`
	Name     sfstream.Optional[string]
	Phone    sfstream.Optional[string]
	Fax      sfstream.Optional[string]
	Skills   []string       `sf:"Skills__c"`
	Born     time.Time      `sf:"Birthdate"`
	Modified time.Time      `json:"LastModifiedDate"`
	Millis   int64          `sf:"CreatedDate"`
	Big      int64          `sf:"Big__c"`
	Amount   float64        `sf:"Amount__c"`
	Count    int            `sf:"Count__c"` // Salesforce's Number is a double
	Address  map[string]any `sf:"MailingAddress"`
	Owner    struct{ Name *string }
	Cases    struct {
		Done    bool                       `sf:"done"`
		Records []struct{ Subject string } `sf:"records"`
	}
	Account any
}

const contactJSON = `{"attributes":{"type":"Contact","url":"/services/data/v68.0/sobjects/Contact/003000000000001AAA"},"Id":"003000000000001AAA",
	"Name":"Ann","Phone":null,"Skills__c":"A;B","Birthdate":"1990-02-03","LastModifiedDate":"2026-11-27T10:00:00.000+0000",
	"CreatedDate":"2026-11-27T10:00:00.123+0000","Big__c":9007199254740993,"Amount__c":1.5,"Count__c":3.0,"MailingAddress":{"city":"Ulm","latitude":48.4},
	"Owner":{"attributes":{"type":"User","url":"/x"},"Name":"Bo"},
	"Cases":{"totalSize":1,"done":true,"records":[{"attributes":{"type":"Case"},"Subject":"It's"}]},"Account":null}`

func queryOne(t *testing.T, body string, opts ...sfstream.Option) *sfstream.Record {
	t.Helper()
	o := newOrg(reply(200, `{"done":true,"records":[`+body+`]}`))
	for record, err := range o.open(t, opts...).Query(t.Context(), "x") {
		lab.Must(t, err)
		return record
	}
	t.Fatal("there is none")
	return nil
}

func TestRecordsAreDecodedAsMessages(t *testing.T) {
	record := queryOne(t, contactJSON)
	if record.Object != "Contact" || record.ID != "003000000000001AAA" || record.Deleted {
		t.Errorf("%+v", record)
	}
	var c contact
	c.Account = "before"
	lab.Must(t, record.Decode(&c))
	name, set := c.Name.Get()
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	switch {
	case c.ID != record.ID || name != "Ann" || !set || !c.Phone.IsNull() || !c.Fax.IsZero(),
		!slices.Equal(c.Skills, []string{"A", "B"}), !c.Born.Equal(time.Date(1990, 2, 3, 0, 0, 0, 0, time.UTC)),
		!c.Modified.Equal(at), c.Millis != at.UnixMilli()+123, c.Big != 9007199254740993, c.Amount != 1.5, c.Count != 3,
		c.Address["city"] != "Ulm", c.Owner.Name == nil || *c.Owner.Name != "Bo", !c.Cases.Done, len(c.Cases.Records) != 1 || c.Cases.Records[0].Subject != "It's", c.Account != nil:
		t.Errorf("%+v", c)
	}
	fields, err := record.Fields()
	lab.Must(t, err)
	if fields["Big__c"] != int64(9007199254740993) || fields["CreatedDate"] != "2026-11-27T10:00:00.123Z" || fields["Phone"] != nil || fields["attributes"] != nil {
		t.Errorf("%v", fields)
	}
	var whole any
	into := map[string]any{"mine": 1}
	lab.Must(t, record.Decode(&whole))
	lab.Must(t, record.Decode(into))
	if !reflect.DeepEqual(whole, any(fields)) || into["mine"] != 1 || into["Name"] != "Ann" {
		t.Errorf("%v, %v", whole, into)
	}
	if string(record.Raw()) != contactJSON {
		t.Errorf("raw is %s", record.Raw())
	}

	// An aggregate has no id; an unselected Id is in the URL.
	if r := queryOne(t, `{"attributes":{"type":"AggregateResult"},"expr0":7}`); r.Object != "AggregateResult" || r.ID != "" {
		t.Errorf("%+v", r)
	}
	if r := queryOne(t, `{"attributes":{"type":"Contact","url":"/services/data/v68.0/sobjects/Contact/003000000000001AAA"},"Name":"Ann"}`); r.ID != "003000000000001AAA" {
		t.Errorf("%+v", r)
	}
}

func TestARecordThatDoesNotFit(t *testing.T) {
	record := queryOne(t, contactJSON)
	var bad struct{ Owner struct{ Name int } }
	e := lab.ExpectError[*sfstream.DecodeError](t, record.Decode(&bad))
	if e.Field != "Owner.Name" || !strings.Contains(e.Error(), "record Contact 003000000000001AAA: cannot decode Owner.Name: ") {
		t.Error(e)
	}
	for _, v := range []any{nil, 3, bad, (*contact)(nil), map[string]any(nil)} {
		lab.ExpectError[*sfstream.DecodeError](t, record.Decode(v))
	}
	for _, r := range []*sfstream.Record{new(sfstream.Record), {Object: "Account", ID: "001", Deleted: true}, queryOne(t, "7"), queryOne(t, "[]"), queryOne(t, `"x"`), queryOne(t, "null"), queryOne(t, `{"N":1e999}`)} {
		var into any
		lab.ExpectError[*sfstream.DecodeError](t, r.Decode(&into))
		_, err := r.Fields()
		lab.ExpectError[*sfstream.DecodeError](t, err)
	}
}
