package sfstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/unidiff"
)

// vector is a change event of sfstreamtest's test data, with this schema.
func vector(tb testing.TB, schema, name string) *Message {
	tb.Helper()
	text, err := os.ReadFile("sfstreamtest/testdata/" + schema + ".avsc")
	if err != nil {
		tb.Fatal(err)
	}
	payload, err := os.ReadFile("sfstreamtest/testdata/" + name + ".hex")
	if err != nil {
		tb.Fatal(err)
	}
	m := &Message{Channel: "/data/ChangeEvents"}
	if m.payload, err = hex.DecodeString(strings.TrimSpace(string(payload))); err != nil {
		tb.Fatal(err)
	}
	m.codec = new(codec)
	if m.codec.schema, err = avro.Parse(string(text)); err != nil {
		tb.Fatal(err)
	}
	return m
}

// streamedChange is a change event of the Streaming API with this payload.
func streamedChange(payload string) *Message {
	m := new(Message)
	m.readEvent(new(codec), "/data/ChangeEvents", []byte(`{"schema":"x","payload":`+payload+`,"event":{"replayId":1}}`))
	return m
}

// vectorChange is what the headers of the vectors share.
func vectorChange(with func(*ChangeEvent)) *ChangeEvent {
	c := &ChangeEvent{
		EntityName: "Account", RecordIDs: []string{"001000000000001AAA"}, Type: ChangeUpdate,
		Origin: "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/", TransactionKey: "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6", SequenceNumber: 1,
		CommitTime: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), CommitNumber: 1735689600123456789, CommitUser: "005000000000001AAA",
	}
	with(c)
	return c
}

func TestChangeIsTheHeader(t *testing.T) {
	for _, tt := range []struct {
		schema, name string
		want         *ChangeEvent
	}{
		{"account", "p1", vectorChange(func(c *ChangeEvent) {
			c.ChangedFields = []string{"Description", "LastModifiedDate", "BillingAddress.City", "BillingAddress.State"}
			c.NulledFields = []string{"Description"}
		})},
		{"opportunity", "p2", vectorChange(func(c *ChangeEvent) {
			c.EntityName, c.RecordIDs = "Opportunity", []string{"006000000000001AAA"}
			c.ChangedFields = []string{"StageName", "Amount", "Probability", "CloseDate", "LastModifiedDate", "LastStageChangeDate", "LastAmountChangedHistoryId", "LastCloseDateChangedHistoryId"}
		})},
		{"account", "p4", vectorChange(func(c *ChangeEvent) { c.Type = ChangeCreate })},
		{"account", "p5", vectorChange(func(c *ChangeEvent) { c.Type, c.Origin = ChangeGapUpdate, "" })},
	} {
		m := vector(t, tt.schema, tt.name)
		got, err := m.Change()
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", tt.name, err, got, tt.want)
		}
		clear(m.payload)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s changed with its payload", tt.name)
		}
		m = vector(t, tt.schema, tt.name)
		m.payload = append(m.payload, 0xff, 0xff) // what is behind the header is not looked at
		if _, err := m.Fields(); err == nil {
			t.Errorf("%s: Fields read bytes behind the record", tt.name)
		}
		if got, err := m.Change(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s with a broken body: %v", tt.name, err)
		}
	}
}

func TestChangeExpandsBitmapsByTheEventsSchema(t *testing.T) { // see internal/eventbus/PROTOCOL.md, "Bitmaps"
	for _, tt := range []struct {
		schema, bitmaps string
		want            string
	}{
		{"account", "0x400000", "LastModifiedDate"},
		{"account", "0x410000", "Description LastModifiedDate"},
		{"account", "0x2080", "Fax NumberOfEmployees"},
		{"opportunity", "0x650004E0", "StageName Amount Probability CloseDate LastModifiedDate LastStageChangeDate LastAmountChangedHistoryId LastCloseDateChangedHistoryId"},
		{"opportunity", "0xA0060140", "Amount ExpectedRevenue ForecastCategoryName CampaignId LastAmountChangedHistoryId"}, // bit 31: beyond the schema
		{"opportunity", "0x01000010", "Description LastModifiedDate"},
		{"account", "4-0x01", "BillingAddress.Street"},
		{"account", "4-0x06", "BillingAddress.City BillingAddress.State"},
		{"account", "4-0x96", "BillingAddress.City BillingAddress.State BillingAddress.Country BillingAddress.Latitude"},
		{"account", "1-0x06", "Name.FirstName Name.LastName"},
		{"account", "0x400000 4-0x01", "LastModifiedDate BillingAddress.Street"},
		{"account", "0x41abc0", "Phone Fax AccountNumber Website Industry NumberOfEmployees TickerSymbol Description LastModifiedDate"}, // lower case
		{"account", "0x2", "Name"},                       // odd
		{"account", "0x010000000000000000 0x02", "Name"}, // bit 64
		{"account", "2-0x01 99-0x01 junk 0x02", "Name"},  // a parent that is no record, one that is not there
	} {
		m := vector(t, tt.schema, map[string]string{"account": "p1", "opportunity": "p2"}[tt.schema])
		elements := strings.Fields(tt.bitmaps)
		list := []byte{byte(2 * len(elements))}
		for _, e := range elements {
			list = append(append(list, byte(2*len(e))), e...)
		}
		list = append(list, 0)
		head, _, ok := strings.Cut(string(m.payload), "005000000000001AAA") // commitUser; the lists come behind it
		if !ok {
			t.Fatal("the vector has changed")
		}
		m.payload = append(append(append([]byte(head+"005000000000001AAA"), list...), list...), list...)
		got, err := m.Change()
		if err != nil {
			t.Errorf("%s: %v", tt.bitmaps, err)
			continue
		}
		for name, fields := range map[string][]string{"changed": got.ChangedFields, "nulled": got.NulledFields, "diff": got.DiffFields} {
			if strings.Join(fields, " ") != tt.want {
				t.Errorf("%s, %s: %q, want %q", tt.bitmaps, name, fields, tt.want)
			}
		}
	}
}

