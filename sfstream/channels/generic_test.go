package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// genericOrg keeps StreamingChannel records, and who is online on all of them.
type genericOrg struct {
	smallOrg
	rows   []map[string]any
	online []string
	pushed []string // payloads
}

func newGenericOrg(names ...string) *genericOrg {
	o := new(genericOrg)
	for _, name := range names {
		o.add(name, nil)
	}
	o.answer = o.serve
	return o
}

func (o *genericOrg) add(name string, description any) (id string) {
	id = fmt.Sprintf("0M6%012dAAA", len(o.rows)+1)
	o.rows = append(o.rows, map[string]any{"Id": id, "Name": name, "Description": description, "IsDynamic": false})
	return id
}

func (o *genericOrg) serve(a asked) (int, any) {
	at := func(test func(row map[string]any) bool) int { return slices.IndexFunc(o.rows, test) }
	id, push := strings.CutSuffix(strings.TrimPrefix(a.path, "sobjects/StreamingChannel/"), "/push")
	byID := at(func(row map[string]any) bool { return row["Id"] == id })
	switch {
	case a.is("GET", "query"):
		_, name, one := strings.Cut(a.query.Get("q"), "WHERE Name = '")
		found := []map[string]any{}
		for _, row := range o.rows { // SOQL does not tell upper and lower case apart
			if !one || strings.EqualFold(row["Name"].(string), strings.TrimSuffix(name, "'")) {
				found = append(found, row)
			}
		}
		return 200, rowsOf(found...)
	case a.is("POST", "sobjects/StreamingChannel") && !push:
		var fields struct{ Name, Description string }
		_ = json.Unmarshal([]byte(a.body), &fields)
		if at(func(row map[string]any) bool { return strings.EqualFold(row["Name"].(string), fields.Name) }) >= 0 {
			return 400, refuses("DUPLICATE_VALUE", "duplicate value found: Name duplicates value on record with id: 0M6")
		}
		return 201, map[string]any{"id": o.add(fields.Name, fields.Description), "success": true, "errors": []any{}}
	case byID < 0:
		return 404, refuses("NOT_FOUND", "The requested resource does not exist")
	case a.method == "DELETE":
		o.rows = slices.Delete(o.rows, byID, byID+1)
		return 204, nil
	case a.method == "GET":
		return 200, map[string]any{"OnlineUserIds": o.online, "ChannelName": o.rows[byID]["Name"]}
	}
	return 200, o.push(a.body)
}

func (o *genericOrg) push(body string) (results []map[string]any) {
	var request struct {
		PushEvents []struct {
			Payload string
			UserIDs *[]string
		}
	}
	if err := json.Unmarshal([]byte(body), &request); err != nil {
		panic(err)
	}
	for _, e := range request.PushEvents {
		o.pushed = append(o.pushed, e.Payload)
		fanout, status := 0, map[string]bool{}
		for _, user := range *e.UserIDs { // which must be there
			status[user] = slices.Contains(o.online, user)
			if status[user] {
				fanout++
			}
		}
		if len(*e.UserIDs) == 0 {
			fanout = -1
		}
		results = append(results, map[string]any{"fanoutCount": fanout, "userOnlineStatus": status})
	}
	return results
}

func TestAGenericChannelIsMadeOnce(t *testing.T) {
	org := newGenericOrg()
	generic := channels.NewGeneric(org.client(t))
	want := channels.GenericChannel{Name: "/u/orders/new_1", Description: "Orders"}

	made, err := generic.Create(t.Context(), want)
	lab.Must(t, err)
	if writes := org.wrote(); len(writes) != 1 || made.ID == "" {
		t.Errorf("made %+v with %v", made, writes)
	}
	again, err := generic.Create(t.Context(), channels.GenericChannel{Name: want.Name, Description: "other"})
	lab.Must(t, err)
	found, err := generic.Find(t.Context(), want.Name)
	lab.Must(t, err)
	if want.ID = made.ID; made != want || again != want || found != want {
		t.Errorf("made %+v, again %+v, found %+v, want %+v", made, again, found, want)
	}
	if writes := org.wrote(); writes != nil {
		t.Errorf("a second Create writes %v", writes)
	}
}

