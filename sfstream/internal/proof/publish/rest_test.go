package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// restOrg is a scripted org over REST. Where the script says nothing it publishes.
type restOrg struct {
	t *testing.T

	mu      sync.Mutex
	logins  int
	asked   []string         // GETs, with their queries
	paths   []string         // of POSTs
	batches [][]any          // of POSTs: what is in their lists
	there   []map[string]any // on the channel

	script func(n int, list []any) (*http.Response, error)
	get    func(path string) *http.Response
}

func (o *restOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		o.mu.Lock()
		o.asked = append(o.asked, r.URL.RequestURI())
		o.mu.Unlock()
		if o.get != nil {
			return o.get(r.URL.Path), nil
		}
		return scripted.Body(200, `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"StreamingChannel"},"Id":"0M6000000000001AAA"}]}`), nil
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var body struct {
		AllOrNone  *bool
		Records    []any
		PushEvents []any
	}
	if err := json.Unmarshal(text, &body); err != nil {
		o.t.Errorf("a body is %s: %v", text, err)
	}
	list := append(body.Records, body.PushEvents...)
	if body.PushEvents == nil && (body.AllOrNone == nil || *body.AllOrNone) {
		o.t.Error("all or none")
	}
	o.mu.Lock()
	o.paths, o.batches = append(o.paths, r.URL.Path), append(o.batches, list)
	n, script := len(o.paths), o.script
	o.mu.Unlock()
	if script != nil {
		if resp, err := script(n, list); resp != nil || err != nil {
			return resp, err
		}
	}
	return o.answer(list, nil), nil
}

// answer publishes a list, but for what refuse says of.
func (o *restOrg) answer(list []any, refuse func(record map[string]any) string) *http.Response {
	o.mu.Lock()
	defer o.mu.Unlock()
	results := []any{}
	for _, element := range list {
		record := element.(map[string]any)
		if refuse != nil {
			if code := refuse(record); code != "" {
				results = append(results, map[string]any{"success": false, "errors": []any{map[string]any{"statusCode": code, "message": "no luck", "fields": []string{"Note__c"}}}})
				continue
			}
		}
		o.there = append(o.there, record)
		if _, generic := record["payload"]; generic {
			results = append(results, map[string]any{"fanoutCount": -1, "userOnlineStatus": map[string]bool{}})
			continue
		}
		results = append(results, map[string]any{"id": "e01000000000001AAA", "success": true, "errors": []any{
			map[string]any{"statusCode": "OPERATION_ENQUEUED", "message": fmt.Sprint("uuid-", len(o.there)), "fields": []string{}}}})
	}
	text, err := json.Marshal(results)
	lab.Must(o.t, err)
	return scripted.Body(200, string(text))
}

func (o *restOrg) sizes() (sizes []int) {
	for _, list := range o.batches {
		sizes = append(sizes, len(list))
	}
	return sizes
}

func newRESTOrg(t *testing.T, opts ...sfstream.Option) (*restOrg, *sfstream.Client) {
	o := &restOrg{t: t}
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.logins++
		return &authenticator.Credentials{AccessToken: fmt.Sprintf("SECRET-%d", o.logins), InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA", UserID: user}, nil
	})
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithTransport(sfstream.CometD), sfstream.WithAPIVersion("62.0"), sfstream.WithHTTPClient(&http.Client{Transport: o}),
	}, opts...)...)
	lab.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	lab.Must(t, c.Open(t.Context()))
	return o, c
}

func TestOverRESTManyEventsAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, c := newRESTOrg(t)
		results, err := c.Publish(t.Context(), channel, orders(450)...)
		expectOutcomes(t, results, err, slices.Repeat([]sfstream.Outcome{sfstream.Published}, 450)...)
		if got := o.sizes(); !slices.Equal(got, []int{200, 200, 50}) || o.paths[0] != "/services/data/v62.0/composite/sobjects" {
			t.Errorf("requests had %v events, to %s", got, o.paths[0])
		}
		for i, r := range results {
			if r.ID != fmt.Sprint("uuid-", i+1) || !r.Enqueued || r.ReplayID != nil || o.there[i]["Number__c"] != float64(i) {
				t.Fatalf("event %d has %+v, and the channel %v", i, r, o.there[i])
			}
		}
	})
}

func TestValuesHaveTheFormsOfREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, c := newRESTOrg(t)
		type base struct {
			Number float64 `sf:"Number__c"`
		}
		event := struct {
			base
			Note    sfstream.Optional[string]    `sf:"Note__c"`
			Null    sfstream.Optional[int]       `sf:"Null__c"`
			Unset   sfstream.Optional[time.Time] `sf:"Unset__c"`
			At      sfstream.Optional[time.Time] `sf:"At__c"`
			Skills  []string                     `json:"Skills__c"`
			Nothing *string                      `sf:"Nothing__c"`
			Hidden  string                       `sf:"-"`
			Created time.Time                    `sf:"CreatedDate"`
			By      string                       `sf:"CreatedById"`
		}{base: base{7}, Skills: []string{"go", "avro"}, Hidden: "x", Created: time.Now(), By: "me"}
		event.Note.Set("a <b> & c")
		event.Null.SetNull()
		event.At.Set(time.Date(2026, 1, 2, 4, 4, 5, 6789, time.FixedZone("", 3600)))
		results, err := c.Publish(t.Context(), channel, event, map[string]any{"At__c": "2026-01-02", "Deep": map[string]any{"X": time.Unix(0, 0)}, "N": json.Number("12.50")})
		lab.Must(t, err)
		got, _ := json.Marshal(o.there)
		want := `[{"At__c":"2026-01-02T03:04:05.000Z","Note__c":"a \u003cb\u003e \u0026 c","Nothing__c":null,"Null__c":null,"Number__c":7,"Skills__c":"go;avro","attributes":{"type":"Order__e"}},` +
			`{"At__c":"2026-01-02","Deep":{"X":"1970-01-01T00:00:00.000Z"},"N":12.5,"attributes":{"type":"Order__e"}}]`
		if string(got) != want || len(results) != 2 {
			t.Errorf("the channel has\n%s, want\n%s", got, want)
		}
	})
}

// Over REST no id tells two events apart, so nothing that may be there is sent again.
func TestOverRESTNothingInDoubtIsSentAgain(t *testing.T) {
	page := func(status int, body string) func() (*http.Response, error) {
		return func() (*http.Response, error) { return scripted.Body(status, body), nil }
	}
	said := func(code string) string { return `[{"errorCode":"` + code + `","message":"no luck"}]` }
	for name, row := range map[string]struct {
		answer func() (*http.Response, error)
		want   sfstream.Outcome // of the first request
		tries  int
		logins int
	}{
		"a broken connection": {func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, sfstream.InDoubt, 1, 1},
		"no connection": {func() (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}, sfstream.Published, 2, 1},
		"half an answer":    {page(200, `[{"success":tr`), sfstream.InDoubt, 1, 1},
		"a proxy's 200":     {page(200, `{}`), sfstream.InDoubt, 1, 1},
		"fewer results":     {page(200, `[{"id":"x","success":true,"errors":[]}]`), sfstream.InDoubt, 1, 1},
		"500":               {page(500, said("UNKNOWN_EXCEPTION")), sfstream.InDoubt, 1, 1},
		"502":               {page(502, "<html>"), sfstream.InDoubt, 1, 1},
		"503":               {page(503, said("SERVER_UNAVAILABLE")), sfstream.InDoubt, 1, 1},
		"504":               {page(504, ""), sfstream.InDoubt, 1, 1},
		"an expired token":  {page(401, said("INVALID_SESSION_ID")), sfstream.Published, 2, 2},
		"a limit":           {page(403, said("REQUEST_LIMIT_EXCEEDED")), sfstream.Published, 2, 1},
		"too many requests": {page(429, ""), sfstream.Published, 2, 1},
		"a bad request":     {page(400, said("JSON_PARSER_ERROR")), sfstream.Refused, 1, 1},
		"no such event":     {page(404, said("NOT_FOUND")), sfstream.Refused, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, c := newRESTOrg(t, sfstream.WithInDoubt(sfstream.Resend))
				o.script = func(n int, list []any) (*http.Response, error) {
					if n == 1 {
						return row.answer()
					}
					return nil, nil
				}
				results, err := c.Publish(t.Context(), channel, orders(3)...)
				expectOutcomes(t, results, err, row.want, row.want, row.want)
				if len(o.paths) != row.tries || o.logins != row.logins {
					t.Errorf("%d requests and %d logins, want %d and %d", len(o.paths), o.logins, row.tries, row.logins)
				}
				if row.want != sfstream.Published {
					lab.ExpectError[*sfstream.ServerError](t, err)
				}
				results, err = c.Publish(t.Context(), channel, order{Number: 1})
				expectOutcomes(t, results, err, sfstream.Published)
			})
		})
	}
}

func TestOverRESTRefusedRecordsAloneAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, c := newRESTOrg(t)
		o.script = func(n int, list []any) (*http.Response, error) {
			return o.answer(list, func(record map[string]any) string {
				switch {
				case record["Number__c"] == 1.0 && n < 3:
					return "LIMIT_EXCEEDED"
				case record["Number__c"] == 2.0 && n < 2:
					return "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE"
				case record["Number__c"] == 3.0:
					return "INVALID_FIELD"
				}
				return ""
			}), nil
		}
		results, err := c.Publish(t.Context(), channel, orders(5)...)
		expectOutcomes(t, results, err, sfstream.Published, sfstream.Published, sfstream.Published, sfstream.Refused, sfstream.Published)
		if got := o.sizes(); !slices.Equal(got, []int{5, 2, 1}) || results[1].ID != "uuid-4" {
			t.Errorf("requests had %v events, and event 1 the id %q", got, results[1].ID)
		}
		e := lab.ExpectError[*sfstream.ServerError](t, results[3].Err)
		if e.API != "rest" || e.Reason != "INVALID_FIELD" || e.Code != sfstream.Invalid || !slices.Equal(e.Fields, []string{"Note__c"}) {
			t.Errorf("the error is %+v", e)
		}
	})
}

// Some servers repeat what they were sent.
func TestARefusalOverRESTHasNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, c := newRESTOrg(t)
		o.script = func(int, []any) (*http.Response, error) {
			return scripted.Body(200, `[{"success":false,"errors":[{"statusCode":"INVALID_SECRET-1","message":"no SECRET-1","fields":["SECRET-1"]}]}]`), nil
		}
		results, err := c.Publish(t.Context(), channel, orders(1)...)
		expectOutcomes(t, results, err, sfstream.Refused)
		if text := fmt.Sprintf("%+v", *lab.ExpectError[*sfstream.ServerError](t, results[0].Err)); strings.Contains(text, "SECRET") {
			t.Errorf("the error is %s", text)
		}
	})
}

func TestGenericEventsArePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, c := newRESTOrg(t, sfstream.WithTransport(sfstream.Auto))
		long := strings.Repeat("ä", 3000)
		results, err := c.Publish(t.Context(), "/u/notices", "text", map[string]int{"n": 1}, json.RawMessage(`[1]`), long)
		lab.Must(t, err)
		for i, want := range []string{"text", `{"n":1}`, "[1]", long} {
			if r := results[i]; r.Outcome != sfstream.Published || r.Enqueued || r.ID != "" || o.there[i]["payload"] != want {
				t.Errorf("event %d is %+v, and there is %v", i, r, o.there[i])
			}
		}
		if o.paths[0] != "/services/data/v62.0/sobjects/StreamingChannel/0M6000000000001AAA/push" || len(o.paths) != 1 {
			t.Errorf("it was pushed to %v", o.paths)
		}
		results, err = c.Publish(t.Context(), "/u/notices", "short", long+"x")
		e := lab.ExpectError[*sfstream.EncodeError](t, err)
		if e.Index != 1 || len(o.paths) != 1 || results[0].Outcome != sfstream.NotSent || !strings.Contains(err.Error(), "3001 characters") {
			t.Errorf("a long text is %v", err)
		}
		// The channel is deleted and made anew.
		o.get = func(string) *http.Response { return scripted.Body(200, `{"records":[{"Id":"0M6000000000002AAA"}]}`) }
		o.script = func(n int, _ []any) (*http.Response, error) {
			if n == 2 {
				return scripted.Body(404, `[{"errorCode":"NOT_FOUND","message":"gone"}]`), nil
			}
			return nil, nil
		}
		_, err = c.Publish(t.Context(), "/u/notices", "again")
		lab.Must(t, err)
		if len(o.asked) != 2 || len(o.paths) != 3 || !strings.Contains(o.paths[2], "0M6000000000002AAA") {
			t.Errorf("it asked %v and pushed to %v", o.asked, o.paths)
		}
		o.get = func(string) *http.Response { return scripted.Body(200, `{"records":[]}`) }
		results, err = c.Publish(t.Context(), "/u/others", "again")
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.NotFound || !strings.Contains(e.Remedy(), "StreamingChannel") || results[0].Outcome != sfstream.NotSent {
			t.Errorf("a channel that is not there: %v, %v", results, err)
		}
	})
}
