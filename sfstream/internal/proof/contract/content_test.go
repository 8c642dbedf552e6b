package contract

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contentRules prove that what a message says is what was published, and that it can be known
// again.
func contentRules() []rule {
	return []rule{
		{number: 7, words: "a key is the same at every delivery of an event, and another one of each event", run: keysOfEvents},
		{number: 7, words: "an event that was published twice in doubt has one key", run: keyInDoubt},
		{number: 8, words: "a text that is kept keeps no large event", run: keptTexts},
		{number: 9, words: "only what Salesforce writes for a DateTime is one", run: textsAsTheyCame},
		{number: 9, words: "what came along with a change is apart from what changed", run: enrichedChanges},
		{number: 9, words: "an event of a channel of many kinds has its own name", run: namesOfEvents},
		{number: 9, words: "Decode goes by tag, by name in JSON, by name", run: decodeByNames},
		{number: 9, words: "a struct of another event is an error where the schema is known", run: decodeOfAnother},
		{number: 9, words: "a number that JSON has not is no reason to lose an event", run: notFinite, only: sfstream.PubSub},
		{number: 10, words: "the status prints as text", run: statusAsText},
	}
}

const labTexts = "/event/LabText__e"

// textsLab is a lab that has a channel with a text and one with changes of a name, over the
// Streaming API also a PushTopic and a generic channel.
func textsLab(t *testing.T) *lab.Lab {
	l := lab.NewStreaming(t)
	l.Must(l.DefineEvent(labTexts, lab.Schema("LabText__e", `{"name":"Name__c","type":["null","string"],"default":null}`, `{"name":"Text__c","type":["null","string"],"default":null}`)))
	return l
}

func textsAsTheyCame(t *testing.T) {
	l := textsLab(t)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	publish := map[string]func(text string){
		labTexts: func(text string) {
			_, err := l.Publish(labTexts, map[string]any{"Text__c": text})
			l.Must(err)
		},
		lab.Accounts: func(text string) {
			_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"}, Set: map[string]any{"Name": text}})
			l.Must(err)
		},
		lab.Topic: func(text string) {
			_, err := l.PublishTopic("LabTopic", "updated", map[string]any{"Id": "a00000000000001AAA", "Name": text})
			l.Must(err)
		},
		lab.Generic: func(text string) {
			_, err := l.Push(lab.Generic, text)
			l.Must(err)
		},
	}
	field := map[string]string{labTexts: "Text__c", lab.Accounts: "Name", lab.Topic: "Name", lab.Generic: "payload"}
	for _, channel := range slices.Sorted(maps.Keys(publish)) {
		l.Must(l.Client.Subscribe(t.Context(), channel))
		streaming := lab.TransportOf(t) == sfstream.CometD || channel == lab.Topic || channel == lab.Generic
		for text, date := range map[string]string{
			"2021-02-09T11:11:12Z":          "2021-02-09T11:11:12.000Z",
			"2021-02-09T11:11:12.345Z":      "2021-02-09T11:11:12.345Z",
			"2021-02-09T11:11:12.345+0000":  "2021-02-09T11:11:12.345Z",
			"2021-02-09T11:11:12.345+01:00": "", "2021-02-09T11:11:12.345678Z": "", "2021-02-09T11:11:12.3Z": "", "2021-02-09T11:11:12-0500": "",
			"2021-02-09 11:11:12Z": "", "2021-02-30T11:11:12Z": "", "2021-02-09": "",
		} {
			want := text
			if streaming && date != "" { // nobody can tell it from a DateTime there
				want = date
			}
			publish[channel](text)
			m := l.Receive()
			m.Ack()
			fields, err := m.Fields()
			l.Must(err)
			if got := fields[field[channel]]; got != want {
				t.Errorf("%s: %q is %q, want %q", channel, text, got, want)
			}
			if said, err := json.Marshal(m); err != nil || !bytes.Contains(said, []byte(`"`+want+`"`)) {
				t.Errorf("%s: %q is not in %s, %v", channel, want, said, err)
			}
		}
		l.Must(l.Client.Unsubscribe(t.Context(), channel))
	}
}

