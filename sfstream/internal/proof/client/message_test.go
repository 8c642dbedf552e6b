package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const allTypes = "/event/AllTypes__e"

// aMessage publishes an event that has fields of all kinds and receives it.
func aMessage(t *testing.T, do func(t *testing.T, l *lab.Lab, m *sfstream.Message), opts ...sfstream.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Must(l.DefineEvent(allTypes, lab.Schema("AllTypes__e",
			`{"name":"Text__c","type":["null","string"],"default":null}`,
			`{"name":"Flag__c","type":["null","boolean"],"default":null}`,
			`{"name":"Int__c","type":["null","int"],"default":null}`,
			`{"name":"Big__c","type":["null","long"],"default":null}`,
			`{"name":"When__c","type":["null","long"],"doc":"Data:DateTime:00N000000000001","default":null}`,
			`{"name":"Void__c","type":["null","string"],"default":null}`,
			`{"name":"Place__c","type":["null",{"type":"record","name":"Place","fields":[`+
				`{"name":"City","type":["null","string"],"default":null},{"name":"Floor","type":["null","int"],"default":null},`+
				`{"name":"Spot","type":["null",{"type":"record","name":"Spot","fields":[{"name":"X","type":["null","long"],"default":null}]}],"default":null}]}],"default":null}`,
		)))
		l.Start(opts...)
		l.Subscribe(allTypes)
		_, err := l.Publish(allTypes, map[string]any{
			"N__c": 58.25, "Text__c": "text", "Flag__c": true, "Int__c": -300, "Big__c": int64(1735689600123456789), "When__c": lab.Date,
			"Place__c": map[string]any{"City": "Lyon", "Floor": 7, "Spot": map[string]any{"X": int64(1 << 40)}},
		})
		l.Must(err)
		m := l.Receive()
		m.Ack()
		do(t, l, m)
	})
}

func TestFieldsAreThePayload(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		got, err := m.Fields()
		l.Must(err)
		want := map[string]any{
			"CreatedDate": "2000-01-01T00:00:00.000Z", "CreatedById": l.Account().UserID,
			"N__c": 58.25, "Text__c": "text", "Flag__c": true, "Int__c": int64(-300), "Big__c": int64(1735689600123456789),
			"When__c": "2025-06-01T12:30:15.123Z", "Void__c": nil,
			"Place__c": map[string]any{"City": "Lyon", "Floor": int64(7), "Spot": map[string]any{"X": int64(1 << 40)}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		clear(got) // it is the caller's own
		if again, _ := m.Fields(); !reflect.DeepEqual(again, want) {
			t.Errorf("the second time %v", again)
		}
	})
}

func TestFieldsOfAChangeEventAreWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Must(l.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
			sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"}, sfstreamtest.Field{Name: "BillingAddress", Type: "Address"},
			sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"}))
		l.Start()
		l.Subscribe(lab.Accounts)
		_, err := l.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"}, CommitTime: lab.Date, CommitNumber: 1735689600123456789,
			Set: map[string]any{"Name": "Acme", "BillingAddress": map[string]any{"City": "Lyon"}}, Null: []string{"Description", "BillingAddress.State"},
		})
		l.Must(err)
		m := l.Receive()
		m.Ack()
		fields, err := m.Fields()
		l.Must(err)
		header, _ := fields["ChangeEventHeader"].(map[string]any)
		delete(fields, "ChangeEventHeader")
		want := map[string]any{
			"Name": "Acme", "Description": nil, "LastModifiedDate": "2025-06-01T12:30:15.123Z",
			"BillingAddress": map[string]any{"City": "Lyon", "State": nil},
		}
		if !reflect.DeepEqual(fields, want) {
			t.Errorf("got  %v\nwant %v", fields, want)
		}
		if header["changeType"] != "UPDATE" || header["commitNumber"] != int64(1735689600123456789) || header["commitTimestamp"] != lab.Date.UnixMilli() {
			t.Errorf("header %v", header)
		}
		for name, want := range map[string][]any{
			"changedFields": {"Name", "Description", "LastModifiedDate", "BillingAddress.City", "BillingAddress.State"},
			"nulledFields":  {"Description", "BillingAddress.State"},
			"recordIds":     {"001000000000001AAA"},
		} {
			got, _ := header[name].([]any)
			if len(got) != len(want) {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
			for _, v := range want {
				if !strings.Contains(strings.Join(asStrings(got), " "), v.(string)) {
					t.Errorf("%s is %v, without %v", name, got, v)
				}
			}
		}
		if !m.Date().Equal(lab.Date) {
			t.Errorf("date %v", m.Date())
		}
	})
}

