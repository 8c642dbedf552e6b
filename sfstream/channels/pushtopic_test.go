package channels_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

var accounts = channels.PushTopic{Name: "Accts", Query: "SELECT Id, Name FROM Account WHERE Name = 'Müller'"}

// expectWrites fails the test unless these were the requests that change something.
func expectWrites(t *testing.T, o *topicOrg, want ...string) {
	t.Helper()
	var got []string
	for _, a := range o.took() {
		if a.method != http.MethodGet {
			got = append(got, strings.TrimSpace(a.String()+" "+a.body))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the writes were\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDeclareWritesOnlyWhatDiffers(t *testing.T) {
	o, log := newTopicOrg(), new(lab.Log)
	topics := channels.NewPushTopics(o.client(t, sfstream.WithLogger(log.Logger())))
	made, err := topics.Declare(t.Context(), accounts)
	lab.Must(t, err)
	want := accounts
	want.ID, want.APIVersion, want.NotifyForFields = "0IF000000000001AAA", "68.0", channels.Referenced
	want.Operations = channels.Create | channels.Update | channels.Delete | channels.Undelete
	if made != want || made.Channel() != "/topic/Accts" {
		t.Errorf("made %+v, want %+v", made, want)
	}
	expectWrites(t, o, `POST sobjects/PushTopic {"ApiVersion":68.0,"IsActive":true,"Name":"Accts","NotifyForOperationCreate":true,`+
		`"NotifyForOperationDelete":true,"NotifyForOperationUndelete":true,"NotifyForOperationUpdate":true,"Query":"SELECT Id, Name FROM Account WHERE Name = 'Müller'"}`)

	for _, same := range []channels.PushTopic{accounts, made, {Name: "Accts", Query: "  " + accounts.Query + "\n"}} {
		again, err := topics.Declare(t.Context(), same)
		lab.Must(t, err)
		if again != made {
			t.Errorf("declared again it is %+v, want %+v", again, made)
		}
	}
	expectWrites(t, o)

	const at = "PATCH sobjects/PushTopic/0IF000000000001AAA "
	for _, row := range []struct {
		change func(*channels.PushTopic)
		want   string
	}{
		{func(p *channels.PushTopic) { p.Query = "SELECT Id FROM Account" }, `{"Query":"SELECT Id FROM Account"}`},
		{func(p *channels.PushTopic) { p.Description = "of Müller" }, `{"Description":"of Müller"}`},
		{func(p *channels.PushTopic) { p.APIVersion = "60.0" }, `{"ApiVersion":60.0}`},
		{func(p *channels.PushTopic) { p.Inactive = true }, `{"IsActive":false}`},
		{func(p *channels.PushTopic) { p.NotifyForFields = channels.All }, `{"NotifyForFields":"All"}`},
		{func(p *channels.PushTopic) { p.Operations = channels.Create | channels.Undelete }, `{"NotifyForOperationDelete":false,"NotifyForOperationUpdate":false}`},
	} {
		changed := made
		row.change(&changed)
		got, err := topics.Declare(t.Context(), changed)
		lab.Must(t, err)
		if got != changed {
			t.Errorf("got %+v, want %+v", got, changed)
		}
		expectWrites(t, o, at+row.want)
		made = changed
	}

	// What is not said stays; which operations and whether it is active is always said.
	got, err := topics.Declare(t.Context(), accounts)
	lab.Must(t, err)
	made.Query, made.Inactive, made.Operations = accounts.Query, false, want.Operations
	if got != made {
		t.Errorf("got %+v, want %+v", got, made)
	}
	if n := log.Count("PushTopic declared"); n != 8 { // one that is made, and seven changes
		t.Errorf("the log tells of %d changes:\n%s", n, log)
	}
	lab.Contains(t, log.String(), "pushtopic=Accts new=true", "new=false changed=NotifyForOperationDelete,NotifyForOperationUpdate")
	if n := log.Count(`level=WARN msg="PushTopic declared"`); n != 2 { // other replicas may follow the topic for the query that it had
		t.Errorf("the log warns of %d other queries, want 2:\n%s", n, log)
	}
	expectWrites(t, o, at+`{"IsActive":true,"NotifyForOperationDelete":true,"NotifyForOperationUpdate":true,"Query":"SELECT Id, Name FROM Account WHERE Name = 'Müller'"}`)
}

func TestDeclareReadsBackWhatTheOrgMakesOfIt(t *testing.T) {
	o := newTopicOrg()
	o.before = func(a asked) (status int, reply any, lose bool) {
		if a.method == http.MethodPost {
			status, reply = o.serve(a)
			o.topics[0]["Query"], o.topics[0]["NotifyForOperationCreate"] = "SELECT Id FROM Account", nil
		}
		return status, reply, false
	}
	got, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), accounts)
	lab.Must(t, err)
	if got.Query != "SELECT Id FROM Account" || got.Operations != channels.Update|channels.Delete|channels.Undelete {
		t.Errorf("got %+v, want it as it is", got)
	}
	if n := len(o.wrote()); n != 1 {
		t.Errorf("%d writes, want one: an org that rewrites a query is not written to for ever", n)
	}
}

func TestATopicThatWasReadCanBeDeclaredAsItIs(t *testing.T) {
	o := newTopicOrg()
	o.rival("Silent", "SELECT Id FROM Account")
	for _, operation := range []string{"Create", "Update", "Delete", "Undelete"} {
		o.topics[0]["NotifyForOperation"+operation] = false
	}
	topics := channels.NewPushTopics(o.client(t))
	silent, err := topics.Get(t.Context(), "Silent")
	lab.Must(t, err)
	if again, err := topics.Declare(t.Context(), silent); err != nil || again != silent {
		t.Errorf("got %+v, %v, want %+v", again, err, silent)
	}
	expectWrites(t, o)
	silent.Description = "no events"
	_, err = topics.Declare(t.Context(), silent)
	lab.Must(t, err)
	expectWrites(t, o, `PATCH sobjects/PushTopic/0IF000000000001AAA {"Description":"no events"}`)
}

func TestReplicasThatDeclareAtOnceMakeOneTopic(t *testing.T) {
	o := newTopicOrg()
	// All of them have looked before the first one makes it.
	const replicas = 10
	var looked sync.WaitGroup
	looked.Add(replicas)
	errs := make(chan error, replicas)
	for range replicas {
		first := true
		client := openOver(t, lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := o.RoundTrip(r)
			if first && strings.HasSuffix(r.URL.Path, "/query") {
				first = false
				looked.Done()
				looked.Wait()
			}
			return answer, err
		}))
		go func() {
			got, err := channels.NewPushTopics(client).Declare(t.Context(), accounts)
			if err == nil && got.ID != "0IF000000000001AAA" {
				err = fmt.Errorf("got %+v", got)
			}
			errs <- err
		}()
	}
	for range replicas {
		lab.Must(t, <-errs)
	}
	o.one(t)
	writes := o.wrote()
	if len(writes) != replicas || slices.ContainsFunc(writes, func(w string) bool { return !strings.HasPrefix(w, "POST ") }) {
		t.Errorf("the writes were %v, want a POST of each and no PATCH", writes)
	}
}