// enrichedChanges are changes of an account on a channel that is enriched with its name.
func enrichedChanges(t *testing.T) {
	type account struct {
		Name              sfstream.Optional[string] `json:",omitzero"`
		NumberOfEmployees sfstream.Optional[int]    `json:",omitzero"`
	}
	l := newGroupLab(t)
	l.follow()
	id := []string{"001000000000001AAA"}
	along := map[string]any{"Name": "Acme"}
	for _, tt := range []struct {
		change           sfstreamtest.Change
		fields, enriched map[string]any
		patch            string
	}{
		{sfstreamtest.Change{Type: "CREATE", Set: map[string]any{"Name": "Acme", "NumberOfEmployees": 1}},
			map[string]any{"Name": "Acme", "NumberOfEmployees": 1}, nil, `{"Name":"Acme","NumberOfEmployees":1}`},
		{sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"NumberOfEmployees": 2}}, map[string]any{"NumberOfEmployees": 2}, along, `{"NumberOfEmployees":2}`},
		{sfstreamtest.Change{Type: "UPDATE", Null: []string{"NumberOfEmployees"}}, map[string]any{"NumberOfEmployees": nil}, along, `{"NumberOfEmployees":null}`},
		{sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": "Acme"}}, map[string]any{"Name": "Acme"}, nil, `{"Name":"Acme"}`},
		{sfstreamtest.Change{Type: "GAP_UPDATE"}, map[string]any{}, nil, `{}`},
		{sfstreamtest.Change{Type: "GAP_OVERFLOW"}, map[string]any{}, nil, `{}`},
		{sfstreamtest.Change{Type: "DELETE"}, map[string]any{}, along, `{}`},
		{sfstreamtest.Change{Type: "UNDELETE", Set: map[string]any{"Name": "Acme"}}, map[string]any{"Name": "Acme"}, nil, `{"Name":"Acme"}`},
	} {
		tt.change.Object, tt.change.RecordIDs = "Account", id
		_, err := l.Change(tt.change)
		l.Must(err)
		m := l.Receive()
		m.Ack()
		fields, err := m.Fields()
		l.Must(err)
		delete(fields, "ChangeEventHeader")
		delete(fields, "LastModifiedDate")
		enriched, err := m.Enriched()
		l.Must(err)
		if !sameJSON(t, fields, tt.fields) || !sameJSON(t, enriched, tt.enriched) {
			t.Errorf("%s: %v changed and %v came along, want %v and %v", tt.change.Type, fields, enriched, tt.fields, tt.enriched)
		}
		said, err := json.Marshal(m)
		if err != nil || bytes.Contains(said, []byte(`"enriched":{"Name":"Acme"}`)) != (tt.enriched != nil) {
			t.Errorf("%s: %s, %v", tt.change.Type, said, err)
		}
		got, err := sfstream.Decode[account](m)
		l.Must(err)
		if patch, err := json.Marshal(got); err != nil || string(patch) != tt.patch {
			t.Errorf("%s: a PATCH of it is %s, want %s (%v)", tt.change.Type, patch, tt.patch, err)
		}
		name, came := got.Name.Enriched()
		if came != (tt.enriched != nil) || came && (name != "Acme" || got.Name.IsSet()) {
			t.Errorf("%s: the name is %v, enriched with %q", tt.change.Type, got.Name, name)
		}
		if plain, err := sfstream.Decode[struct{ Name string }](m); err != nil || plain.Name != "Acme" && tt.enriched != nil {
			t.Errorf("%s: a plain field is %q, %v", tt.change.Type, plain.Name, err)
		}
	}
}

func sameJSON(t *testing.T, got, want map[string]any) bool {
	t.Helper()
	one, err := json.Marshal(got)
	lab.Must(t, err)
	other, err := json.Marshal(want)
	lab.Must(t, err)
	return bytes.Equal(one, other)
}

