package sfstream

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

const namesSchema = `{"type":"record","name":"Order__e","fields":[{"name":"CreatedDate","type":"long"},
	{"name":"Number__c","type":["null","string"],"default":null},{"name":"Amount","type":["null","double"],"default":null},{"name":"amount","type":["null","double"],"default":null},
	{"name":"Place","type":["null",{"type":"record","name":"Place","fields":[{"name":"City__c","type":["null","string"],"default":null}]}],"default":null}]}`

func namesEvents(t *testing.T) map[string]*Message {
	cometd := new(Message)
	cometd.readEvent(new(codec), "/event/Order__e", []byte(`{"payload":{"CreatedDate":"2025-01-01T00:00:00Z","Number__c":"A-1","Amount":1.5,"amount":2.5,"Place":{"City__c":"Lyon"}},"event":{"replayId":7}}`))
	pubsub := avroEvent(t, namesSchema, map[string]any{"CreatedDate": int64(1735689600000), "Number__c": "A-1", "Amount": 1.5, "amount": 2.5,
		"Place": map[string]any{"Place": map[string]any{"City__c": "Lyon"}}})
	pubsub.Channel = "/event/Order__e"
	return map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd}
}

func TestDecodeMatchesNames(t *testing.T) {
	for api, m := range namesEvents(t) {
		got, err := Decode[struct {
			Tagged  string  `sf:"Number__c" json:"CreatedDate"` // sf goes first
			JSON    string  `json:"Number__c,omitzero"`         // then json
			Amount  float64 `json:"total"`                      // which the event does not have
			Both    float64 `json:"Amount"`                     // two fields of one name
			Ignored string  `json:"-"`                          // counts for JSON only
			Empty   string  `sf:"" json:",omitzero"`            // no name
			Nobodys string  `json:"number__c"`                  // case counts
			Left    float64 `sf:"-" json:"amount"`              // left alone
			Place   struct {
				City string `json:"City__c"`
			}
			Map map[string]any `json:"Place"`
		}](m)
		if err != nil {
			t.Fatal(api, err)
		}
		if got.Tagged != "A-1" || got.JSON != "A-1" || got.Amount != 1.5 || got.Both != 1.5 || got.Ignored != "" || got.Empty != "" || got.Nobodys != "" || got.Left != 0 ||
			got.Place.City != "Lyon" || got.Map["City__c"] != "Lyon" {
			t.Errorf("%s: %+v", api, got)
		}
		// A name in JSON goes before the field's own, where the event has both.
		other, err := Decode[struct {
			Amount float64 `json:"amount"`
		}](m)
		if err != nil || other.Amount != 2.5 {
			t.Errorf("%s: %+v, %v", api, other, err)
		}
		own, err := Decode[struct {
			Number__c string `json:"-"` // the own name
		}](m)
		if err != nil || own.Number__c != "A-1" {
			t.Errorf("%s: %+v, %v", api, own, err)
		}
	}
}

