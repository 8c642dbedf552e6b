package sfstream

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"

	avropkg "github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

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
	writer, err := avro.ParseWithCache(schema, "", &avro.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	m := &Message{Channel: "/data/ChangeEvents", ReplayID: []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 0}}
	if m.payload, err = (avro.Config{}.Freeze()).Marshal(writer, payload); err != nil {
		tb.Fatal(err)
	}
	m.codec = new(codec)
	if m.codec.schema, err = avropkg.Parse(schema); err != nil {
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
	one.codec = &codec{schema: avropkg.Unusable(errNoChange)}
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