func asStrings(values []any) (texts []string) {
	for _, v := range values {
		s, _ := v.(string)
		texts = append(texts, s)
	}
	return texts
}

func TestDateIsTheEventsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow()
		l.PublishDated(1, lab.Date)
		if m := l.Receive(); !m.Date().Equal(lab.Date) {
			t.Errorf("%v", m.Date())
		}
		l.Subscribe(lab.Undated)
		l.PublishNumbers(lab.Undated, 2)
		if m := l.Receive(); !m.Date().IsZero() {
			t.Errorf("%v", m.Date())
		}
		var zero sfstream.Message
		if !zero.Date().IsZero() {
			t.Error("the date of no message")
		}
	})
}

func TestMarshalJSONHasTheShapeOfTheStreamingAPI(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		text, err := json.Marshal(m)
		l.Must(err)
		fields, err := m.Fields()
		l.Must(err)
		payload, err := json.Marshal(fields)
		l.Must(err)
		want := `{"channel":"` + allTypes + `","data":{"schema":"` + m.SchemaID + `","payload":` + string(payload) +
			`,"event":{"EventUuid":"` + m.ID + `","replayId":"` + hex.EncodeToString(m.ReplayID) + `"}}}`
		if string(text) != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
		if !strings.Contains(want, `"Big__c":1735689600123456789`) || !strings.Contains(want, `"When__c":"2025-06-01T12:30:15.123Z"`) {
			t.Errorf("%s", want)
		}
	})
}

func TestWithJSONMarshalsPayloadsOnly(t *testing.T) {
	calls := 0
	marshal := func(v any) ([]byte, error) {
		calls++
		if fields, ok := v.(map[string]any); !ok || fields["Text__c"] != "text" {
			t.Errorf("asked to marshal %T %v", v, v)
		}
		return []byte(`{"mine":true}`), nil
	}
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		text, err := m.MarshalJSON()
		l.Must(err)
		if !strings.Contains(string(text), `"payload":{"mine":true},"event":{"EventUuid":"`) || calls != 1 {
			t.Errorf("%d calls, %s", calls, text)
		}
	}, sfstream.WithJSON(marshal, json.Unmarshal))
}

func TestCloneSharesNothing(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		raw, id := bytes.Clone(m.Raw()), bytes.Clone(m.ReplayID)
		clone := m.Clone()
		clear(clone.Raw())
		clear(clone.ReplayID)
		if !bytes.Equal(m.Raw(), raw) || !bytes.Equal(m.ReplayID, id) {
			t.Error("the message changed with its clone")
		}
		clone = m.Clone()
		clear(m.Raw())
		clear(m.ReplayID)
		if !bytes.Equal(clone.Raw(), raw) || !bytes.Equal(clone.ReplayID, id) || clone.ID != m.ID || clone.Channel != m.Channel || clone.SchemaID != m.SchemaID {
			t.Error("the clone changed with its message")
		}
		fields, err := clone.Fields()
		if err != nil || fields["Text__c"] != "text" {
			t.Errorf("%v, %v", fields, err)
		}
	})
}

func TestAckOfACloneIsTheMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Follow(sfstream.WithAck(sfstream.AckManual))
		e := l.PublishOrders(1)[0]
		l.Receive().Clone().Ack()
		l.Stop()
		if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, e.ReplayID) {
			t.Errorf("marker %x, want %x", m.ReplayID, e.ReplayID)
		}
	})
}

func TestMessagesCanBeReadFromManyGoroutines(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				fields, err := m.Fields()
				if err != nil || fields["Text__c"] != "text" {
					t.Errorf("%v, %v", fields, err)
				}
				if _, err := sfstream.Decode[struct{ Text__c string }](m); err != nil {
					t.Error(err)
				}
				m.Ack()
				_ = m.Clone()
			})
		}
		wg.Wait()
	})
}

func TestAMessageOfNobodyIsHarmless(t *testing.T) {
	m := &sfstream.Message{Channel: "/event/X__e"}
	m.Ack()
	_ = m.Clone()
	if _, err := m.Fields(); err == nil {
		t.Error("fields of nothing")
	}
	if _, err := json.Marshal(m); err == nil {
		t.Error("JSON of nothing")
	}
}
