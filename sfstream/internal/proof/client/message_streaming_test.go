package client

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	messageTopic   = "/topic/Accounts"
	messageGeneric = "/u/notices/Ops"
)

// streamed receives one message that send publishes on a PushTopic or a generic channel, as
// subscribed.
func streamed(t *testing.T, channel string, send func(l *lab.Lab) (sfstreamtest.Event, error), check func(l *lab.Lab, m *sfstream.Message), opts ...sfstream.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Must(l.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accounts", Query: "SELECT Id, Name, Industry FROM Account", NotifyForFields: "All"}))
		l.Must(l.DefineGenericChannel(messageGeneric))
		l.Start(opts...)
		l.Subscribe(channel)
		e, err := send(l)
		l.Must(err)
		m := l.Receive()
		m.Ack()
		if want := strconv.FormatUint(e.Number, 10); string(m.ReplayID) != want || m.Channel != channel || m.SchemaID != "" {
			t.Errorf("channel %s, replay id %s, schema %q; want %s, %s, none", m.Channel, m.ReplayID, m.SchemaID, channel, want)
		}
		check(l, m)
	})
}

func anAccount(l *lab.Lab) (sfstreamtest.Event, error) {
	return l.PublishTopic("Accounts", "updated", map[string]any{
		"Id": "001000000000001AAA", "Name": "Acme \"1\"", "Industry": nil, "Employees": json.RawMessage("9007199254740993"), "Revenue": json.RawMessage("3.0"),
		"LastModifiedDate": "2025-06-01T12:30:15.000+0000", "Tags": []string{"a", "2025-06-01T12:30:15Z"}, "Owner": map[string]any{"Name": "Ada"},
	})
}

func TestAPushTopicsMessageIsTheRecord(t *testing.T) {
	streamed(t, messageTopic, anAccount, func(l *lab.Lab, m *sfstream.Message) {
		fields, err := m.Fields()
		l.Must(err)
		want := map[string]any{
			"Id": "001000000000001AAA", "Name": "Acme \"1\"", "Industry": nil, "Employees": int64(9007199254740993), "Revenue": 3.0,
			"LastModifiedDate": "2025-06-01T12:30:15.000Z", "Tags": []any{"a", "2025-06-01T12:30:15.000Z"}, "Owner": map[string]any{"Name": "Ada"},
		}
		if !reflect.DeepEqual(fields, want) {
			t.Errorf("got  %v\nwant %v", fields, want)
		}
		if m.Type != "updated" || m.ID != "" || time.Until(m.Date()).Abs() > time.Second {
			t.Errorf("type %q, ID %q, date %v", m.Type, m.ID, m.Date())
		}
		account, err := sfstream.Decode[struct {
			Name             string
			Employees        int64
			LastModifiedDate time.Time
			When             time.Time `sf:"LastModifiedDate"`
			Industry         *string
			Owner            struct{ Name string }
		}](m)
		l.Must(err)
		if account.Name != "Acme \"1\"" || account.Employees != 9007199254740993 || !account.When.Equal(time.Date(2025, 6, 1, 12, 30, 15, 0, time.UTC)) ||
			account.Industry != nil || account.Owner.Name != "Ada" {
			t.Errorf("%+v", account)
		}
		_, err = sfstream.Decode[struct{ Employees int32 }](m)
		if e := lab.ExpectError[*sfstream.DecodeError](t, err); e.Field != "Employees" || e.Channel != messageTopic || string(e.ReplayID) != string(m.ReplayID) {
			t.Errorf("%+v", e)
		}
		text, err := m.MarshalJSON()
		l.Must(err)
		date := m.Date().Format("2006-01-02T15:04:05.000Z")
		wantText := `{"channel":"/topic/Accounts","data":{"sobject":{"Employees":9007199254740993,"Id":"001000000000001AAA","Industry":null,` +
			`"LastModifiedDate":"2025-06-01T12:30:15.000Z","Name":"Acme \"1\"","Owner":{"Name":"Ada"},"Revenue":3,"Tags":["a","2025-06-01T12:30:15.000Z"]},` +
			`"event":{"createdDate":"` + date + `","replayId":` + string(m.ReplayID) + `,"type":"updated"}}}`
		if string(text) != wantText {
			t.Errorf("got  %s\nwant %s", text, wantText)
		}
		var raw struct {
			Sobject struct{ Employees json.Number }
		}
		if err := json.Unmarshal(m.Raw(), &raw); err != nil || raw.Sobject.Employees != "9007199254740993" {
			t.Errorf("raw %s (%v)", m.Raw(), err)
		}
		if clone := m.Clone(); string(clone.Raw()) != string(m.Raw()) || &clone.Raw()[0] == &m.Raw()[0] {
			t.Error("the clone shares memory")
		}
	})
}

