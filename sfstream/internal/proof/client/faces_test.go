package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// onlyPubSub is what an event carries over the Pub/Sub API alone: see internal/bayeux/PROTOCOL.md,
// "Events".
var onlyPubSub = struct{ header, event []string }{
	header: []string{"nulledFields", "diffFields"},
	event:  []string{"EventUuid"}, // of change events
}

// One event log, seen over both APIs: the same bytes, but for the replay id and the schema's id,
// and for onlyPubSub.
func TestBothAPIsGiveTheSameMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		const channel = "/event/Both__e"
		l.Must(l.DefineEvent(channel, lab.Schema("Both__e",
			`{"name":"Text__c","type":["null","string"],"default":null}`,
			`{"name":"Flag__c","type":["null","boolean"],"default":null}`,
			`{"name":"Int__c","type":["null","int"],"default":null}`,
			`{"name":"Big__c","type":["null","long"],"default":null}`,
			`{"name":"When__c","type":["null","long"],"doc":"Data:DateTime:00N000000000001","default":null}`,
			`{"name":"Day__c","type":["null","long"],"doc":"Data:DateOnly:00N000000000002","default":null}`,
			`{"name":"Hour__c","type":["null","long"],"doc":"Data:TimeOnly:00N000000000003","default":null}`)))
		l.Must(l.DefineObject("Lead", sfstreamtest.Field{Name: "Name", Type: "PersonName"}, sfstreamtest.Field{Name: "Phone", Type: "Phone"},
			sfstreamtest.Field{Name: "Description", Type: "StringPlusClob"}, sfstreamtest.Field{Name: "Address", Type: "Address"},
			sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}, sfstreamtest.Field{Name: "AnnualRevenue", Type: "Currency"},
			sfstreamtest.Field{Name: "Born__c", Type: "DateOnly"}, sfstreamtest.Field{Name: "Opens__c", Type: "TimeOnly"},
			sfstreamtest.Field{Name: "IsConverted", Type: "Boolean"}, sfstreamtest.Field{Name: "LastModifiedDate", Type: "DateTime"}))
		l.Must(l.DefineChannel("/event/Many__chn", channel, lab.Orders))
		channels := []string{channel, "/event/Many__chn", "/data/LeadChangeEvent", "/data/ChangeEvents"}

		l.Start(sfstream.WithReplay(sfstream.ReplayAll))
		streaming := l.NewClient(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithTransport(sfstream.CometD))
		pubsub := l.NewClient(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithTransport(sfstream.PubSub))
		publishBoth(l, channel)
		faces := make(map[*sfstream.Client][]string)
		const events = 3 + 4 + 6 + 6
		for _, c := range []*sfstream.Client{streaming, pubsub} {
			l.Must(c.Open(t.Context()))
			for _, channel := range channels {
				l.Must(c.Subscribe(t.Context(), channel))
			}
			byChannel := make(map[string][]string)
			for range events {
				m, err := c.Receive(t.Context())
				l.Must(err)
				m.Ack()
				byChannel[m.Channel] = append(byChannel[m.Channel], faceOf(t, m))
			}
			for _, channel := range channels {
				faces[c] = append(faces[c], byChannel[channel]...)
			}
		}
		for i := range max(len(faces[streaming]), len(faces[pubsub])) {
			if a, b := faces[streaming][i], faces[pubsub][i]; a != b {
				t.Errorf("event %d:\nCometD  %s\nPub/Sub %s", i, a, b)
			}
		}
	})
}