func TestChangeCostsTwoAllocations(t *testing.T) {
	for _, v := range [][2]string{{"account", "p1"}, {"opportunity", "p2"}, {"account", "p4"}, {"account", "p5"}} {
		m := vector(t, v[0], v[1])
		if n := testing.AllocsPerRun(100, func() {
			if _, err := m.Change(); err != nil {
				t.Fatal(err)
			}
		}); n > 2 { // the event with its lists, and their text
			t.Errorf("%s: %v allocations", v[1], n)
		}
	}
}

func BenchmarkChange(b *testing.B) {
	update := vector(b, "account", "p1")
	for name, do := range map[string]func() error{
		"Change": func() error { _, err := update.Change(); return err },
		"Fields": func() error { _, err := update.Fields(); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestChangeOfTheStreamingAPI(t *testing.T) {
	const header = `"entityName":"Account","recordIds":["001xx0000000001AAA","001xx0000000002AAA"],"changeType":"UPDATE","changeOrigin":"com/salesforce/api/rest/60.0;client=demo",` +
		`"transactionKey":"001b7375-0086-250e-e6ca-b99bc3a8b69f","sequenceNumber":2,"isTransactionEnd":true,"commitTimestamp":1767952804653,"commitNumber":1735689600123456789,` +
		`"commitUser":"005xx0000000001AAA","changedFields":["Name","Description","Industry","BillingAddress.State","LastModifiedDate"]`
	want := &ChangeEvent{
		EntityName: "Account", RecordIDs: []string{"001xx0000000001AAA", "001xx0000000002AAA"}, Type: ChangeUpdate, Origin: "com/salesforce/api/rest/60.0;client=demo",
		TransactionKey: "001b7375-0086-250e-e6ca-b99bc3a8b69f", SequenceNumber: 2, CommitTime: time.UnixMilli(1767952804653).UTC(), CommitNumber: 1735689600123456789,
		CommitUser: "005xx0000000001AAA", ChangedFields: []string{"Name", "Description", "Industry", "BillingAddress.State", "LastModifiedDate"},
		NulledFields: []string{"Industry", "BillingAddress.State"}, DiffFields: []string{"Description"},
	}
	body := `"BillingAddress":{"City":"Lyon","State":null},"Industry":null,"Description":{"diff":"--- \n+++ 00"},"Name":"x","Phone":null,"ShippingAddress":{"City":null}`
	for name, payload := range map[string]string{
		"the header first": `{"ChangeEventHeader":{` + header + `},` + body + `}`,
		"the header last":  ` { ` + body + ` , "ChangeEventHeader" : {` + header + ` , "nulled" : null } } `,
	} {
		if got, err := streamedChange(payload).Change(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
		}
	}
	// Phone and ShippingAddress came along, and are empty: the change has nulled neither. Nulls
	// mean something in an UPDATE only, and a header may lack anything.
	got, err := streamedChange(`{"ChangeEventHeader":{"changeType":"CREATE","recordIds":null,"entityName":null},"Name":null}`).Change()
	if err != nil || !reflect.DeepEqual(got, &ChangeEvent{Type: ChangeCreate}) {
		t.Errorf("%+v, %v", got, err)
	}
	// A compound field that is null as a whole goes by its own name.
	got, err = streamedChange(`{"ChangeEventHeader":{"changeType":"UPDATE","recordIds":[]},"BillingAddress":null}`).Change()
	if err != nil || !reflect.DeepEqual(got, &ChangeEvent{Type: ChangeUpdate, NulledFields: []string{"BillingAddress"}}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = streamedChange(`{"ChangeEventHeader":{"changeType":"REORGANIZE"}}`).Change()
	if err != nil || got.Type != "REORGANIZE" || got.IsGap() {
		t.Errorf("an unknown type: %+v, %v", got, err)
	}
}

func TestChangeOfWhatIsNoneIsADecodeError(t *testing.T) {
	cut := vector(t, "account", "p1")
	cut.payload = cut.payload[:10]
	noSchema := &Message{codec: &codec{schema: avro.Unusable(errors.New("gone"))}}
	topic := new(Message)
	topic.readEvent(new(codec), "/topic/A", []byte(`{"sobject":{"Id":"1"},"event":{"type":"created"}}`))
	for name, tt := range map[string]struct {
		m           *Message
		field, says string
	}{
		"a platform event":       {vector(t, "neworder", "p3"), "", "not an event of Change Data Capture"},
		"a cut payload":          {cut, "ChangeEventHeader.recordIds", "ends early"},
		"no schema":              {noSchema, "", "gone"},
		"nobody's":               {&Message{}, "", "did not come from a client"},
		"a PushTopic":            {topic, "", "not an event of Change Data Capture"},
		"a generic event":        {streamedChange(`"text"`), "", "not an event of Change Data Capture"},
		"JSON, a platform event": {streamedChange(`{"Name":1}`), "", "not an event of Change Data Capture"},
		"a header that is none":  {streamedChange(`{"ChangeEventHeader":"x"}`), "", "not an event of Change Data Capture"},
		"no JSON":                {streamedChange(`{"ChangeEventHeader":{},"A":nil}`), "", "not JSON"},
		"a number of decimals":   {streamedChange(`{"ChangeEventHeader":{"commitNumber":1.5}}`), "ChangeEventHeader.commitNumber", "1.5"},
		"a large sequence":       {streamedChange(`{"ChangeEventHeader":{"sequenceNumber":4294967296}}`), "ChangeEventHeader.sequenceNumber", "out of range"},
		"ids that are no list":   {streamedChange(`{"ChangeEventHeader":{"recordIds":"001"}}`), "ChangeEventHeader.recordIds", "string"},
		"a name that is none":    {streamedChange(`{"ChangeEventHeader":{"entityName":7}}`), "ChangeEventHeader.entityName", "not a text"},
	} {
		c, err := tt.m.Change()
		var bad *DecodeError
		if c != nil || !errors.As(err, &bad) || bad.Field != tt.field || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestOriginClientIsExact(t *testing.T) {
	for origin, want := range map[string]string{
		"":                             "",
		"com/salesforce/api/rest/62.0": "",
		"com/salesforce/api/rest/62.0;client=demo":             "demo",
		"com/salesforce/api/rest/62.0;client=demo2":            "demo2",
		"com/salesforce/api/soap/62.0;client=SfdcInternalAPI/": "SfdcInternalAPI",
		"com/salesforce/api/soap/62.0;client=a/b/":             "a/b",
		"com/salesforce/api/soap/62.0;client=a;client=b":       "a;client=b",
		"com/salesforce/api/soap/62.0;client=":                 "",
		"demo":                                                 "",
		";clientx=demo":                                        "",
	} {
		c := ChangeEvent{Origin: origin}
		if got := c.OriginClient(); got != want {
			t.Errorf("%s: %q, want %q", origin, got, want)
		}
	}
}

func TestGaps(t *testing.T) {
	for kind, want := range map[ChangeType][2]bool{
		ChangeCreate: {}, ChangeUpdate: {}, ChangeDelete: {}, ChangeUndelete: {}, "SNAPSHOT": {}, "": {}, "GAP": {},
		ChangeGapCreate: {true, false}, ChangeGapUpdate: {true, false}, ChangeGapDelete: {true, false}, ChangeGapUndelete: {true, false},
		ChangeGapOverflow: {true, true}, "GAP_NEW": {true, false},
	} {
		c := ChangeEvent{Type: kind}
		if got := [2]bool{c.IsGap(), c.IsOverflow()}; got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}

// FuzzChange gives Change any payload: it never panics, and agrees with Fields where both can read
// it.
func FuzzChange(f *testing.F) {
	schemas := make([]*avro.Schema, 0, 2)
	for _, v := range [][2]string{{"account", "p1"}, {"account", "p4"}, {"account", "p5"}, {"opportunity", "p2"}} {
		m := vector(f, v[0], v[1])
		if len(schemas) == 0 || v[0] == "opportunity" {
			schemas = append(schemas, m.codec.schema)
		}
		f.Add(m.payload)
		f.Add(append(m.payload[:len(m.payload)-3:len(m.payload)-3], 9))
	}
	f.Add([]byte(`{"ChangeEventHeader":{"recordIds":["001"],"changeType":"UPDATE","commitNumber":1735689600123456789,"changedFields":["A.B"]},"A":{"B":null},"C":{"diff":"x"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, schema := range schemas {
			compareChange(t, &Message{payload: payload, codec: &codec{schema: schema}}, true)
		}
		m := streamedChange(string(payload))
		_, _ = m.Change()
		_, _ = m.ApplyDiff("C", "old")
		fields, err := m.Fields()
		if header, _ := fields[changeHeader].(map[string]any); err != nil || header == nil {
			return
		}
		clean, err := json.Marshal(fields) // no name twice, and no escapes that the reader of envelopes passes over
		if err != nil || strings.Contains(string(clean), `\`) {
			return
		}
		compareChange(t, streamedChange(string(clean)), false)
	})
}

// compareChange compares Change with the header in Fields.
func compareChange(t *testing.T, m *Message, must bool) {
	fields, err := m.Fields()
	header, _ := fields[changeHeader].(map[string]any)
	c, bad := m.Change()
	if bad != nil {
		var decode *DecodeError
		if !errors.As(bad, &decode) || must && err == nil {
			t.Fatalf("Fields %v, Change %v", err, bad)
		}
		return
	}
	if err != nil {
		return
	}
	compare := func(name string, got, zero any) {
		want := header[name]
		if want == nil {
			want = zero
		}
		if elements, ok := want.([]any); ok && slices.Contains(elements, nil) {
			return // JSON's null is the empty text
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: Change %#v, Fields %#v", name, got, want)
		}
	}
	list := func(texts []string) []any {
		out := []any{}
		for _, text := range texts {
			out = append(out, text)
		}
		return out
	}
	compare("entityName", c.EntityName, "")
	compare("recordIds", list(c.RecordIDs), []any{})
	compare("changeType", string(c.Type), "")
	compare("changeOrigin", c.Origin, "")
	compare("transactionKey", c.TransactionKey, "")
	compare("sequenceNumber", int64(c.SequenceNumber), int64(0))
	compare("commitNumber", c.CommitNumber, int64(0))
	compare("commitUser", c.CommitUser, "")
	compare("changedFields", list(c.ChangedFields), []any{})
	if !m.codec.isJSON() {
		compare("nulledFields", list(c.NulledFields), []any{})
		compare("diffFields", list(c.DiffFields), []any{})
	}
	if !m.Date().Equal(c.CommitTime) && !c.CommitTime.IsZero() {
		t.Fatalf("CommitTime %v, Date %v", c.CommitTime, m.Date())
	}
}

// diffOf is a unified diff as Salesforce sends it.
func diffOf(result, hunks string) string {
	return fmt.Sprintf("--- \n+++ %x\n%s", sha256.Sum256([]byte(result)), hunks)
}

// withDiff is an UPDATE of the Streaming API that has a diff of the Description.
func withDiff(tb testing.TB, diff string) *Message {
	text, err := json.Marshal(diff)
	if err != nil {
		tb.Fatal(err)
	}
	return streamedChange(`{"ChangeEventHeader":{"recordIds":["001000000000001AAA"],"changeType":"UPDATE"},"Description":{"diff":` + string(text) + `},"Name":"Acme"}`)
}

func TestApplyDiffGivesTheNewValue(t *testing.T) {
	const old = "one\ntwo\nthree\nfour\nfive\nsix"
	for _, tt := range []struct{ name, old, want, hunks string }{
		{"a line", old, "one\nTWO\nthree\nfour\nfive\nsix", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"two hunks", old, "one\n2\nthree\nfour\nfive\n6\n7", "@@ -2,1 +2,1 @@\n-two\n+2\n@@ -6,1 +6,2 @@\n-six\n+6\n+7\n"},
		{"context", old, "one\ntwo\n3\nfour\nfive\nsix", "@@ -2,3 +2,3 @@ a heading\n two\n-three\n+3\n four"},
		{"counts left out", old, "1\ntwo\nthree\nfour\nfive\nsix", "@@ -1 +1 @@\n-one\n+1"},
		{"a line less", old, "one\nthree\nfour\nfive\nsix", "@@ -2,1 +1,0 @@\n-two"},
		{"a line more, after", old, "one\ntwo\nnew\nthree\nfour\nfive\nsix", "@@ -2,0 +3,1 @@\n+new"},
		{"a line more, before", old, "one\ntwo\nnew\nthree\nfour\nfive\nsix", "@@ -3,0 +3,1 @@\n+new"},
		{"a line more at the end", old, old + "\nnew", "@@ -6,1 +6,2 @@\n six\n+new\n\\ No newline at end of file\n"},
		{"the first line", old, "new\n" + old, "@@ -0,0 +1,1 @@\n+new"},
		{"an empty line", "a\n\nb", "a\n\nc", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c"},
		{"lines that look like a diff", "a\n--- \n+++ x\n@@ -1 +1 @@", "b\n--- \n+++ x\n@@ -1 +1 @@", "@@ -1,2 +1,2 @@\n-a\n+b\n --- "},
		{"no hunk", old, old, ""},
		{"it came again", "one\nTWO", "one\nTWO", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"a browser's lines", "one\r\ntwo\r\nthree", "one\r\nTWO\r\nnew\r\nthree", "@@ -2,1 +2,2 @@\n-two\n+TWO\n+new"},
		{"a browser's lines in the diff", "one\r\ntwo\r\nthree", "one\r\nTWO\r\nthree", "@@ -2,1 +2,1 @@\r\n-two\r\n+TWO\r\n"},
		{"the ends of lines were changed when stored", "one\ntwo\nthree", "one\r\nTWO\r\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"and the other way", "one\r\ntwo\r\nthree", "one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"mixed ends", "one\ntwo\r\nthree\nfour", "one\ntwo\r\n3\nfour", "@@ -3,1 +3,1 @@\n-three\n+3"},
		{"a last line", "one\r\ntwo", "one\r\ntwo\r\nthree", "@@ -2,1 +2,2 @@\n two\n+three"},
		{"ünïcode", "é\n\xff", "é\n✓", "@@ -2,1 +2,1 @@\n-\xff\n+✓"},
	} {
		if got, err := unidiff.Apply(diffOf(tt.want, tt.hunks), tt.old); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if strings.Contains(tt.hunks, "\xff") {
			continue // no JSON
		}
		got, err := withDiff(t, strings.ToUpper(diffOf(tt.want, ""))+tt.hunks).ApplyDiff("Description", tt.old)
		if err != nil || got != tt.want {
			t.Errorf("%s, in a message: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestApplyDiffRefusesWhatIsNotExact(t *testing.T) {
	const old = "one\ntwo\nthree"
	good := diffOf("one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO")
	head := strings.Join(strings.SplitAfter(good, "\n")[:2], "")
	for _, tt := range []struct {
		name, diff, old string
		is              error
	}{
		{"another old value", good, "one\n2\nthree", unidiff.ErrOld},
		{"another line elsewhere", good, "one\ntwo\n3", unidiff.ErrSum},
		{"a shorter old value", good, "one", unidiff.ErrOld},
		{"none", good, "", unidiff.ErrOld},
		{"hunks out of order", head + "@@ -2,1 +2,1 @@\n-two\n+TWO\n@@ -1,1 +1,1 @@\n-one\n+1", old, unidiff.ErrOld},
		{"beyond the end", head + "@@ -9,0 +9,1 @@\n+x", old, unidiff.ErrOld},
		{"nothing", "", old, unidiff.ErrSyntax},
		{"plain text", "a new value\nof two lines", old, unidiff.ErrSyntax},
		{"a short sum", "--- \n+++ 00\n", old, unidiff.ErrSyntax},
		{"no sum", "--- \n+++ \n", old, unidiff.ErrSyntax},
		{"no hex", "--- \n+++ " + strings.Repeat("x", 64), old, unidiff.ErrSyntax},
		{"names of files", "--- a/file\n+++ b/file\n", old, unidiff.ErrSyntax},
		{"cut", good[:len(good)-5], old, unidiff.ErrSyntax},
		{"too many lines", head + "@@ -2,1 +2,1 @@\n-two\n-three\n+TWO", old, unidiff.ErrSyntax},
		{"a strange line", head + "@@ -2,1 +2,1 @@\n*two\n+TWO", old, unidiff.ErrSyntax},
		{"no numbers", head + "@@ -x,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"negative", head + "@@ --2,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"large", head + "@@ -99999999999999999999,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"no end of the ranges", head + "@@ -2,1 +2,1\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"one range", head + "@@ -2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"a tail", good + "\nmore", old, unidiff.ErrSyntax},
	} {
		got, err := withDiff(t, tt.diff).ApplyDiff("Description", tt.old)
		var bad *DiffError
		if got != "" || !errors.As(err, &bad) || !errors.Is(err, tt.is) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
			continue
		}
		if bad.Field != "Description" || bad.Channel != "/data/ChangeEvents" || bad.RecordIDs[0] != "001000000000001AAA" || !strings.HasSuffix(err.Error(), "read the record with Refetch") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, field := range []string{"Name", "Phone", "", "Description.diff", "ChangeEventHeader"} {
		_, err := withDiff(t, good).ApplyDiff(field, old)
		var bad *DecodeError
		if !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var bad *DecodeError
	if _, err := (&Message{}).ApplyDiff("Description", old); !errors.As(err, &bad) {
		t.Errorf("of nobody: %v", err)
	}
}

// FuzzApplyDiff gives ApplyDiff any diff and any old value: it never panics.
func FuzzApplyDiff(f *testing.F) {
	f.Add(diffOf("one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"), "one\ntwo\nthree")
	f.Add(diffOf("a\r\nx\r\nb", "@@ -1,0 +2 @@\n+x\n\\ none"), "a\r\nb")
	f.Add(diffOf("", "@@ -0,0 +0,0 @@\n@@ -1 +1 @@\n \n"), "\n")
	f.Fuzz(func(t *testing.T, text, old string) {
		if _, err := withDiff(t, text).ApplyDiff("Description", old); err == nil && !strings.HasPrefix(text, "---") {
			t.Errorf("%q is a diff", text)
		}
	})
}

const changeHeader = "ChangeEventHeader"

// enrichedUpdate is what a channel that is enriched with six fields carries when three others
// change: Fax, the city, and the description, which is emptied.
func enrichedUpdate(tb testing.TB) (pubsub, cometd *Message) {
	return enrichedChange(tb, "UPDATE", []string{"0x410080", "4-0x02"}, []string{"0x010000"},
		[]string{"Fax", "Description", "LastModifiedDate", "BillingAddress.City"},
		map[string]any{"Fax": "1", "Description": nil, "Phone": "2", "Industry": "Energy", "AnnualRevenue": 3.5, "Active__c": true,
			"BillingAddress": map[string]any{"Street": "Quai 1", "City": "Lyon"}, "ShippingAddress": map[string]any{"City": "Graz"},
			"Name": "Acme", "LastModifiedDate": int64(1735689600000)})
}

// enrichedChange is a change of an account over the two APIs: bitmaps and names say the same.
func enrichedChange(tb testing.TB, kind string, changed, nulled, names []string, body map[string]any) (pubsub, cometd *Message) {
	tb.Helper()
	schema, err := os.ReadFile("sfstreamtest/testdata/account.avsc")
	if err != nil {
		tb.Fatal(err)
	}
	if nulled == nil {
		nulled = []string{}
	}
	header := identityHeader(map[string]any{"changeType": kind, "changedFields": changed, "nulledFields": nulled})
	event := map[string]any{changeHeader: header}
	text := map[string]any{}
	tree := hamba.MustParse(string(schema)).(*hamba.RecordSchema)
	for _, f := range tree.Fields()[1:] {
		value, has := body[f.Name()]
		event[f.Name()] = nil
		if has {
			text[f.Name()] = value
		}
		switch v := value.(type) {
		case map[string]any:
			record := map[string]any{}
			for _, name := range []string{"Street", "City", "State", "PostalCode", "Country", "StateCode", "CountryCode", "Latitude", "Longitude", "GeocodeAccuracy"} {
				record[name] = v[name]
			}
			event[f.Name()] = map[string]any{"com.sforce.eventbus.Address": record}
		case nil:
		default:
			event[f.Name()] = v
		}
	}
	if _, dated := text["LastModifiedDate"]; dated {
		text["LastModifiedDate"] = "2025-01-01T00:00:00Z"
	}
	pubsub = avroEvent(tb, string(schema), event)
	names = append([]string{}, names...)
	text[changeHeader] = map[string]any{"entityName": "Account", "changeType": kind, "recordIds": header["recordIds"], "changedFields": names}
	payload, err := json.Marshal(text)
	if err != nil {
		tb.Fatal(err)
	}
	return pubsub, streamedChange(string(payload))
}

func TestEnrichedFieldsAreApartFromWhatChanged(t *testing.T) {
	address := map[string]any{"Street": "Quai 1", "City": "Lyon"}
	body := map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": int64(1735689600000)}
	const date = "2025-01-01T00:00:00.000Z"
	for _, tt := range []struct {
		name            string
		kind            string
		changed, nulled []string
		names           []string
		body            map[string]any
		fields          map[string]any
		enriched        map[string]any
	}{
		{name: "all changed", kind: "UPDATE", changed: []string{"0x4000C0", "4-0x03"}, names: []string{"Phone", "Fax", "LastModifiedDate", "BillingAddress.Street", "BillingAddress.City"}, body: body,
			fields: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "one changed", kind: "UPDATE", changed: []string{"0x400080"}, names: []string{"Fax", "LastModifiedDate"}, body: body,
			fields: map[string]any{"Fax": "1", "LastModifiedDate": date}, enriched: map[string]any{"Phone": "2", "BillingAddress": address}},
		{name: "a part of a compound", kind: "UPDATE", changed: []string{"0x400000", "4-0x02"}, names: []string{"LastModifiedDate", "BillingAddress.City"}, body: body,
			fields:   map[string]any{"LastModifiedDate": date, "BillingAddress": map[string]any{"City": "Lyon"}},
			enriched: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": map[string]any{"Street": "Quai 1"}}},
		{name: "the compound as a whole", kind: "UPDATE", changed: []string{"0x400010"}, names: []string{"LastModifiedDate", "BillingAddress"}, body: body,
			fields: map[string]any{"LastModifiedDate": date, "BillingAddress": address}, enriched: map[string]any{"Fax": "1", "Phone": "2"}},
		{name: "nulled beside", kind: "UPDATE", changed: []string{"0x010080", "4-0x04"}, nulled: []string{"0x010000", "4-0x04"}, names: []string{"Fax", "Description", "BillingAddress.State"},
			body:     map[string]any{"Fax": "1", "Description": nil, "Phone": "2", "Industry": nil, "BillingAddress": map[string]any{"City": "Lyon", "State": nil}},
			fields:   map[string]any{"Fax": "1", "Description": nil, "BillingAddress": map[string]any{"State": nil}},
			enriched: map[string]any{"Phone": "2", "BillingAddress": map[string]any{"City": "Lyon"}}},
		{name: "nothing changed", kind: "UPDATE", changed: []string{}, body: map[string]any{"Phone": "2"}, fields: map[string]any{}, enriched: map[string]any{"Phone": "2"}},
		{name: "nothing changed nor came", kind: "UPDATE", changed: []string{}, fields: map[string]any{}},
		{name: "DELETE", kind: "DELETE", changed: []string{}, body: body,
			fields: map[string]any{}, enriched: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "plain DELETE", kind: "DELETE", changed: []string{}, fields: map[string]any{}},
		{name: "CREATE", kind: "CREATE", changed: []string{}, body: body, fields: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "UNDELETE", kind: "UNDELETE", changed: []string{}, body: map[string]any{"Phone": "2"}, fields: map[string]any{"Phone": "2"}},
		{name: "a gap", kind: "GAP_UPDATE", changed: []string{}, fields: map[string]any{}},
		{name: "an overflow", kind: "GAP_OVERFLOW", changed: []string{}, fields: map[string]any{}},
	} {
		pubsub, cometd := enrichedChange(t, tt.kind, tt.changed, tt.nulled, tt.names, tt.body)
		for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
			fields, err := m.Fields()
			if err != nil {
				t.Fatal(tt.name, err)
			}
			delete(fields, changeHeader)
			if !reflect.DeepEqual(fields, tt.fields) {
				t.Errorf("%s, %s: fields %v, want %v", tt.name, api, fields, tt.fields)
			}
			enriched, err := m.Enriched()
			if err != nil || !reflect.DeepEqual(enriched, tt.enriched) {
				t.Errorf("%s, %s: enriched %v, want %v (%v)", tt.name, api, enriched, tt.enriched, err)
			}
			text, err := json.Marshal(m)
			along, _ := json.Marshal(tt.enriched)
			if has := strings.Contains(string(text), `},"enriched":`+string(along)+`,"event":`); err != nil || has != (tt.enriched != nil) {
				t.Errorf("%s, %s: %s (%v)", tt.name, api, text, err)
			}
			if fields, err := Decode[map[string]any](m); err != nil || len(fields) != len(tt.fields)+1 {
				t.Errorf("%s, %s: a map gets %v (%v)", tt.name, api, fields, err)
			}
			change, err := m.Change()
			if err != nil || len(tt.nulled) == 0 != (change.NulledFields == nil) {
				t.Errorf("%s, %s: nulled %v (%v)", tt.name, api, change.NulledFields, err)
			}
		}
	}
}

func TestAnOptionalTellsWhatOnlyCameAlong(t *testing.T) {
	type address struct {
		Street Optional[string] `json:",omitzero"`
		City   Optional[string] `json:",omitzero"`
	}
	type account struct {
		Fax             Optional[string]  `json:",omitzero"`
		Phone           Optional[string]  `json:",omitzero"`
		Description     Optional[string]  `json:",omitzero"`
		Website         Optional[string]  `json:",omitzero"`
		AnnualRevenue   Optional[float64] `json:",omitzero"`
		Active          Optional[*bool]   `sf:"Active__c" json:",omitzero"`
		BillingAddress  Optional[address] `json:",omitzero"`
		ShippingAddress Optional[address] `json:",omitzero"`
	}
	pubsub, cometd := enrichedUpdate(t)
	for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
		got, err := Decode[account](m)
		if err != nil {
			t.Fatal(api, err)
		}
		if fax, set := got.Fax.Get(); fax != "1" || !set || !got.Description.IsNull() || !got.Website.IsZero() {
			t.Errorf("%s: %+v", api, got)
		}
		if value, set := got.Phone.Get(); value != "" || set || got.Phone.IsSet() || got.Phone.IsNull() || !got.Phone.IsZero() || got.Phone.String() != "unchanged" {
			t.Errorf("%s: the phone is changed: %v", api, got.Phone)
		}
		for name, ok := range map[string]bool{
			"Phone":         holds(got.Phone, "2"),
			"AnnualRevenue": holds(got.AnnualRevenue, 3.5),
		} {
			if !ok {
				t.Errorf("%s: %s: %+v", api, name, got)
			}
		}
		if active, ok := got.Active.Enriched(); !ok || !*active {
			t.Errorf("%s: active %v", api, active)
		}
		for name, o := range map[string]Optional[string]{"Fax": got.Fax, "Description": got.Description, "Website": got.Website} {
			if value, ok := o.Enriched(); ok || value != "" {
				t.Errorf("%s: %s came along: %q", api, name, value)
			}
		}
		billing, set := got.BillingAddress.Get()
		if city, _ := billing.City.Get(); !set || city != "Lyon" || !holds(billing.Street, "Quai 1") {
			t.Errorf("%s: %+v", api, got.BillingAddress)
		}
		shipping, ok := got.ShippingAddress.Enriched()
		if !ok || got.ShippingAddress.IsSet() || !holds(shipping.City, "Graz") {
			t.Errorf("%s: %+v", api, got.ShippingAddress)
		}
		text, err := json.Marshal(got)
		if want := `{"Fax":"1","Description":null,"BillingAddress":{"City":"Lyon"}}`; err != nil || string(text) != want {
			t.Errorf("%s: the body of a PATCH is %s, %v", api, text, err)
		}
		if _, err := json.Marshal(got.Phone); err == nil {
			t.Errorf("%s: there is JSON of what came along", api)
		}
		other := got.Phone
		got.Phone.Set("3")
		other.SetNull()
		_, set = got.Phone.Enriched()
		if _, null := other.Enriched(); set || null || !got.Phone.IsSet() || !other.IsNull() {
			t.Errorf("%s: Set and SetNull leave %v, %v", api, set, null)
		}
	}
}

func holds[T comparable](o Optional[T], want T) bool {
	value, ok := o.Enriched()
	return ok && value == want
}

func TestPlainFieldsAndPointersGetWhatCameAlong(t *testing.T) {
	type account struct {
		Fax, Phone, Description string
		Industry                *string
		Revenue                 float64 `sf:"AnnualRevenue"`
		Website                 *string
		BillingAddress          struct {
			Street string
			City   *string
			State  Optional[string]
		}
		Billing         map[string]any `sf:"BillingAddress"`
		Any             any            `sf:"BillingAddress"`
		ShippingAddress *struct{ City Optional[string] }
		Optional        Optional[map[string]any] `sf:"ShippingAddress"`
		Deep            **Optional[string]       `sf:"Phone"`
	}
	pubsub, cometd := enrichedUpdate(t)
	var all []account
	for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
		got, err := Decode[account](m)
		if err != nil {
			t.Fatal(api, err)
		}
		all = append(all, got)
		address := map[string]any{"Street": "Quai 1", "City": "Lyon"}
		if got.Fax != "1" || got.Phone != "2" || *got.Industry != "Energy" || got.Revenue != 3.5 || got.Website != nil || got.BillingAddress.Street != "Quai 1" ||
			*got.BillingAddress.City != "Lyon" || !got.BillingAddress.State.IsZero() || !holds(got.ShippingAddress.City, "Graz") ||
			!reflect.DeepEqual(got.Billing, address) || !reflect.DeepEqual(got.Any, any(address)) || !holds(**got.Deep, "2") {
			t.Errorf("%s: %+v", api, got)
		}
		if shipping, ok := got.Optional.Enriched(); !ok || shipping["City"] != "Graz" {
			t.Errorf("%s: %+v", api, got.Optional)
		}
	}
	if !reflect.DeepEqual(all[0], all[1]) {
		t.Errorf("the APIs differ:\n%+v\n%+v", all[0], all[1])
	}
	// A variable that is used again holds nothing of the event before.
	var again struct{ Phone Optional[string] }
	again.Phone.Set("before")
	if err := pubsub.Decode(&again); err != nil || !holds(again.Phone, "2") || again.Phone.IsSet() {
		t.Errorf("%+v, %v", again, err)
	}
}

// The Streaming API says since version 47.0 what changed: without that all of it did.
func TestAnOldAPIVersionEnrichesNothing(t *testing.T) {
	for _, header := range []string{`{"changeType":"UPDATE"}`, `{"changeType":"UPDATE","changedFields":null}`} {
		m := streamedChange(`{"ChangeEventHeader":` + header + `,"Phone":"1","Fax":null}`)
		fields, err := m.Fields()
		enriched, bad := m.Enriched()
		change, worse := m.Change()
		if err != nil || bad != nil || worse != nil || fields["Phone"] != "1" || enriched != nil || !reflect.DeepEqual(change.NulledFields, []string{"Fax"}) {
			t.Errorf("%v, %v, %+v", fields, enriched, change)
		}
	}
}

func TestOtherEventsHaveNothingEnriched(t *testing.T) {
	for _, data := range []string{
		`{"payload":{"N__c":1},"event":{"replayId":1}}`, `{"payload":"text","event":{"replayId":1}}`, `{"sobject":{"Id":"1"},"event":{"type":"updated"}}`,
	} {
		m := new(Message)
		m.readEvent(new(codec), "/x", []byte(data))
		if enriched, err := m.Enriched(); err != nil || enriched != nil {
			t.Errorf("%s: %v, %v", data, enriched, err)
		}
	}
	if _, err := new(Message).Enriched(); err == nil {
		t.Error("of no message there is something")
	}
}

// Whatever a payload says, what an Optional tells agrees with Fields and Enriched.
func FuzzEnriched(f *testing.F) {
	_, cometd := enrichedUpdate(f)
	f.Add(string(cometd.payload))
	for _, payload := range []string{
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":["A.B","A","C.D"]},"A":{"B":1,"C":null},"C":"text","Phone":"1"}`,
		`{"ChangeEventHeader":{"changeType":"DELETE"},"A":{"B":{"C":null}},"Phone":null}`,
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":[1,null,".",""]},"":{"":1},"Phone":["1"]}`,
	} {
		f.Add(`{"payload":` + payload + `}`)
	}
	f.Fuzz(func(t *testing.T, data string) {
		m := new(Message)
		m.readEvent(new(codec), "/data/ChangeEvents", []byte(data))
		value, enriched, err := m.value()
		if err != nil {
			return
		}
		fields, isMap := value.(map[string]any)
		if !isMap {
			return
		}
		got, err := Decode[struct{ Phone Optional[any] }](m)
		if err != nil {
			t.Fatal(err)
		}
		_, is := fields["Phone"]
		along, came := enriched["Phone"]
		if value, ok := got.Phone.Enriched(); (ok != came || !reflect.DeepEqual(value, along)) && !is {
			t.Errorf("the phone is %+v, of %v", got.Phone, along)
		}
		if got.Phone.IsZero() == is {
			t.Errorf("the phone is %v, of %v", got.Phone, fields["Phone"])
		}
	})
}