// A change event carries what changed: what a name means must not depend on that.
func TestANameInJSONIsTheSchemasNotThePayloads(t *testing.T) {
	m := onBothAPIs(t, map[string]any{"changedFields": []string{"0x02"}}, nil)["Pub/Sub"]
	got, err := Decode[struct {
		Header struct {
			IDs []string `json:"recordIds"`
		} `json:"ChangeEventHeader"`
		Any   map[string]any `sf:"ChangeEventHeader"` // which Bind leaves to Assign
		Fax   *string        `json:"Phone"`           // unchanged
		Phone Optional[string]
	}](m)
	if err != nil || len(got.Header.IDs) != 1 || got.Fax != nil || !got.Phone.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAStructForAnotherEventIsAnError(t *testing.T) {
	events := namesEvents(t)
	for name, decode := range map[string]func(m *Message) error{
		"other names": func(m *Message) error { _, err := Decode[struct{ Invoice, Total string }](m); return err },
		"unexported":  func(m *Message) error { _, err := Decode[struct{ number__c string }](m); return err },
		"all left alone": func(m *Message) error {
			_, err := Decode[struct {
				Amount float64 `sf:"-"`
			}](m)
			return err
		},
		"through pointer": func(m *Message) error { return m.Decode(new(*struct{ Invoice any })) },
	} {
		err := decode(events["Pub/Sub"])
		var bad *DecodeError
		if !errors.As(err, &bad) || bad.Channel != "/event/Order__e" || !strings.Contains(err.Error(), "Order__e, and no field of the Go struct struct {") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode(events["CometD"]); err != nil { // nobody knows what else there is
			t.Errorf("%s over CometD: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"no fields at all": events["Pub/Sub"].Decode(new(struct{})),
		"one of them":      events["Pub/Sub"].Decode(new(struct{ Invoice, Amount any })),
		"a map":            events["Pub/Sub"].Decode(new(map[string]any)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of a change event that changed nothing of it, the struct is right all the same.
	if _, err := Decode[struct{ Phone Optional[string] }](onBothAPIs(t, nil, nil)["Pub/Sub"]); err != nil {
		t.Error(err)
	}
}

// What a program may spend on an event of 61 fields of which it changed 6, as BenchmarkReceive has
// it.
func TestReadingAnUpdateCostsFewAllocations(t *testing.T) {
	text, err := os.ReadFile("internal/avro/testdata/wide.json")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := os.ReadFile("internal/avro/testdata/wide_update.hex")
	if err != nil {
		t.Fatal(err)
	}
	m := new(Message)
	m.codec = new(codec)
	if m.codec.schema, err = avro.Parse(string(text)); err != nil {
		t.Fatal(err)
	}
	if m.payload, err = hex.DecodeString(strings.TrimSpace(string(payload))); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		most float64
		read func() error
	}{
		"Fields": {13, func() error { _, err := m.Fields(); return err }},
		"Change": {2, func() error { _, err := m.Change(); return err }},
	} {
		if n := testing.AllocsPerRun(200, func() {
			if err := tt.read(); err != nil {
				t.Fatal(err)
			}
		}); n > tt.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, tt.most)
		}
	}
}

const largeSchema = `{"type":"record","name":"Large__e","fields":[{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},{"name":"Name","type":["null","string"]},
	{"name":"Long","type":["null","string"]},{"name":"Tags","type":{"type":"array","items":"string"}},{"name":"Map","type":{"type":"map","values":"string"}},
	{"name":"In","type":["null",{"type":"record","name":"In","fields":[{"name":"Name","type":["null","string"]}]}]}]}`

// A program that keeps the name of each large event must not keep the events.
func TestATextKeepsItsOwnBytesWhereTheEventIsLarge(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	m := avroEvent(t, largeSchema, map[string]any{"CreatedDate": int64(1735689600000), "Name": "Acme", "Long": long, "Tags": []string{"a", "b"},
		"Map": map[string]string{"key": "value"}, "In": map[string]any{"In": map[string]any{"Name": "Ada"}}})
	want := map[string]string{"Name": "Acme", "CreatedDate": "2025-01-01T00:00:00.000Z"}
	for name, keep := range map[string]func(fields map[string]any) any{
		"a field": func(f map[string]any) any { return f["Name"] },
		"a time":  func(f map[string]any) any { return f["CreatedDate"] },
		"a tag":   func(f map[string]any) any { return f["Tags"] },
		"a map":   func(f map[string]any) any { return f["Map"] },
		"a nest":  func(f map[string]any) any { return f["In"] },
	} {
		kept := make([]any, 100)
		before := inUse()
		for i := range kept {
			fields, err := m.Fields()
			if err != nil || fields["Long"] != long {
				t.Fatal(err)
			}
			for name, text := range want {
				if fields[name] != text {
					t.Fatalf("%s is %v", name, fields[name])
				}
			}
			kept[i] = keep(fields)
		}
		if grown := int(inUse()) - int(before); grown > 5<<20 { // of 30 MB
			t.Errorf("%s: 100 kept ones keep %d bytes", name, grown)
		}
		runtime.KeepAlive(kept)
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// A struct of Optionals is the body of a REST PATCH, and reads what REST answers.
func TestOptionalInJSON(t *testing.T) {
	type account struct {
		Name, Phone, Fax Optional[string] `json:",omitzero"`
		Tags             Optional[[]int]  `json:"Tags__c,omitzero"`
	}
	var a account
	a.Name.Set("Acme")
	a.Phone.SetNull()
	a.Tags.Set(nil)
	text, err := json.Marshal(a)
	if want := `{"Name":"Acme","Phone":null,"Tags__c":null}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}

	var back account
	back.Phone.Set("old")
	back.Fax.Set("kept")
	if err := json.Unmarshal([]byte(`{"Name":"Acme","Phone":null,"Tags__c":[1]}`), &back); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", back), "{Name:Acme Phone:null Fax:kept Tags:[1]}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := json.Unmarshal([]byte(`{"Name":1}`), &back); err == nil || back.Name.String() != "Acme" {
		t.Errorf("%v, %v", err, back.Name)
	}

	// null would delete the field in Salesforce.
	if text, err := json.Marshal(struct{ Name Optional[string] }{}); err == nil || !strings.Contains(err.Error(), "omitzero") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestOptionalIsOneOfThree(t *testing.T) {
	var unchanged, null, set Optional[int]
	null.Set(3)
	null.SetNull()
	set.SetNull()
	set.Set(0)
	for want, o := range map[string]Optional[int]{"unchanged 0 false": unchanged, "null 0 false": null, "0 0 true": set} {
		value, ok := o.Get()
		if got := fmt.Sprint(o, value, ok); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if o.IsSet() != ok || o.IsNull() != (o == null) || o.IsZero() != (o == unchanged) {
			t.Errorf("%v: set %v, null %v, zero %v", o, o.IsSet(), o.IsNull(), o.IsZero())
		}
	}
}

// What Decode and Fields give of an event can be published as it is.
func TestWhatDecodeGivesCanBeEncoded(t *testing.T) {
	type place struct {
		City Optional[string] `sf:"City__c"`
	}
	type event struct {
		CreatedDate Optional[int64]
		Number      Optional[string] `sf:"Number__c"`
		Amount      Optional[*float64]
		Lower       Optional[float64] `sf:"amount"`
		Place       *Optional[place]
	}
	binder := newPreferences().binder
	for _, values := range []map[string]any{
		{"CreatedDate": int64(1735689600000), "Number__c": "A-1", "Amount": 1.5, "amount": nil, "Place": map[string]any{"Place": map[string]any{"City__c": nil}}},
		{"CreatedDate": int64(1735689600000), "Number__c": "", "Amount": nil, "amount": 0.0, "Place": nil},
	} {
		m := avroEvent(t, namesSchema, values)
		typed, err := Decode[event](m)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := m.Fields()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{typed, &typed, fields} {
			got, err := binder.Append(nil, m.codec.schema, v, avro.System{})
			if err != nil || !bytes.Equal(got, m.payload) {
				t.Errorf("%T: %v\n got %x\nwant %x", v, err, got, m.payload)
			}
		}
		room := make([]byte, 0, 100)
		if n := testing.AllocsPerRun(100, func() { _, _ = binder.Append(room, m.codec.schema, &typed, avro.System{}) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	enriched := Optional[string]{"old", optionalEnriched}
	if _, as, ok := optionalValue(reflect.ValueOf(&enriched).Elem()); as != avro.Unset || !ok {
		t.Errorf("what came along unchanged is to be left out: %v, %v", as, ok)
	}
	if _, _, ok := optionalValue(reflect.ValueOf(&struct{ Optional[string] }{}).Elem()); ok {
		t.Error("a struct that embeds an Optional is one")
	}
}

// A payload of null has nothing for a map that the caller holds, and nothing to put into anything
// else.
func TestDecodeOfANullPayload(t *testing.T) {
	m := streamedChange("null")
	if err := m.Decode(map[string]any{}); err == nil || !strings.Contains(err.Error(), "cannot put null") {
		t.Error(err)
	}
	v := any("old")
	if err := m.Decode(&v); err != nil || v != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// A struct that embeds an Optional is a struct.
func TestAnEmbeddedOptionalIsNoOptional(t *testing.T) {
	m := streamedChange(`{"Phone":"x"}`)
	_, err := Decode[struct{ Phone struct{ Optional[string] } }](m)
	_, err2 := Decode[struct{ Phone struct{ *Optional[string] } }](m)
	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), "field Phone") {
			t.Error(err)
		}
	}
}

// Over the Streaming API only what Salesforce writes for a DateTime is one.
func TestATextThatLooksLikeADateStaysAsItCame(t *testing.T) {
	texts := map[string]string{
		"2021-02-09T11:11:12Z":          "2021-02-09T11:11:12.000Z",
		"2021-02-09T11:11:12.345Z":      "2021-02-09T11:11:12.345Z",
		"2021-02-09T11:11:12.345+0000":  "2021-02-09T11:11:12.345Z",
		"2021-02-09T11:11:12.000+0000":  "2021-02-09T11:11:12.000Z",
		"2021-02-09T11:11:12.345+01:00": "", "2021-02-09T11:11:12.345678Z": "", "2021-02-09T11:11:12.3Z": "", "2021-02-09T11:11:12-0500": "",
		"2021-02-09T11:11:12+0000": "", "2021-02-09T11:11:12.345-0000": "", "2021-02-09T11:11:12.345+00:00": "", "2021-02-09T11:11:12,345Z": "",
		"2021-02-09T11:11:12": "", "2021-02-09T11:11:12z": "", "2021-02-09t11:11:12Z": "", "2021-02-09 11:11:12Z": "", "2021-13-09T11:11:12Z": "",
		"2021-02-30T11:11:12Z": "", "2021-02-09T24:11:12Z": "", "2021-02-09T1:11:12.Z": "", "2021-02-09": "", "11:11:12.345Z": "", " 2021-02-09T11:11:12Z": "", "": "",
	}
	for text, want := range texts {
		if want == "" {
			want = text
		}
		for kind, format := range map[string]string{
			"platform event": `{"payload":{"Text__c":%q},"event":{"replayId":1}}`,
			"change event":   `{"payload":{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":["Text__c"]},"Text__c":%q},"event":{"replayId":1}}`,
			"PushTopic":      `{"sobject":{"Text__c":%q},"event":{"replayId":1,"type":"created"}}`,
			"generic":        `{"payload":%q,"event":{"replayId":1}}`,
		} {
			m := new(Message)
			m.readEvent(new(codec), "/x", fmt.Appendf(nil, format, text))
			fields, err := m.Fields()
			field := "Text__c"
			if kind == "generic" {
				field = "payload"
			}
			if err != nil || fields[field] != want {
				t.Errorf("%s: %q is %q, want %q (%v)", kind, text, fields[field], want, err)
			}
			if kind == "generic" {
				if got, err := Decode[string](m); err != nil || got != want {
					t.Errorf("%s: the string of %q is %q (%v)", kind, text, got, err)
				}
				continue
			}
			if got, err := Decode[struct{ Text__c string }](m); err != nil || got.Text__c != want {
				t.Errorf("%s: the string of %q is %q (%v)", kind, text, got.Text__c, err)
			}
			if json, err := m.MarshalJSON(); err != nil || !strings.Contains(string(json), fmt.Sprintf(`"Text__c":%q`, want)) {
				t.Errorf("%s: %q is in %s (%v)", kind, text, json, err)
			}
		}
	}
}

// Who asks for a time gets one of what is one.
func TestATimeOfAnotherZoneGoesIntoATime(t *testing.T) {
	m := new(Message)
	m.readEvent(new(codec), "/event/A__e", []byte(`{"payload":{"When":"2021-02-09T11:11:12.345678+01:00","Then":"2021-02-09T11:11:12-0500"},"event":{"replayId":1}}`))
	got, err := Decode[struct{ When, Then time.Time }](m)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Time{time.Date(2021, 2, 9, 10, 11, 12, 345678000, time.UTC), time.Date(2021, 2, 9, 16, 11, 12, 0, time.UTC)}
	if !reflect.DeepEqual([]time.Time{got.When, got.Then}, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTheCreatedDateOfAnEventStaysAsItCame(t *testing.T) {
	m := new(Message)
	m.readEvent(new(codec), "/u/a", []byte(`{"payload":"","event":{"replayId":1,"createdDate":"2021-02-09T11:11:12.345678Z"}}`))
	if text, err := m.MarshalJSON(); err != nil || !strings.Contains(string(text), `"createdDate":"2021-02-09T11:11:12.345678Z"`) {
		t.Errorf("%s, %v", text, err)
	}
	if !m.Date().Equal(time.Date(2021, 2, 9, 11, 11, 12, 345678000, time.UTC)) {
		t.Errorf("date %v", m.Date())
	}
}

// JSON has no such numbers, and one of them is no reason to lose an event.
func TestMarshalJSONHasNamesForNumbersThatAreNotFinite(t *testing.T) {
	m := avroEvent(t, `{"type":"record","name":"A__e","fields":[{"name":"N","type":"double"},{"name":"P","type":"double"},{"name":"M","type":"float"},{"name":"F","type":"double"},
		{"name":"In","type":{"type":"record","name":"B","fields":[{"name":"N","type":"double"}]}},{"name":"L","type":{"type":"array","items":"double"}}]}`,
		map[string]any{"N": math.NaN(), "P": math.Inf(1), "M": float32(math.Inf(-1)), "F": 1.5, "In": map[string]any{"N": math.NaN()}, "L": []float64{1, math.Inf(1)}})
	text, err := json.Marshal(m)
	if want := `"payload":{"F":1.5,"In":{"N":"NaN"},"L":[1,"Infinity"],"M":"-Infinity","N":"NaN","P":"Infinity"}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s, %v", text, err)
	}
	if fields, err := m.Fields(); err != nil || !math.IsInf(fields["P"].(float64), 1) {
		t.Errorf("%v, %v", fields, err)
	}
}

// What an event says is to be found by grep. HTML is what json.Marshal is careful of, by itself.
func TestMarshalJSONEscapesForHTMLOnlyWhereAsked(t *testing.T) {
	m := avroEvent(t, `{"type":"record","name":"A__e","fields":[{"name":"Name__c","type":"string"}]}`, map[string]any{"Name__c": "<Byron> & Sons"})
	streamed := new(Message)
	streamed.readEvent(new(codec), "/topic/A?B='c&d'", []byte(`{"sobject":{"Name__c":"<Byron> & Sons"},"event":{"replayId":1,"type":"created"}}`))
	for _, m := range []*Message{m, streamed} {
		text, err := m.MarshalJSON()
		if err != nil || !strings.Contains(string(text), `"Name__c":"<Byron> & Sons"`) || strings.Contains(string(text), `\u0026`) {
			t.Errorf("%s, %v", text, err)
		}
		var line strings.Builder
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(m); err != nil || line.String() != string(text)+"\n" {
			t.Errorf("an Encoder writes %s, %v", &line, err)
		}
		if text, err := json.Marshal(m); err != nil || !strings.Contains(string(text), `"\u003cByron\u003e \u0026 Sons"`) {
			t.Errorf("json.Marshal gives %s, %v", text, err)
		}
	}
}

func TestAckOfNoMessageDoesNothing(t *testing.T) {
	(*Message)(nil).Ack()
	new(Message).Ack()
}

func TestEventNameOverTheStreamingAPI(t *testing.T) {
	for _, tt := range []struct{ channel, data, want string }{
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":"Order__e"}}`, "Order__e"},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1}}`, ""},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":""}}`, ""},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":null}}`, ""},
		{"/event/Order__e", `{"payload":{},"event":{"replayId":1}}`, "Order__e"},
		{"/event/LoginEventStream", `{"payload":{},"event":{"replayId":1}}`, "LoginEventStream"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":"Account"}},"event":{}}`, "AccountChangeEvent"},
		{"/data/Staff__chn", `{"schema":"x","payload":{"Name":{"a":1},"ChangeEventHeader":{"recordIds":[],"entityName":"ns__Employee__c"}}}`, "ns__Employee__ChangeEvent"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":"Account"}},"event":{"EventApiName":"LeadChangeEvent"}}`, "LeadChangeEvent"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":null}},"event":{}}`, ""},
		{"/data/ChangeEvents", `{"payload":{}}`, ""},
		{"/data/ChangeEvents", `nonsense`, ""},
		{"/data/AccountChangeEvent", `{"payload":{}}`, "AccountChangeEvent"},
		{"/topic/Accounts", `{"sobject":{"Id":"1"},"event":{"type":"created"}}`, ""},
		{"/u/notices", `{"payload":"text","event":{}}`, ""},
	} {
		m := new(Message)
		m.readEvent(new(codec), tt.channel, []byte(tt.data))
		if got := m.EventName(); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.channel, tt.data, got, tt.want)
		}
	}
}

func TestEventNameOverThePubSubAPIIsTheSchemas(t *testing.T) {
	for _, channel := range []string{"/data/ChangeEvents", "/data/Sales__chn", "/data/OtherChangeEvent"} {
		m := vector(t, "account", "p1")
		if m.Channel = channel; m.EventName() != "AccountChangeEvent" {
			t.Errorf("%s: %q", channel, m.EventName())
		}
	}
	for channel, want := range map[string]string{"/event/Order__e": "Order__e", "/event/Sales__chn": "", "": ""} {
		m := &Message{Channel: channel, codec: &codec{schema: avro.Unusable(errNoChange)}}
		if m.EventName() != want || (&Message{Channel: channel}).EventName() != want {
			t.Errorf("%s without a schema: %q", channel, m.EventName())
		}
	}
}

// identityHeader is the header of the changes below.
func identityHeader(with map[string]any) map[string]any {
	h := map[string]any{
		"entityName": "Account", "recordIds": []string{"001000000000001AAA"}, "changeType": "UPDATE", "changeOrigin": "com/salesforce/api/rest/60.0",
		"transactionKey": "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6", "sequenceNumber": 1, "commitTimestamp": int64(1735689600000),
		"commitNumber": int64(1735689600123456789), "commitUser": "005000000000001AAA",
		"nulledFields": []string{}, "diffFields": []string{}, "changedFields": []string{"0x40"},
	}
	maps.Copy(h, with)
	return h
}

const identitySchema = `{"type":"record","name":"AccountChangeEvent","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":[
	{"name":"entityName","type":"string"},{"name":"recordIds","type":{"type":"array","items":"string"}},
	{"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":["CREATE","UPDATE","DELETE","GAP_UPDATE"]}},
	{"name":"changeOrigin","type":"string"},{"name":"transactionKey","type":"string"},{"name":"sequenceNumber","type":"int"},
	{"name":"commitTimestamp","type":"long"},{"name":"commitNumber","type":"long"},{"name":"commitUser","type":"string"},
	{"name":"nulledFields","type":{"type":"array","items":"string"}},{"name":"diffFields","type":{"type":"array","items":"string"}},
	{"name":"changedFields","type":{"type":"array","items":"string"}}]}},
	{"name":"Phone","type":["null","string"],"default":null}]}`

// avroEvent is an event of the Pub/Sub API with this payload in this schema.
func avroEvent(tb testing.TB, schema string, payload map[string]any) *Message {
	tb.Helper()
	writer, err := hamba.ParseWithCache(schema, "", &hamba.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	m := &Message{Channel: "/data/ChangeEvents", ReplayID: []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 0}}
	if m.payload, err = (hamba.Config{}.Freeze()).Marshal(writer, payload); err != nil {
		tb.Fatal(err)
	}
	m.codec = new(codec)
	if m.codec.schema, err = avro.Parse(schema); err != nil {
		tb.Fatal(err)
	}
	return m
}

// onBothAPIs are a change as the two APIs have it: replay id 7.
func onBothAPIs(tb testing.TB, with map[string]any, phone any) map[string]*Message {
	header := identityHeader(with)
	pubsub := avroEvent(tb, identitySchema, map[string]any{"ChangeEventHeader": header, "Phone": phone})
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		value := header[name]
		if list, ok := value.([]string); ok {
			value = `["` + strings.Join(list, `", "`) + `"]`
		} else if text, ok := value.(string); ok {
			value = `"` + text + `"`
		}
		parts = append(parts, fmt.Sprintf(`%q: %v`, name, value))
	}
	body := ""
	if phone != nil {
		body = fmt.Sprintf(`,"Phone":%q`, phone)
	}
	cometd := new(Message)
	cometd.readEvent(new(codec), "/data/ChangeEvents", []byte(`{"schema":"x","payload":{"ChangeEventHeader":{`+strings.Join(parts, ",")+`}`+body+`},"event":{"replayId":7}}`))
	return map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd}
}

func TestIdentityIsTheHeaders(t *testing.T) {
	first := onBothAPIs(t, nil, nil)
	if first["Pub/Sub"].identity() != first["CometD"].identity() {
		t.Error("the two APIs differ")
	}
	for _, tt := range []struct {
		name  string
		with  map[string]any
		phone any
		same  bool
	}{
		{"the event again", nil, nil, true},
		{"an enriched field has another value now", nil, "1", true},
		{"times, numbers, users and lists of fields", map[string]any{
			"commitTimestamp": int64(1), "commitNumber": int64(2), "commitUser": "005000000000002AAA", "changeOrigin": "", "changedFields": []string{"0x41"}}, nil, true},
		{"entity", map[string]any{"entityName": "Contact"}, nil, false},
		{"change type", map[string]any{"changeType": "GAP_UPDATE"}, nil, false},
		{"record", map[string]any{"recordIds": []string{"001000000000002AAA"}}, nil, false},
		{"one record more", map[string]any{"recordIds": []string{"001000000000001AAA", "001000000000002AAA"}}, nil, false},
		{"transaction", map[string]any{"transactionKey": "0000f0a1-0b2c-3d4e-5f60-718293a4b5c7"}, nil, false},
		{"sequence number", map[string]any{"sequenceNumber": 2}, nil, false},
		{"border of two parts", map[string]any{"entityName": "AccountU", "changeType": "DELETE"}, nil, false},
		{"a part is missing", map[string]any{"transactionKey": ""}, nil, false},
	} {
		for api, m := range onBothAPIs(t, tt.with, tt.phone) {
			m.ID = "2ec0e371-1395-457f-9275-be1b527a72f7" // may be shared, and may not
			if same := m.identity() == first[api].identity(); same != tt.same {
				t.Errorf("%s, %s: the identity is the same: %v", api, tt.name, same)
			}
			if same := m.Key() == first[api].Key(); same != tt.same {
				t.Errorf("%s, %s: the key is the same: %v", api, tt.name, same)
			}
			if clone := m.Clone(); clone.Key() != m.Key() || clone.identity() != m.identity() {
				t.Errorf("%s, %s: the clone is another event", api, tt.name)
			}
		}
	}
}

// What the stores of programs hold must be known again by every later version.
func TestIdentityIsTheSameInEveryVersion(t *testing.T) {
	for api, want := range map[string]string{
		"Pub/Sub": "00000000000000070000-" + stableSum, "CometD": "7-" + stableSum,
	} {
		m := onBothAPIs(t, nil, nil)[api]
		if got := m.identity(); got != stableIdentity {
			t.Errorf("%s: identity %#x", api, got)
		}
		if got := m.Key(); got != want {
			t.Errorf("%s: key %s", api, got)
		}
	}
	unread := &Message{ID: "id", payload: []byte("more than eight bytes")}
	if got := unread.identity(); got != stableUnread {
		t.Errorf("identity %#x", got)
	}
}

const (
	stableIdentity = 0xfc0cbc878b948011
	stableSum      = "071d9fee64f99680661a9a86539a22c2"
	stableUnread   = 0xf99647ab90cdbecf
)

func TestAnEventWhoseHeaderCannotBeReadIsItsBytes(t *testing.T) {
	identities := map[uint64]string{}
	keys := map[string]string{}
	differs := func(name string, m *Message) {
		t.Helper()
		if other, known := identities[m.identity()]; known {
			t.Errorf("%s is %s", name, other)
		}
		if other, known := keys[m.Key()]; known {
			t.Errorf("the key of %s is that of %s", name, other)
		}
		if m.Key() == "" || len(m.Key()) > 100 {
			t.Errorf("%s has the key %q", name, m.Key())
		}
		identities[m.identity()], keys[m.Key()] = name, name
	}
	whole := onBothAPIs(t, nil, nil)["Pub/Sub"]
	differs("the event", whole)
	for n := range 80 { // in the entity name, in the ids, in the type, in the origin, in the transaction key
		broken := whole.Clone()
		broken.payload = broken.payload[:n]
		differs(fmt.Sprintf("the event's first %d bytes", n), broken)
	}
	for _, header := range []string{
		`{}`, `null`, `[]`, `7`, `""`,
		`{"entityName":"Account"}`,
		`{"entityName":"Account","recordIds":[]}`,
		`{"entityName":"Account","recordIds":[""]}`,
		`{"entityName":"Account","recordIds":null}`,
		`{"entityName":"Account","recordIds":[1]}`,
		`{"entityName":"Account","recordIds":"001000000000001AAA"}`,
		`{"entityName":"Account","recordIds":["001000000000001AAA" 1]}`,
		`{"entityName":1,"recordIds":["001000000000001AAA"]}`,
		`{"entityName":"Acc\u006funt","recordIds":["001000000000001AAA"]}`,
		`{"entityName":"Account","recordIds":["001000000000001AAA"],"sequenceNumber":"1"}`,
		`{"entityName":"Account","recordIds":["001000000000001AAA"],"sequenceNumber":1.5}`,
		`{"entityName":"Account","recordIds":["001000000000001AAA"],changeType:"UPDATE"}`,
		`{"entityName":"Account","recordIds":["001000000000001AAA"],"changeType":["UPDATE"]}`,
	} {
		one, other := streamedChange(`{"ChangeEventHeader":`+header+`,"Phone":"1"}`), streamedChange(`{"ChangeEventHeader":`+header+`,"Phone":"2"}`)
		differs(header, one)
		differs(header+" and another phone", other)
		again := streamedChange(`{"ChangeEventHeader":` + header + `,"Phone":"1"}`)
		if again.Key() != one.Key() || again.identity() != one.identity() {
			t.Errorf("%s is not the same event again", header)
		}
	}
}

func TestAHeaderCountsWithWhatItHas(t *testing.T) {
	of := func(header, phone string) *Message {
		return streamedChange(`{"ChangeEventHeader":` + header + `,"Phone":"` + phone + `"}`)
	}
	for _, header := range []string{
		`{"recordIds":["001000000000001AAA"]}`,
		`{"entityName":null,"recordIds":["001000000000001AAA"],"sequenceNumber":null}`,
		`{"recordIds":["001*"],"changeType":"GAP_UPDATE","isTransactionEnd":true}`,
		` { "recordIds" : [ "000000000000000AAA" ] , "changeType" : "GAP_OVERFLOW" , "entityName" : "Lead" } `,
	} {
		if of(header, "1").identity() != of(header, "2").identity() {
			t.Errorf("of %s the payload counts", header)
		}
	}
}

func TestKey(t *testing.T) {
	const uuid = "2ec0e371-1395-457f-9275-be1b527a72f7"
	decimal := func(id string) []byte { return []byte(id) }
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"a platform event", Message{Channel: "/event/A__e", ID: uuid, ReplayID: decimal("7")}, uuid},
		{"published twice in doubt", Message{Channel: "/event/A__e", ID: uuid, ReplayID: decimal("9")}, uuid},
		{"in capitals", Message{Channel: "/event/A__e", ID: strings.ToUpper(uuid)}, strings.ToUpper(uuid)},
		{"its publisher's id", Message{Channel: "/event/A__e", ID: "order-17", ReplayID: []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 0}}, "00000000000000070000"},
		{"of the form of a UUID, nearly", Message{Channel: "/event/A__e", ID: uuid[:35] + "g", ReplayID: decimal("7")}, "7"},
		{"without id", Message{Channel: "/event/A__e", ReplayID: decimal("7")}, "7"},
		{"a PushTopic's", Message{Channel: "/topic/A", Type: "created", ReplayID: decimal("13")}, "13"},
		{"a long replay id", Message{Channel: "/event/A__e", ReplayID: make([]byte, 1000)}, "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53"},
	} {
		if got := tt.m.Key(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// Neither id: the bytes.
	one, other := Message{Channel: "/event/A__e", payload: []byte("1")}, Message{Channel: "/event/A__e", payload: []byte("2")}
	if one.Key() == "" || one.Key() == other.Key() || new(Message).Key() == "" {
		t.Errorf("%q and %q", one.Key(), other.Key())
	}
	// Without a schema nothing is known but the channel, and ids of changes may be shared.
	one, other = Message{Channel: "/data/A__chn", ID: uuid, payload: []byte("1")}, Message{Channel: "/data/A__chn", ID: uuid, payload: []byte("2")}
	one.codec = &codec{schema: avro.Unusable(errNoChange)}
	other.codec = one.codec
	if one.Key() == uuid || one.Key() == other.Key() || one.identity() == other.identity() {
		t.Errorf("%q and %q", one.Key(), other.Key())
	}
}

func TestIdentitiesDoNotCollide(t *testing.T) {
	seen := map[uint64]int{}
	for i := range 50_000 {
		m := &Message{codec: new(codec), payload: fmt.Appendf(nil,
			`{"payload":{"ChangeEventHeader":{"entityName":"Account","recordIds":["0015g00000%05dAAA"],"changeType":"UPDATE","transactionKey":"0000f0a1-0b2c-3d4e-5f60-718293a4b5c6","sequenceNumber":%d}}}`, i/2, i%2)}
		if other, known := seen[m.identity()]; known {
			t.Fatalf("%d is %d", i, other)
		}
		seen[m.identity()] = i
	}
}

func TestIdentityAllocatesNothing(t *testing.T) {
	for api, m := range onBothAPIs(t, nil, nil) {
		if n := testing.AllocsPerRun(100, func() { m.identity() }); n != 0 {
			t.Errorf("%s: %v allocations", api, n)
		}
	}
}

func BenchmarkIdentity(b *testing.B) {
	for api, m := range onBothAPIs(b, nil, nil) {
		b.Run(api, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.identity()
			}
		})
	}
}

// Identity reads the header as Header does.
func FuzzIdentity(f *testing.F) {
	m := onBothAPIs(f, nil, "1")
	f.Add(m["Pub/Sub"].payload, false)
	f.Add(m["CometD"].payload, true)
	f.Add([]byte(`{"payload":{"ChangeEventHeader":{"recordIds":["a","b"],"sequenceNumber":-3}}}`), true)
	f.Fuzz(func(t *testing.T, payload []byte, json bool) {
		event := &Message{Channel: "/data/ChangeEvents", payload: payload, codec: m["Pub/Sub"].codec}
		if json {
			event.codec = new(codec)
		}
		if event.identity() != event.Clone().identity() || event.Key() != event.Clone().Key() || event.Key() == "" {
			t.Fatal("it is another event each time")
		}
		change, err := event.Change()
		encoding, ok := event.appendIdentity(nil)
		if err != nil || !ok {
			return
		}
		var want []byte
		for _, id := range change.RecordIDs {
			if id != "" {
				want = appendText(want, id)
			}
		}
		for _, text := range []string{"", change.EntityName, string(change.Type), change.TransactionKey} {
			want = appendText(want, text)
		}
		if got := hex.EncodeToString(encoding); !strings.HasPrefix(got, hex.EncodeToString(want)) && !json {
			t.Errorf("got  %s\nwant %x…", got, want)
		}
	})
}