func TestGenericChannelsOfWhichAnotherProgramMakesOneAtTheSameMoment(t *testing.T) {
	const path = "sobjects/StreamingChannel"
	for name, before := range map[string]func(o *genericOrg) func() (int, any, bool){
		"a rival made it": func(o *genericOrg) func() (int, any, bool) {
			return func() (int, any, bool) { o.add("/u/orders", nil); return 0, nil, false }
		},
		"its own answer was lost": func(*genericOrg) func() (int, any, bool) {
			return func() (int, any, bool) { return 0, nil, true }
		},
		"Salesforce fails after it": func(o *genericOrg) func() (int, any, bool) {
			return func() (int, any, bool) {
				o.add("/u/orders", nil)
				return 500, refuses("UNKNOWN_EXCEPTION", "An unexpected error occurred"), false
			}
		},
		"a rival made it and deleted it": func(*genericOrg) func() (int, any, bool) {
			return func() (int, any, bool) { return 400, refuses("DUPLICATE_VALUE", "duplicate value found"), false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			org := newGenericOrg()
			org.before = first("POST", path, before(org))
			channel, err := channels.NewGeneric(org.client(t)).Create(t.Context(), channels.GenericChannel{Name: "/u/orders"})
			lab.Must(t, err)
			if len(org.rows) != 1 || channel.ID != org.rows[0]["Id"] {
				t.Errorf("returned %+v; there are %v", channel, org.rows)
			}
		})
	}
}

func TestGenericChannelsThatSalesforceDoesNotMake(t *testing.T) {
	org := newGenericOrg("/u/Orders")
	generic := channels.NewGeneric(org.client(t))

	_, err := generic.Create(t.Context(), channels.GenericChannel{Name: "/u/orders"})
	if says(t, err, "/u/orders", "/u/Orders", "case"); org.wrote() != nil {
		t.Error("it was tried all the same")
	}
	_, err = generic.Find(t.Context(), "/u/orders")
	if says(t, err, "/u/Orders"); !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("found: %v", err)
	}

	org.before = first("POST", "sobjects/StreamingChannel", func() (int, any, bool) {
		return 400, refuses("LIMIT_EXCEEDED", "The limit of streaming channels is reached"), false
	})
	_, err = generic.Create(t.Context(), channels.GenericChannel{Name: "/u/more"})
	says(t, err, "/u/more", "limit of streaming channels")
	if server, ok := errors.AsType[*sfstream.ServerError](err); !ok || server.Reason != "LIMIT_EXCEEDED" {
		t.Errorf("not the server's error: %v", err)
	}
	if writes := org.wrote(); len(writes) != 1 {
		t.Errorf("a refusal is followed by %v", writes)
	}

	org.before = func(a asked) (int, any, bool) {
		if a.method == http.MethodPost {
			return 400, refuses("DUPLICATE_VALUE", "duplicate value found"), false
		}
		return 0, nil, false
	}
	_, err = generic.Create(t.Context(), channels.GenericChannel{Name: "/u/hidden"}) // which the user may not see
	if says(t, err, "duplicate"); len(org.wrote()) != 4 {
		t.Error("it is not given up after four rounds")
	}
}

func TestGenericChannelsAreListedAndDeleted(t *testing.T) {
	org := newGenericOrg("/u/a", "/u/b")
	generic := channels.NewGeneric(org.client(t))
	list, err := generic.List(t.Context())
	lab.Must(t, err)
	if len(list) != 2 || list[0].Name != "/u/a" || list[0].ID == "" || list[0].Description != "" {
		t.Errorf("listed %+v", list)
	}
	lab.Must(t, generic.Delete(t.Context(), "/u/a"))
	err = generic.Delete(t.Context(), "/u/a")
	if says(t, err, "/u/a"); !errors.Is(err, channels.ErrNotFound) || len(org.rows) != 1 {
		t.Errorf("deleted again: %v", err)
	}
	org.before = first("DELETE", "sobjects/StreamingChannel/"+list[1].ID, func() (int, any, bool) { org.rows = nil; return 0, nil, false })
	lab.Must(t, generic.Delete(t.Context(), "/u/b")) // a rival deletes it
}