// keyedLab is a lab with channels of one kind of event and of several.
func keyedLab(t *testing.T, opts ...sfstreamtest.Option) *lab.Lab {
	l := lab.NewStreaming(t, opts...)
	l.Must(l.DefineObject("Lead", sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
	l.Must(l.DefineObject("Staff__c", sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
	l.Must(l.DefineChannel("/event/Many__chn", lab.Orders, lab.Undated))
	return l
}

// publishKeyed publishes on the channels of a keyedLab, and says how the events are called.
func publishKeyed(l *lab.Lab) map[string][]string {
	l.T.Helper()
	l.PublishOrders(1, 2)
	l.PublishNumbers(lab.Undated, 1)
	for _, object := range []string{"Lead", "Lead", "Staff__c"} {
		_, err := l.Change(sfstreamtest.Change{Object: object, Type: "UPDATE", RecordIDs: []string{"00Q000000000001AAA"}, TransactionKey: "one", Set: map[string]any{"Phone": "1"}})
		l.Must(err)
	}
	names := map[string][]string{
		lab.Orders: {"Order__e", "Order__e"}, "/event/Many__chn": {"Order__e", "Order__e", "Undated__e"},
		"/data/LeadChangeEvent": {"LeadChangeEvent", "LeadChangeEvent"}, "/data/ChangeEvents": {"LeadChangeEvent", "LeadChangeEvent", "Staff__ChangeEvent"},
	}
	for _, channel := range []string{lab.Topic, lab.Generic} { // over the Streaming API, whatever the transport
		l.PublishNumbers(channel, 1, 1)
		names[channel] = []string{"", ""}
	}
	return names
}

// takeAll takes what was published, by channel.
func takeAll(l *lab.Lab, names map[string][]string, opts ...sfstream.SubscribeOption) map[string][]*sfstream.Message {
	l.T.Helper()
	n := 0
	for channel, events := range names {
		l.Must(l.Client.Subscribe(l.T.Context(), channel, opts...))
		n += len(events)
	}
	got := make(map[string][]*sfstream.Message)
	for range n {
		m := l.Receive()
		m.Ack()
		got[m.Channel] = append(got[m.Channel], m)
	}
	return got
}

// keysOfEvents hands the same events out again, to a program that begins anew.
func keysOfEvents(t *testing.T) {
	l := keyedLab(t)
	l.Start() // before anything is published
	names := publishKeyed(l)
	l.Stop()
	var before map[string][]string
	for range 3 {
		l.Start()
		keys := make(map[string][]string)
		for channel, messages := range takeAll(l, names, sfstream.From(sfstream.ReplayAll)) {
			for _, m := range messages {
				if m.Key() == "" || slices.Contains(keys[channel], m.Key()) || m.Clone().Key() != m.Key() {
					t.Errorf("%s: another event has the key %q", channel, m.Key())
				}
				keys[channel] = append(keys[channel], m.Key())
			}
		}
		if before != nil && !reflect.DeepEqual(before, keys) {
			t.Errorf("keys %q, before %q", keys, before)
		}
		before = keys
		l.Stop()
	}
}

// keyInDoubt: a publisher that has got no answer publishes again, with the id that it has given the
// event.
func keyInDoubt(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for range 2 {
		_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{ID: "2ec0e371-1395-457f-9275-be1b527a72f7"})
		l.Must(err)
	}
	one, other := l.Receive(), l.Receive()
	if one.Key() != other.Key() || bytes.Equal(one.ReplayID, other.ReplayID) {
		t.Errorf("keys %q and %q", one.Key(), other.Key())
	}
}

func namesOfEvents(t *testing.T) {
	for _, since := range []string{"", "37.0"} { // where the Streaming API does not say it, and where it does
		var opts []sfstreamtest.Option
		if since != "" {
			opts = append(opts, sfstreamtest.WithEventAPIName(since))
		}
		l := keyedLab(t, opts...)
		l.Start()
		names := publishKeyed(l)
		for channel, messages := range takeAll(l, names, sfstream.From(sfstream.ReplayAll)) {
			for i, m := range messages {
				want := names[channel][i]
				if channel == "/event/Many__chn" && lab.TransportOf(t) == sfstream.CometD && since == "" {
					want = "" // nobody says it
				}
				if got := m.EventName(); got != want {
					t.Errorf("%s: %q, want %q", channel, got, want)
				}
			}
		}
		l.Stop()
	}
}

func decodeByNames(t *testing.T) {
	l := textsLab(t)
	l.Start()
	l.Must(l.Client.Subscribe(t.Context(), labTexts))
	synctest.Wait()
	_, err := l.Publish(labTexts, map[string]any{"Name__c": "Acme", "Text__c": "text", "N__c": 1.5})
	l.Must(err)
	got, err := sfstream.Decode[struct {
		Tagged  string     `sf:"Name__c" json:"N__c"` // sf goes first
		JSON    string     `json:"Text__c,omitempty"` // then JSON
		N__c    float64    `json:"total"`             // which the event has not
		Name__c string     `json:"-"`                 // the own name
		Empty   string     `sf:"" json:",omitempty"`  // no names
		Left    string     `sf:"-" json:"Name__c"`    // left alone
		When    *time.Time `json:"CreatedDate,omitempty"`
	}](l.Receive())
	l.Must(err)
	if got.Tagged != "Acme" || got.JSON != "text" || got.N__c != 1.5 || got.Name__c != "Acme" || got.Empty != "" || got.Left != "" || got.When == nil {
		t.Errorf("%+v", got)
	}
}

func decodeOfAnother(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	m := l.Receive()
	_, err := sfstream.Decode[struct{ Invoice, Total string }](m)
	if lab.TransportOf(t) == sfstream.CometD {
		l.Must(err) // a payload is no schema: the event may have such fields
	} else if e := lab.ExpectError[*sfstream.DecodeError](t, err); e.Channel != lab.Orders || !strings.Contains(e.Error(), "Order__e, and no field of the Go struct") {
		t.Error(e)
	}
	if got, err := sfstream.Decode[struct{ Invoice, N__c any }](m); err != nil || got.N__c != 1.0 {
		t.Errorf("%v, %v", got, err)
	}
	l.Must(m.Decode(new(map[string]any)))
}

func notFinite(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for text, n := range map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)} {
		_, err := l.Publish(lab.Orders, map[string]any{"N__c": n})
		l.Must(err)
		m := l.Receive()
		m.Ack()
		if said, err := json.Marshal(m); err != nil || !bytes.Contains(said, []byte(`"N__c":"`+text+`"`)) {
			t.Errorf("%s, %v", said, err)
		}
	}
	l.ExpectStillWorks(lab.Orders)
}

// keptTexts: a program keeps the names of large events.
func keptTexts(t *testing.T) {
	const events, size = 30, 300 << 10
	l := textsLab(t)
	l.Start(sfstream.WithPrefetch(1))
	payload := map[string]any{"Name__c": "Acme", "Text__c": strings.Repeat("x", size)}
	for range events {
		_, err := l.Publish(labTexts, payload)
		l.Must(err)
	}
	var kept []any
	receive := func() int {
		l.Must(l.Client.Subscribe(t.Context(), labTexts, sfstream.From(sfstream.ReplayAll)))
		for range events {
			m := l.Receive()
			fields, err := m.Fields()
			l.Must(err)
			if kept = append(kept, fields["Name__c"], fields["CreatedDate"]); fields["Name__c"] != "Acme" {
				t.Fatal(fields["Name__c"])
			}
			m.Ack()
		}
		l.Must(l.Client.Unsubscribe(t.Context(), labTexts))
		return heapInUse()
	}
	receive() // the org keeps what it has sent, too
	kept = nil
	before := heapInUse()
	if grown := receive() - before; grown > events*size/2 {
		t.Errorf("the names of %d events keep %d KB", events, grown>>10)
	}
	runtime.KeepAlive(kept)
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

func statusAsText(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Pass(time.Minute)
	status := l.Client.Status()
	said, err := json.Marshal(status)
	if err != nil || !bytes.Contains(said, []byte(`"State":"live"`)) {
		t.Errorf("%s, %v", said, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "status", status, "state", status.Channels[0].State, "via", lab.TransportOf(t))
	lab.Contains(t, log.String(), `"State":"live"`, `"state":"live"`, `"via":"`+lab.TransportOf(t).String()+`"`)
}