func TestARaceWithAnotherEndsInTheDeclaredTopic(t *testing.T) {
	const theirs = "SELECT Id FROM Contact"
	for name, row := range map[string]struct {
		there  bool
		before map[string]func(o *topicOrg) // once before the first request with a method after the first look
	}{
		"made before the POST": {false, map[string]func(*topicOrg){
			http.MethodPost: func(o *topicOrg) { o.rival("Accts", theirs) },
		}},
		"made before the POST, and deleted": {false, map[string]func(*topicOrg){
			http.MethodPost: func(o *topicOrg) { o.rival("Accts", theirs) },
			http.MethodGet:  (*topicOrg).clear,
		}},
		"made before the POST, and deleted before the PATCH": {false, map[string]func(*topicOrg){
			http.MethodPost:  func(o *topicOrg) { o.rival("Accts", theirs) },
			http.MethodPatch: (*topicOrg).clear,
		}},
		"deleted before the PATCH": {true, map[string]func(*topicOrg){http.MethodPatch: (*topicOrg).clear}},
		"deleted and made anew before the PATCH": {true, map[string]func(*topicOrg){
			http.MethodPatch: func(o *topicOrg) { o.clear(); o.rival("Accts", theirs) },
		}},
		"changed in something else before the PATCH": {true, map[string]func(*topicOrg){
			http.MethodPatch: func(o *topicOrg) { o.topics[0]["IsActive"] = false },
		}},
		"deleted after it was declared": {true, map[string]func(*topicOrg){http.MethodGet: (*topicOrg).clear}},
	} {
		t.Run(name, func(t *testing.T) {
			o, looked := newTopicOrg(), false
			if row.there {
				o.rival("Accts", theirs)
			}
			o.before = func(a asked) (int, any, bool) {
				if act := row.before[a.method]; looked && act != nil {
					act(o)
					row.before[a.method] = nil
				}
				looked = true
				return 0, nil, false
			}
			got, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), accounts)
			lab.Must(t, err)
			if there := o.one(t); got.Query != accounts.Query || there["Query"] != accounts.Query || got.Inactive || got.ID != there["Id"] {
				t.Errorf("got %+v, and there is %v", got, there)
			}
		})
	}
}