func TestPushTellsWhoWasReached(t *testing.T) {
	const here, away, short = "0058c00000ABCDEAAW", "0058c00000FGHIJAAW", "0058c00000ABCDE"
	org := newGenericOrg("/u/orders")
	org.online = []string{here}
	generic := channels.NewGeneric(org.client(t))

	results, err := generic.Push(t.Context(), "/u/orders",
		channels.PushEvent{Payload: "for all"}, channels.PushEvent{Payload: "<for two> & \"", UserIDs: []string{here, away}})
	lab.Must(t, err)
	want := []channels.PushResult{
		{Outcome: sfstream.Published, FanoutCount: -1, Online: map[string]bool{}},
		{Outcome: sfstream.Published, FanoutCount: 1, Online: map[string]bool{here: true, away: false}},
	}
	if !reflect.DeepEqual(results, want) || !slices.Equal(org.pushed, []string{"for all", "<for two> & \""}) {
		t.Errorf("results %+v, pushed %q", results, org.pushed)
	}
	if online, err := generic.Online(t.Context(), "/u/orders"); err != nil || !slices.Equal(online, []string{here}) {
		t.Errorf("online: %v %v", online, err)
	}
	if queries := countQueries(org.took()); queries != 1 {
		t.Errorf("asked %d times for the record", queries)
	}

	org.before = first("POST", "sobjects/StreamingChannel/"+org.rows[0]["Id"].(string)+"/push", func() (int, any, bool) {
		return 200, []map[string]any{{"fanoutCount": 1, "userOnlineStatus": map[string]bool{here: true}}}, false
	})
	results, err = generic.Push(t.Context(), "/u/orders", channels.PushEvent{Payload: "x", UserIDs: []string{short}})
	if lab.Must(t, err); !results[0].Online[short] {
		t.Errorf("an id of 15 characters is not found among those of 18: %+v", results)
	}
	if results, err := generic.Push(t.Context(), "/u/orders"); err != nil || len(results) != 0 {
		t.Errorf("nothing to push: %v %v", results, err)
	}
}

func countQueries(all []asked) (n int) {
	for _, a := range all {
		if a.path == "query" {
			n++
		}
	}
	return n
}

func TestPushFindsAChannelThatWasMadeAnew(t *testing.T) {
	org := newGenericOrg("/u/orders")
	generic := channels.NewGeneric(org.client(t))
	push := func() error {
		_, err := generic.Push(t.Context(), "/u/orders", channels.PushEvent{Payload: "x"})
		return err
	}
	lab.Must(t, push())
	org.rows = nil
	if err := push(); !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("no channel: %v", err)
	}
	org.rows = []map[string]any{{"Id": "0M6000000000077AAA", "Name": "/u/orders", "Description": nil, "IsDynamic": true}}
	lab.Must(t, push())
	org.rows[0]["Id"] = "0M6000000000078AAA"
	lab.Must(t, push())
	if len(org.pushed) != 3 {
		t.Errorf("pushed %d times", len(org.pushed))
	}
}

func TestPushGoesInRequests(t *testing.T) {
	org := newGenericOrg("/u/orders")
	generic := channels.NewGeneric(org.client(t))
	users := slices.Repeat([]string{"0058c00000ABCDEAAW"}, 80_000) // 1.7 MB
	events := slices.Repeat([]channels.PushEvent{{Payload: "x"}}, 401)
	events = append(events, channels.PushEvent{UserIDs: users}, channels.PushEvent{UserIDs: users})
	results, err := generic.Push(t.Context(), "/u/orders", events...)
	if lab.Must(t, err); len(results) != len(events) {
		t.Errorf("%d results", len(results))
	}
	if posts := org.wrote(); len(posts) != 4 || len(org.pushed) != len(events) { // 200, 200, 2, 1
		t.Errorf("%d events in %d requests", len(org.pushed), len(posts))
	}
}