// publishBoth publishes 3 events, one of another channel, and 6 changes.
func publishBoth(l *lab.Lab, channel string) {
	l.T.Helper()
	for _, fields := range []map[string]any{
		{},
		{"N__c": 3.0, "Text__c": "quote \" and \u2028 and <html> & ünïcode", "Flag__c": true, "Int__c": -300, "Big__c": int64(1735689600123456789), "When__c": lab.Date},
		{"N__c": 1e-9, "When__c": lab.Date.Truncate(time.Second), "Day__c": time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), "Hour__c": int64(37_800_000)},
	} {
		_, err := l.Publish(channel, fields)
		l.Must(err)
	}
	l.PublishOrders(1)
	ids := []string{"00Q000000000001AAA"}
	for _, c := range []sfstreamtest.Change{
		{Type: "CREATE", Set: map[string]any{"Name": map[string]any{"FirstName": "Ada", "LastName": "Lovelace"}, "Phone": "1", "IsConverted": false,
			"NumberOfEmployees": 0, "AnnualRevenue": 2.5e6, "Born__c": time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC), "LastModifiedDate": lab.Date}},
		{Type: "UPDATE", Set: map[string]any{"Phone": "2", "Name": map[string]any{"LastName": "Byron"}, "Opens__c": int64(9 * 3_600_000)}},
		{Type: "UPDATE", Set: map[string]any{"NumberOfEmployees": 12}, Null: []string{"Description", "Address", "Phone"}},
		{Type: "UPDATE", Set: map[string]any{"Address": map[string]any{"City": "London"}}, Null: []string{"Address.State", "AnnualRevenue"}},
		{Type: "DELETE"},
		{Type: "GAP_UPDATE"},
	} {
		c.Object, c.RecordIDs, c.Origin = "Lead", ids, "com/salesforce/api/rest/60.0;client=demo"
		_, err := l.Change(c)
		l.Must(err)
	}
}

// faceOf is a message as JSON, without what is not the same on both APIs.
func faceOf(t *testing.T, m *sfstream.Message) string {
	t.Helper()
	text, err := json.Marshal(m)
	lab.Must(t, err)
	var whole struct {
		Channel string `json:"channel"`
		Data    struct {
			Schema  string                     `json:"schema"`
			Payload map[string]json.RawMessage `json:"payload"` // its values stay as they are, byte for byte
			Event   map[string]json.RawMessage `json:"event"`
		} `json:"data"`
	}
	lab.Must(t, json.Unmarshal(text, &whole))
	if whole.Data.Schema == "" || len(whole.Data.Event["replayId"]) == 0 {
		t.Errorf("no schema or replay id: %s", text)
	}
	delete(whole.Data.Event, "replayId")
	if header := whole.Data.Payload["ChangeEventHeader"]; header != nil {
		for _, name := range onlyPubSub.event {
			delete(whole.Data.Event, name)
		}
		var fields map[string]json.RawMessage
		lab.Must(t, json.Unmarshal(header, &fields))
		for _, name := range onlyPubSub.header {
			delete(fields, name)
		}
		whole.Data.Payload["ChangeEventHeader"], err = json.Marshal(fields)
		lab.Must(t, err)
	}
	names := func(m map[string]json.RawMessage) (list []string) {
		for name, value := range m {
			list = append(list, fmt.Sprintf("%s=%s", name, value))
		}
		slices.Sort(list)
		return list
	}
	return fmt.Sprintf("%s %v %v %s", whole.Channel, names(whole.Data.Payload), names(whole.Data.Event), m.Date().Format(time.RFC3339Nano))
}

// Key is what the store is asked for, over either API, and needs a login but no subscription.
func TestAKeyIsWhereTheMarkerIs(t *testing.T) {
	for _, via := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
		t.Run(strings.ToLower(via.String()), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				c := l.NewClient()
				if _, err := c.Key(lab.Orders); !errors.Is(err, sfstream.ErrNotOpen) {
					t.Errorf("before Open: %v", err)
				}
				l.Must(c.Open(t.Context()))
				if _, err := c.Key("orders"); !errors.Is(err, sfstream.ErrInvalidOption) {
					t.Errorf("of no channel: %v", err)
				}
				key, err := c.Key(lab.Orders)
				l.Must(err)
				l.Subscribe(lab.Orders)
				if _, err := l.Store.Load(t.Context(), key); err != nil {
					t.Errorf("nothing is stored under %+v: %v", key, err)
				}
			})
		})
	}
}