func TestDeclareGivesUpWhereOthersNeverEnd(t *testing.T) {
	o := newTopicOrg()
	o.before = func(a asked) (int, any, bool) {
		o.clear()
		if a.method == http.MethodPost {
			o.rival("Accts", "SELECT Id FROM Contact")
		}
		return 0, nil, false
	}
	_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), accounts)
	server := lab.ExpectError[*sfstream.ServerError](t, err)
	lab.Contains(t, err.Error(), "PushTopic Accts", "the user does not see it", "duplicate value found")
	if n := len(o.wrote()); server.Reason != "DUPLICATE_VALUE" || n > 4 {
		t.Errorf("%v after %d writes", err, n)
	}
}

func TestAnAnswerThatIsLostLeavesTheTopicAsDeclared(t *testing.T) {
	type answer struct {
		status int
		reply  any
		lose   bool
	}
	lost, cut, broken, gateway := answer{500, nil, true}, answer{201, `{"id":"0IF`, false}, answer{200, torn(`{"records":[`), false}, answer{504, "<html>", false}
	for name, row := range map[string]struct {
		method string
		answer answer
		done   bool
	}{
		"POST, done":          {http.MethodPost, lost, true},
		"POST, not done":      {http.MethodPost, lost, false},
		"POST, answer cut":    {http.MethodPost, cut, true},
		"GET, answer breaks":  {http.MethodGet, broken, true},
		"POST, answer breaks": {http.MethodPost, broken, true},
		"POST, gateway":       {http.MethodPost, gateway, true},
		"POST, gateway, not":  {http.MethodPost, gateway, false},
		"PATCH, done":         {http.MethodPatch, lost, true},
		"PATCH, not done":     {http.MethodPatch, lost, false},
		"PATCH, gateway, not": {http.MethodPatch, gateway, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, losses := newTopicOrg(), 0
				if row.method == http.MethodPatch {
					o.rival("Accts", "SELECT Id FROM Contact")
				}
				o.before = func(a asked) (int, any, bool) {
					if a.method != row.method || losses > 0 {
						return 0, nil, false
					}
					losses++
					if row.done {
						o.serve(a)
					}
					return row.answer.status, row.answer.reply, row.answer.lose
				}
				log := new(lab.Log)
				got, err := channels.NewPushTopics(o.client(t, sfstream.WithLogger(log.Logger()))).Declare(t.Context(), accounts)
				lab.Must(t, err)
				if there := o.one(t); got.Query != accounts.Query || there["Query"] != accounts.Query || losses != 1 {
					t.Errorf("got %+v, there is %v, %d answers lost", got, there, losses)
				}
				if n := log.Count(`"PushTopic declared"`); n != 1 {
					t.Errorf("it is told %d times", n)
				}
			})
		})
	}
}