func TestPushesOfWhichTheAnswerIsLostAreInDoubt(t *testing.T) {
	const secret = "planted-payload"
	for name, c := range map[string]struct {
		status  int
		reply   any
		lose    bool
		outcome sfstream.Outcome
		words   string
	}{
		"the connection broke":        {lose: true, outcome: sfstream.InDoubt, words: "may have been received"},
		"a proxy's error":             {status: 502, reply: "<html><title>Bad Gateway</title>", outcome: sfstream.InDoubt, words: "may have been received"},
		"a server's error":            {status: 500, reply: refuses("UNKNOWN_EXCEPTION", "unexpected"), outcome: sfstream.InDoubt, words: "may have been received"},
		"an answer that is none":      {status: 200, reply: "<html>", outcome: sfstream.InDoubt, words: "may have been received"},
		"an answer with few results":  {status: 200, reply: []any{}, outcome: sfstream.InDoubt, words: "may have been received"},
		"a refusal":                   {status: 400, reply: refuses("INVALID_FIELD", "no such user"), outcome: sfstream.Refused, words: "refused"},
		"no permission":               {status: 403, reply: refuses("INSUFFICIENT_ACCESS_OR_READONLY", "no"), outcome: sfstream.Refused, words: "refused"},
		"a record that others change": {status: 400, reply: refuses("UNABLE_TO_LOCK_ROW", "no"), outcome: sfstream.Refused, words: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			org := newGenericOrg("/u/orders")
			generic := channels.NewGeneric(org.client(t))
			posts := 0
			org.before = func(a asked) (int, any, bool) {
				if a.method != http.MethodPost {
					return 0, nil, false
				}
				if posts++; posts == 1 {
					return 0, nil, false
				}
				return c.status, c.reply, c.lose
			}
			events := slices.Repeat([]channels.PushEvent{{Payload: secret, UserIDs: []string{"0058c00000ABCDE"}}}, 600)
			results, err := generic.Push(t.Context(), "/u/orders", events...)
			says(t, err, "/u/orders", "events 200 to 399 of 600", c.words, "those after them not sent")
			showsNothing(t, err, secret)
			if len(results) != 600 || results[199].Outcome != sfstream.Published || results[200].Outcome != c.outcome ||
				results[399].Outcome != c.outcome || results[400].Outcome != sfstream.NotSent {
				t.Errorf("%d results: %v %v %v", len(results), results[199].Outcome, results[200].Outcome, results[400].Outcome)
			}
			if posts < 2 || c.outcome == sfstream.InDoubt && posts != 2 {
				t.Errorf("%d requests: what is in doubt was sent again", posts)
			}
		})
	}
}

