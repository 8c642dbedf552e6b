package sfstreamtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// sobjects returns the types and sobjects of PushTopic events.
func sobjects(t *testing.T, events []message) []string {
	t.Helper()
	var got []string
	for _, e := range events {
		var data struct {
			Event   struct{ Type string }
			Sobject json.RawMessage
		}
		check(t, json.Unmarshal(e.Data, &data))
		got = append(got, data.Event.Type+" "+string(data.Sobject))
	}
	return got
}

func change(t *testing.T, r *rig, kind, id string, set map[string]any, null ...string) {
	t.Helper()
	_, err := r.Change(sfstreamtest.Change{Object: "Account", Type: kind, RecordIDs: []string{id}, Set: set, Null: null})
	check(t, err)
}

func TestHappyPushTopic(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", fieldList("Name Text, Status__c Text, AnnualRevenue Currency, Active__c Boolean, LastModifiedDate DateTime")...))
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{
			Name: "Accts", Query: "SELECT Id, Name, AnnualRevenue FROM Account WHERE Status__c = 'open' AND Active__c = true",
		}))
		b := r.shaken()
		b.follow(accounts, -1)
		change(t, r, "CREATE", "1", map[string]any{"Name": "Acme", "Status__c": "Open", "Active__c": true})
		change(t, r, "CREATE", "2", map[string]any{"Name": "Beta", "Status__c": "Closed", "Active__c": true})
		change(t, r, "UPDATE", "1", map[string]any{"AnnualRevenue": 3})
		change(t, r, "UPDATE", "2", map[string]any{"Status__c": "Open"})
		change(t, r, "UPDATE", "1", nil, "Name")
		change(t, r, "DELETE", "1", nil)
		change(t, r, "UNDELETE", "1", map[string]any{"Name": "Acme"})
		change(t, r, "GAP_UPDATE", "1", nil)
		events, _ := b.connect()
		got := strings.Join(sobjects(t, events), "\n")
		want := strings.Join([]string{
			`created {"Id":"1","Name":"Acme","AnnualRevenue":null}`,
			`updated {"Id":"1","Name":"Acme","AnnualRevenue":3.0}`,
			`updated {"Id":"2","Name":"Beta","AnnualRevenue":null}`,
			`updated {"Id":"1","Name":null,"AnnualRevenue":3.0}`,
			`deleted {"Id":"1"}`,
			`undeleted {"Id":"1","Name":"Acme","AnnualRevenue":3.0}`,
		}, "\n")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if s := string(events[0].Data); !strings.HasPrefix(s, `{"event":{"createdDate":"`+time.Now().UTC().Format("2006-01-02T15:04:05.000Z")+`","replayId":`) {
			t.Errorf("got %s", s)
		}
	})
}

func TestNotifyForFields(t *testing.T) {
	for _, c := range []struct{ fields, want string }{
		{"All", "Name Status__c Phone"},
		{"", "Name Status__c"},
		{"Referenced", "Name Status__c"},
		{"Select", "Name"},
		{"Where", "Status__c"},
	} {
		bubble(t, func(t *testing.T, r *rig) {
			check(t, r.DefinePushTopic(sfstreamtest.PushTopic{
				Name: "Accts", Query: "SELECT Id, Name FROM Account WHERE Status__c != null", NotifyForFields: c.fields,
			}))
			b := r.shaken()
			change(t, r, "CREATE", "1", map[string]any{"Status__c": "x"})
			b.follow(accounts, -1)
			var got []string
			for _, name := range []string{"Name", "Status__c", "Phone"} {
				change(t, r, "UPDATE", "1", map[string]any{name: "new"})
				events := b.follow(accounts, nil) // any reply can carry events
				if len(events) > 0 {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q: got %v, want %s", c.fields, got, c.want)
			}
		})
	}
}

func TestNotifyForOperations(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		off := false
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{
			Name: "Accts", Query: "SELECT Id FROM Account", NotifyForFields: "All",
			NotifyForOperationCreate: &off, NotifyForOperationDelete: &off,
		}))
		for _, kind := range []string{"CREATE", "UPDATE", "DELETE", "UNDELETE"} {
			change(t, r, kind, "1", nil)
		}
		b := r.shaken()
		if got := strings.Join(sobjects(t, b.follow(accounts, -2)), " "); got != `updated {"Id":"1"} undeleted {"Id":"1"}` {
			t.Errorf("got %s", got)
		}
	})
}

func TestPublishTopicKeepsRawJSON(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		publishTopic(t, r, map[string]any{"Id": "1", "Raw": json.RawMessage(`{"b": 1.50, "a":1e3}`), "F": 3.0, "N": nil, "D": time.Unix(0, 0)})
		b := r.shaken()
		got := sobjects(t, b.follow(accounts, -2))[0]
		if want := `updated {"D":"1970-01-01T00:00:00.000Z","F":3.0,"Id":"1","N":null,"Raw":{"b": 1.50, "a":1e3}}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, err := r.PublishTopic("None", "created", nil); err == nil {
			t.Error("published on nothing")
		}
	})
}

func TestBadPushTopics(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, p := range []sfstreamtest.PushTopic{
			{}, {Name: "A/B", Query: "SELECT Id FROM X"}, {Name: strings.Repeat("n", 26), Query: "SELECT Id FROM X"},
			{Name: "A", Query: "SELECT Name FROM X"}, {Name: "A", Query: "SELECT Id FROM X LIMIT 1"},
			{Name: "A", Query: "SELECT Id FROM X", NotifyForFields: "Some"},
			{Name: "A", Query: "SELECT Id FROM X WHERE A = '" + strings.Repeat("x", 1300) + "'"},
		} {
			if r.DefinePushTopic(p) == nil {
				t.Errorf("%+v is taken", p)
			}
		}
	})
}

func TestFieldsHaveTheirObjectsTypes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", fieldList("Day__c DateOnly, At__c DateTime, N__c Double, I__c Integer")...))
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{
			Name: "Accts", Query: "SELECT Id, Day__c, At__c, N__c, I__c FROM Account WHERE Day__c > 2026-01-01 AND At__c < 2026-02-01T00:00:00Z",
		}))
		at := time.Date(2026, 1, 9, 10, 0, 0, 0, time.UTC)
		for i, v := range []any{at, at.UnixMilli(), json.Number(jsonOf(t, at.UnixMilli()))} {
			change(t, r, "CREATE", "1", map[string]any{"Day__c": v, "At__c": v, "N__c": 2, "I__c": json.Number("7")})
			b := r.shaken()
			events := b.follow(accounts, -2)
			want := `created {"Id":"1","Day__c":"2026-01-09","At__c":"2026-01-09T10:00:00.000Z","N__c":2.0,"I__c":7}`
			if got := sobjects(t, events); len(got) != i+1 || got[i] != want {
				t.Errorf("got %v, want %s", got, want)
			}
		}
	})
}

func TestADefinitionChangesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id FROM Account"}))
		b := r.shaken()
		b.follow(accounts, -1)
		change(t, r, "CREATE", "1", map[string]any{"Name": "A"})
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id, Name FROM Account"}))
		change(t, r, "UPDATE", "1", map[string]any{"Name": "B"})
		events, _ := b.connect()
		if got := strings.Join(sobjects(t, events), " "); got != `created {"Id":"1"} updated {"Id":"1","Name":"B"}` {
			t.Errorf("got %s", got)
		}
		check(t, r.Remove(accounts))
		if _, err := r.Change(sfstreamtest.Change{Object: "Account", Type: "DELETE", RecordIDs: []string{"1"}}); err == nil {
			t.Error("nobody follows Account")
		}
	})
}