func TestAQueryThatIsRefusedIsNotSentAgain(t *testing.T) {
	for _, code := range []string{"INVALID_TYPE", "INVALID_FIELD", "MALFORMED_QUERY", "NOT_FOUND", "LIMIT_EXCEEDED"} {
		for _, method := range []string{http.MethodPost, http.MethodPatch} {
			o := newTopicOrg()
			if method == http.MethodPatch {
				if code == "NOT_FOUND" {
					continue // deleted meanwhile: see above
				}
				o.rival("Accts", "SELECT Id FROM Contact")
			}
			o.before = always(method, 400, refuses(code, "said about it"))
			_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), accounts)
			if server := lab.ExpectError[*sfstream.ServerError](t, err); server.Reason != code || len(o.wrote()) != 1 || strings.Contains(err.Error(), "others") {
				t.Errorf("%s of a %s: %v", code, method, err)
			}
		}
	}
}

func TestDeclareGivesUpWhereNoAnswerComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newTopicOrg()
		o.before = always(http.MethodPost, 504, "<html>")
		_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), accounts)
		server := lab.ExpectError[*sfstream.ServerError](t, err)
		if n := len(o.wrote()); server.Code != sfstream.Unavailable || n > 4 || strings.Contains(err.Error(), "others") {
			t.Errorf("%v after %d writes", err, n)
		}
	})
}

func TestNamesThatDifferInCaseAreNotOneChannel(t *testing.T) {
	o := newTopicOrg()
	o.rival("ACCTS", "SELECT Id FROM Account")
	topics := channels.NewPushTopics(o.client(t))
	_, err := topics.Get(t.Context(), "Accts")
	if !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
	lab.Contains(t, err.Error(), "PushTopic Accts", "there is ACCTS")
	_, err = topics.Declare(t.Context(), accounts)
	lab.ExpectError[*sfstream.ServerError](t, err)
	lab.Contains(t, err.Error(), "PushTopic Accts", "there is ACCTS")
	if there := o.one(t); there["Name"] != "ACCTS" || there["Query"] != "SELECT Id FROM Account" {
		t.Errorf("another's topic is %v", there)
	}
}

func TestWhatNoPushTopicCanBeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	const fine = "SELECT Id FROM Account"
	o := newTopicOrg()
	topics := channels.NewPushTopics(o.client(t))
	sent := len(o.got)
	for _, row := range []struct {
		topic channels.PushTopic
		want  string
	}{
		{channels.PushTopic{Query: fine}, "no Name"},
		{channels.PushTopic{Name: strings.Repeat("n", 26), Query: fine}, "26 characters, and Salesforce takes 25"},
		{channels.PushTopic{Name: "/topic/Accts", Query: fine}, `without /topic/, as in "Accts"`},
		{channels.PushTopic{Name: "a b", Query: fine}, "characters that no channel may have"},
		{channels.PushTopic{Name: "a?Name='x'", Query: fine}, "characters that no channel may have"},
		{channels.PushTopic{Name: "Accts"}, "no Query"},
		{channels.PushTopic{Name: "Accts", Query: fine + " WHERE Name = '" + strings.Repeat("ü", 1300) + "'"}, "characters, and Salesforce takes 1300"},
		{channels.PushTopic{Name: "Accts", Query: "SELECT Name, AccountId FROM Contact"}, "does not select Id"},
		{channels.PushTopic{Name: "Accts", Query: "DELETE FROM Contact"}, "not of the form"},
		{channels.PushTopic{Name: "Accts", Query: fine, Description: strings.Repeat("d", 401)}, "401 characters, and Salesforce takes 400"},
		{channels.PushTopic{Name: "Accts", Query: fine, APIVersion: "20.0"}, "21.0 or later"},
		{channels.PushTopic{Name: "Accts", Query: fine, APIVersion: "latest"}, "a form such as 62.0"},
		{channels.PushTopic{Name: "Accts", Query: fine, NotifyForFields: "all"}, "want All, Referenced, Select or Where"},
		{channels.PushTopic{Name: "Accts", Query: fine + " WHERE Name != null", NotifyForFields: channels.Select}, "NotifyForFields is Select, and its Query has no such field beside Id"},
		{channels.PushTopic{Name: "Accts", Query: "SELECT Id, Name FROM Account", NotifyForFields: channels.Where}, "NotifyForFields is Where"},
		{channels.PushTopic{Name: "Accts", Query: fine, Operations: 64}, "want Create, Update, Delete and Undelete"},
	} {
		_, err := topics.Declare(t.Context(), row.topic)
		if !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%+v: %v, want ErrInvalidOption", row.topic, err)
			continue
		}
		lab.Contains(t, err.Error(), "PushTopic", row.topic.Name[:min(len(row.topic.Name), 100)], row.want)
	}
	if _, err := topics.Get(t.Context(), "a/b"); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("Get: %v", err)
	}
	if err := topics.Delete(t.Context(), ""); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("Delete: %v", err)
	}
	if len(o.got) != sent {
		t.Errorf("%d requests were sent", len(o.got)-sent)
	}
	longest := channels.PushTopic{
		Name: strings.Repeat("n", 25), Description: strings.Repeat("ü", 400),
		Query: fine + " WHERE Name='" + strings.Repeat("ü", 1300-len(fine)-len(" WHERE Name=''")) + "'",
	}
	_, err := topics.Declare(t.Context(), longest)
	lab.Must(t, err)
	for _, query := range []string{"select id from Account", "SELECT\n\tName ,\n\tID\nFROM\n\tAccount"} {
		_, err := topics.Declare(t.Context(), channels.PushTopic{Name: "Accts", Query: query})
		lab.Must(t, err)
	}
}

func TestARefusalNamesTheTopicAndShowsNoValueOfItsQuery(t *testing.T) {
	const person = "erika.mustermann@example.com"
	topic := channels.PushTopic{Name: "Person", Query: "SELECT Id FROM Contact WHERE Email = '" + person + "' AND Nmae = 'O\\'Hara'"}
	for _, message := range []string{
		"\nSELECT Id FROM Contact WHERE Email = '" + person + "' AND Nmae = 'O\\'Hara'\n   ^\nERROR at Row:1:Column:57\nNo such column 'Nmae' on entity 'Contact'",
		"Email = '" + person[:12] + "\n  ^\nNo such column 'Nmae' on entity 'Contact'",
		"No such column 'Nmae' on entity 'Contact' in: Email = '" + person[:12],
		person[8:] + "' AND Nmae\n  ^\nNo such column 'Nmae' on entity 'Contact'",
	} {
		o := newTopicOrg()
		o.before = always(http.MethodPost, 400, refuses("INVALID_FIELD", message))
		_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), topic)
		server := lab.ExpectError[*sfstream.ServerError](t, err)
		lab.Contains(t, err.Error(), "PushTopic Person", "No such column 'Nmae' on entity 'Contact'")
		for _, part := range []string{person, "mustermann", "erika", "example.com", "Hara", plantedToken} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q shows %q", err, part)
			}
		}
		if server.Message != message || len(o.wrote()) != 1 {
			t.Errorf("Salesforce's answer is %q, want it whole and not asked for again", server.Message)
		}
	}
}