func TestAPayloadThatSalesforceRepeatsIsNotShown(t *testing.T) {
	const secret = "the planted payload of a person, \"Ann\""
	org := newGenericOrg("/u/orders")
	generic := channels.NewGeneric(org.client(t))
	for name, said := range map[string]func(body string) string{
		"the value": func(string) string { return "bad: " + secret + "!" },
		"the body":  func(body string) string { return "bad: " + body },
		"a part":    func(body string) string { return "bad: …" + body[30:60] },
	} {
		org.before = func(a asked) (int, any, bool) {
			if a.method == http.MethodPost {
				return 400, refuses("INVALID_FIELD", said(a.body)), false
			}
			return 0, nil, false
		}
		_, err := generic.Push(t.Context(), "/u/orders", channels.PushEvent{Payload: "x"}, channels.PushEvent{Payload: secret})
		says(t, err, "/u/orders", "events 0 to 1 of 2 refused", "bad: ")
		showsNothing(t, err, "planted", "person", "Ann")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestPushesThatAreNotSent(t *testing.T) {
	org := newGenericOrg("/u/orders")
	client := org.client(t)
	generic := channels.NewGeneric(client)
	event := channels.PushEvent{Payload: "x"}
	ended, end := context.WithCancel(t.Context())
	end()
	results, err := generic.Push(ended, "/u/orders", event)
	if says(t, err, "/u/orders", "event 0 of 1 not sent"); !errors.Is(err, context.Canceled) || results[0].Outcome != sfstream.NotSent {
		t.Errorf("%v %v", results, err)
	}
	results, err = generic.Push(t.Context(), "/u/other", event)
	if says(t, err, "/u/other"); !errors.Is(err, channels.ErrNotFound) || results[0].Outcome != sfstream.NotSent {
		t.Errorf("%v %v", results, err)
	}
	if _, err = generic.Online(t.Context(), "/u/orders"); err != nil { // so that its id is known
		t.Errorf("Online: %v", err)
	}
	lab.Must(t, client.Close())
	if results, err = generic.Push(t.Context(), "/u/orders", event); !errors.Is(err, sfstream.ErrClosed) || results[0].Outcome != sfstream.NotSent {
		t.Errorf("%v %v", results, err)
	}
	if org.pushed != nil {
		t.Errorf("pushed %q", org.pushed)
	}
}

func TestWhatNoGenericChannelCanBeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	const secret = "planted-payload"
	org := newGenericOrg("/u/orders")
	generic := channels.NewGeneric(org.client(t))
	ctx := t.Context()
	create := func(name, description string) func() error {
		return func() error {
			_, err := generic.Create(ctx, channels.GenericChannel{Name: name, Description: description})
			return err
		}
	}
	push := func(events ...channels.PushEvent) func() error {
		return func() error { _, err := generic.Push(ctx, "/u/orders", events...); return err }
	}
	for words, do := range map[string]func() error{
		`""`:                             create("", ""),
		`"orders"`:                       create("orders", ""),
		`"/topic/orders"`:                create("/topic/orders", ""),
		`"/u/"`:                          create("/u/", ""),
		`"/u/orders/"`:                   create("/u/orders/", ""),
		`"/u/new orders"`:                create("/u/new orders", ""),
		`"/u/orders'; x"`:                create("/u/orders'; x", ""),
		`"/u/é"`:                         create("/u/é", ""),
		`"/u/*"`:                         func() error { _, err := generic.Find(ctx, "/u/*"); return err },
		`"/u/**"`:                        func() error { return generic.Delete(ctx, "/u/**") },
		`"/u/x?y"`:                       func() error { _, err := generic.Online(ctx, "/u/x?y"); return err },
		"81 characters":                  create("/u/"+strings.Repeat("a", 78), ""),
		`é": it is /u/ and a name of`:    create("/u/"+strings.Repeat("é", 77), ""),
		"Description has 256":            create("/u/orders", strings.Repeat("é", 256)),
		"event 1: its payload has 3001":  push(channels.PushEvent{}, channels.PushEvent{Payload: strings.Repeat("é", 3001-len(secret)) + secret}),
		"event 0: its payload is not":    push(channels.PushEvent{Payload: secret + "\xff"}),
		`event 0: user id "005"`:         push(channels.PushEvent{UserIDs: []string{"005"}}),
		`user id "0058c00000ABCDEaa9"`:   push(channels.PushEvent{UserIDs: []string{"0058c00000ABCDEaa9"}}),
		`user id "ann@example.com"`:      push(channels.PushEvent{UserIDs: []string{"0058c00000ABCDE", "ann@example.com"}}),
		`generic channel "/u/orders/x/"`: func() error { _, err := generic.Push(ctx, "/u/orders/x/"); return err },
		"no client":                      func() error { _, err := channels.NewGeneric(nil).List(ctx); return err },
	} {
		err := do()
		if says(t, err, words); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", words, err)
		}
		showsNothing(t, err, secret)
	}
	if got := org.took(); got != nil {
		t.Errorf("sent %v", got)
	}
	lab.Must(t, create("/u/"+strings.Repeat("a", 77), strings.Repeat("é", 255))())
	lab.Must(t, push(channels.PushEvent{Payload: strings.Repeat("é", 3000), UserIDs: []string{"0058c00000ABCDE", "0058c00000ABCDEAAW"}})())
}