func TestAGenericMessageIsItsText(t *testing.T) {
	send := func(l *lab.Lab) (sfstreamtest.Event, error) {
		result, err := l.Push(messageGeneric, `{"not": "decoded"}`)
		return result.Event, err
	}
	streamed(t, messageGeneric, send, func(l *lab.Lab, m *sfstream.Message) {
		fields, err := m.Fields()
		l.Must(err)
		if !reflect.DeepEqual(fields, map[string]any{"payload": `{"not": "decoded"}`}) || m.Type != "" || m.Date().IsZero() {
			t.Errorf("%v, type %q, date %v", fields, m.Type, m.Date())
		}
		if text, err := sfstream.Decode[string](m); err != nil || text != `{"not": "decoded"}` {
			t.Errorf("%q, %v", text, err)
		}
		if v, err := sfstream.Decode[any](m); err != nil || v != `{"not": "decoded"}` {
			t.Errorf("%q, %v", v, err)
		}
		if _, err := sfstream.Decode[struct{ Not string }](m); err == nil {
			t.Error("a text became a struct")
		}
		text, err := m.MarshalJSON()
		l.Must(err)
		if !strings.HasPrefix(string(text), `{"channel":"/u/notices/Ops","data":{"payload":"{\"not\": \"decoded\"}","event":{"createdDate":"`) {
			t.Errorf("%s", text)
		}
	})
}

func TestWithJSONDecodesPayloadsOfTheStreamingAPI(t *testing.T) {
	var seen []string
	option := sfstream.WithJSON(json.Marshal, func(text []byte, v any) error {
		seen = append(seen, string(text))
		if strings.Contains(string(text), "replayId") {
			return errors.New("the envelope is not for it")
		}
		*v.(*any) = map[string]any{"mine": true}
		return nil
	})
	streamed(t, messageTopic, anAccount, func(l *lab.Lab, m *sfstream.Message) {
		if len(seen) > 0 {
			t.Errorf("called before anything was asked for: %q", seen)
		}
		fields, err := m.Fields()
		l.Must(err)
		if !reflect.DeepEqual(fields, map[string]any{"mine": true}) || len(seen) != 1 {
			t.Errorf("%v after %q", fields, seen)
		}
	}, option)
}

func TestFiltersAreRoutedToTheSubscription(t *testing.T) {
	for name, opts := range map[string][]sfstreamtest.Option{"events name the filter": nil, "events name the bare channel": {sfstreamtest.WithBareFilteredChannel()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t, opts...)
				l.Must(l.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accounts", Query: "SELECT Id, Name, Industry FROM Account"}))
				const filtered = messageTopic + "?Industry='Energy'"
				l.Start(sfstream.WithReplay(sfstream.ReplayAll))
				l.Subscribe(filtered)
				if err := l.Client.Subscribe(t.Context(), messageTopic); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
					t.Errorf("the bare channel: %v", err)
				}
				send := func(industry string) sfstreamtest.Event {
					e, err := l.PublishTopic("Accounts", "created", map[string]any{"Id": "1", "Industry": industry})
					l.Must(err)
					return e
				}
				send("Retail")
				first := send("Energy")
				m := l.Receive()
				if m.Channel != filtered || string(m.ReplayID) != strconv.FormatUint(first.Number, 10) {
					t.Errorf("%s %s", m.Channel, m.ReplayID)
				}
				m.Ack()
				l.Stop()
				send("Retail")
				second := send("Energy")
				l.Start()
				l.Subscribe(messageTopic + "?Industry='Energy'&Name='x'") // another filter, the same marker
				if m := l.Receive(); string(m.ReplayID) != strconv.FormatUint(second.Number, 10) {
					t.Errorf("after the restart %s, want %d", m.ReplayID, second.Number)
				}
			})
		})
	}
}