// A query that cannot be understood mostly has a quote within a value, and numbers and dates have none.
func TestARefusalShowsNoValueThatHasNoQuotes(t *testing.T) {
	for _, where := range []string{
		"WHERE Nmae = 'O'Hara-Mustermann'",
		"WHERE Nmae LIKE \"Hara\" AND SSN__c = 078051120",
		"WHERE SSN__c IN (078051120, 078051121) AND Birthdate < 1971-12-03",
	} {
		o := newTopicOrg()
		o.before = always(http.MethodPost, 400, refuses("MALFORMED_QUERY", "ontact "+where+"\n   ^\nERROR at Row:1:Column:57\nunexpected token: 'Hara-Mustermann' near '51120' at Contact"))
		_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), channels.PushTopic{Name: "Person", Query: "SELECT Id FROM Contact " + where})
		field, _, _ := strings.Cut(where, " ")
		lab.Contains(t, err.Error(), "ontact "+field, "ERROR at Row:1:Column:57 unexpected token", "at Contact")
		shown, _, _ := strings.Cut(err.Error(), "unexpected token")
		for _, part := range []string{"Hara", "Mustermann", "0780", "1971"} {
			if strings.Contains(shown, part) {
				t.Errorf("%q shows %q", err, part)
			}
		}
	}
}

// A value that is a letter, or a word of the message, hides no more than itself in quotes.
func TestARefusalCanBeReadWhereValuesAreShort(t *testing.T) {
	topic := channels.PushTopic{Name: "Accts", Query: "SELECT Id FROM Account WHERE A__c = 'A' AND B__c = 'Accounting' AND C__c = '' AND D__c = 'Zoë Müller'"}
	o := newTopicOrg()
	o.before = always(http.MethodPost, 400, refuses("INVALID_FIELD", "A__c = 'A' AND B__c = 'Accounting' AND C__c = '' AND D__c = 'Zoë M\nNo such column 'D__c' on entity 'Account', nor 'Accountant'"))
	_, err := channels.NewPushTopics(o.client(t)).Declare(t.Context(), topic)
	if err == nil {
		t.Fatal("no error")
	}
	lab.Contains(t, err.Error(), "PushTopic Accts", "A__c = '…' AND B__c = '…' AND C__c = '' AND D__c = '… M No such column 'D__c' on entity 'Account', nor 'Accountant'")
}

func TestTopicsAreGotListedAndDeleted(t *testing.T) {
	o := newTopicOrg()
	topics := channels.NewPushTopics(o.client(t))
	if _, err := topics.Get(t.Context(), "Accts"); !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
	if err := topics.Delete(t.Context(), "Accts"); !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("Delete: %v, want ErrNotFound", err)
	}
	if list, err := topics.List(t.Context()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("List: %v, %v, want no topics", list, err)
	}
	made, err := topics.Declare(t.Context(), accounts)
	lab.Must(t, err)
	if got, err := topics.Get(t.Context(), "Accts"); err != nil || got != made {
		t.Errorf("Get: %+v, %v, want %+v", got, err, made)
	}
	if list, err := topics.List(t.Context()); err != nil || !reflect.DeepEqual(list, []channels.PushTopic{made}) {
		t.Errorf("List: %+v, %v", list, err)
	}
	// A topic that somebody else deletes in the same moment is deleted.
	o.before = func(a asked) (int, any, bool) {
		if a.method == http.MethodDelete {
			o.clear()
		}
		return 0, nil, false
	}
	lab.Must(t, topics.Delete(t.Context(), "Accts"))
}

func TestTopicsNeedAnOpenClientAndALiveContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	closed := newTopicOrg().client(t)
	lab.Must(t, closed.Close())
	for name, row := range map[string]struct {
		client *sfstream.Client
		ctx    context.Context
		want   error
	}{
		"no client": {nil, t.Context(), sfstream.ErrInvalidOption},
		"closed":    {closed, t.Context(), sfstream.ErrClosed},
		"ended ctx": {newTopicOrg().client(t), ended, context.Canceled},
	} {
		topics := channels.NewPushTopics(row.client)
		_, declared := topics.Declare(row.ctx, accounts)
		_, listed := topics.List(row.ctx)
		_, got := topics.Get(row.ctx, "Accts")
		deleted := topics.Delete(row.ctx, "Accts")
		for call, err := range map[string]error{"Declare": declared, "List": listed, "Get": got, "Delete": deleted} {
			if !errors.Is(err, row.want) {
				t.Errorf("%s: %s: %v, want %v", name, call, err, row.want)
			}
		}
	}
}
