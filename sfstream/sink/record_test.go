package sink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// collect forwards all events of a channel and returns the records.
func collect(t *testing.T, org *sfstreamtest.Server, channel string, transport sfstream.Transport, opts ...sink.Option) []sink.Record {
	t.Helper()
	client := follow(t, org, []string{channel}, sfstream.WithTransport(transport))
	var records []sink.Record
	f := forward(t, client, sendFunc(func(_ context.Context, sent []sink.Record) error {
		records = append(records, sent...)
		return nil
	}), opts...)
	after(time.Minute)
	f.stop()
	must(t, client.Close())
	return records
}

type sendFunc func(ctx context.Context, records []sink.Record) error

func (f sendFunc) Send(ctx context.Context, records []sink.Record) error { return f(ctx, records) }

// TestRecordsOfAllKindsOfEvents looks at what a record says of each kind of event, over both APIs.
func TestRecordsOfAllKindsOfEvents(t *testing.T) {
	for _, transport := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
		t.Run(transport.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { recordsOfAllKinds(t, transport) })
		})
	}
}

func recordsOfAllKinds(t *testing.T, transport sfstream.Transport) {
	org := newOrg(t, sfstreamtest.WithEventAPIName("60.0"))
	must(t, org.DefineChannel("/event/All__chn", orders))
	must(t, org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Leads", Query: "SELECT Id, Name FROM Lead"}))
	must(t, org.DefineGenericChannel("/u/notifications/Cast"))
	for _, c := range []sfstreamtest.Change{
		{Type: "CREATE", RecordIDs: []string{account(1)}, Set: map[string]any{"Name": "A"}},
		{Type: "UPDATE", RecordIDs: []string{account(1)}, Set: map[string]any{"Name": "B"}},
		{Type: "DELETE", RecordIDs: []string{account(1)}},
		{Type: "UNDELETE", RecordIDs: []string{account(1)}, Set: map[string]any{"Name": "B"}},
		{Type: "UPDATE", RecordIDs: []string{account(1), account(2)}, Set: map[string]any{"Name": "C"}},
		{Type: "GAP_UPDATE", RecordIDs: []string{account(3)}},
		{Type: "GAP_DELETE", RecordIDs: []string{"001*"}},
		{Type: "GAP_OVERFLOW"},
	} {
		c.Object = "Account"
		_, err := org.Change(c)
		must(t, err)
	}
	order(t, org, 1, 1)
	_, err := org.PublishTopic("Leads", "updated", map[string]any{"Id": "00Q000000000001AAA", "Name": "L"})
	must(t, err)
	_, err = org.PublishTopic("Leads", "created", map[string]any{"Name": "without an Id"})
	must(t, err)
	_, err = org.Push("/u/notifications/Cast", "hello")
	must(t, err)

	one, all := account(1), accounts // keys: of one record, of the channel
	for channel, want := range map[string][]string{
		accounts: {
			"Account created com.salesforce.data.account.created " + one + " " + one,
			"Account updated com.salesforce.data.account.updated " + one + " " + one,
			"Account deleted com.salesforce.data.account.deleted " + one + " " + one,
			"Account undeleted com.salesforce.data.account.undeleted " + one + " " + one,
			"Account updated com.salesforce.data.account.updated  " + all,
			"Account gap_updated com.salesforce.data.account.gap_updated " + account(3) + " " + account(3),
			"Account gap_deleted com.salesforce.data.account.gap_deleted  " + all,
			"Account gap_overflow com.salesforce.data.account.gap_overflow  " + all,
		},
		"/event/All__chn":       {"Order__e published com.salesforce.event.order__e  /event/All__chn"},
		orders:                  {"Order__e published com.salesforce.event.order__e  " + orders},
		"/topic/Leads":          {"Leads updated com.salesforce.topic.leads.updated 00Q000000000001AAA 00Q000000000001AAA", "Leads created com.salesforce.topic.leads.created  /topic/Leads"},
		"/u/notifications/Cast": {"notifications/Cast published com.salesforce.u.notifications/cast  /u/notifications/Cast"},
	} {
		via := transport
		if strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") {
			via = sfstream.Auto
		}
		records := collect(t, org, channel, via)
		again := collect(t, org, channel, via, sink.WithEnvelope(sink.CloudEvents))
		if len(records) != len(want) || len(again) != len(want) {
			t.Fatalf("%s: %d and %d records, want %d", channel, len(records), len(again), len(want))
		}
		ids := make(map[string]bool)
		for i, r := range records {
			if got := fmt.Sprint(r.Entity, " ", r.Change, " ", r.Type, " ", r.Subject, " ", r.Key); got != want[i] {
				t.Errorf("%s: %s\nwant %s", channel, got, want[i])
			}
			if id := org.Account().OrgID + "|" + channel + "|" + r.Message.Key(); r.ID != id || again[i].ID != id || ids[id] {
				t.Errorf("%s: the id is %q, and %q at the next delivery, want %q", channel, r.ID, again[i].ID, id)
			}
			ids[r.ID] = true
			if r.Channel != channel || r.Source != "/salesforce/"+org.Account().OrgID+channel || r.Time.IsZero() || !r.Time.Equal(r.Message.Date()) {
				t.Errorf("%s: channel %s, source %s, time %v", channel, r.Channel, r.Source, r.Time)
			}
		}
	}
}

// TestEnvelopes looks at the value of a change in all envelopes.
func TestEnvelopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		change(t, org, 7, 1)
		plain := collect(t, org, accounts, sfstream.PubSub)[0]
		var message struct{ Data json.RawMessage }
		must(t, json.Unmarshal(plain.Value, &message))
		text, err := plain.Message.MarshalJSON()
		must(t, err)
		if string(plain.Value) != string(text) || plain.ContentType != "application/json" || plain.Headers != nil {
			t.Errorf("JSON: %s %s %v", plain.Value, plain.ContentType, plain.Headers)
		}
		attributes := map[string]string{
			"specversion": "1.0", "id": plain.ID, "source": "/salesforce/" + org.Account().OrgID + accounts, "type": "com.salesforce.data.account.updated",
			"subject": account(1), "time": plain.Time.Format(time.RFC3339Nano), "partitionkey": account(1), "datacontenttype": "application/json",
		}

		structured := collect(t, org, accounts, sfstream.PubSub, sink.WithEnvelope(sink.CloudEvents))[0]
		var event map[string]json.RawMessage
		must(t, json.Unmarshal(structured.Value, &event))
		if string(event["data"]) != string(message.Data) || structured.ContentType != "application/cloudevents+json" || structured.Headers != nil {
			t.Errorf("CloudEvents: %s %s %v", structured.Value, structured.ContentType, structured.Headers)
		}
		delete(event, "data")
		expectAttributes(t, attributes, event)

		binary := collect(t, org, accounts, sfstream.PubSub, sink.WithEnvelope(sink.CloudEventsBinary))[0]
		if string(binary.Value) != string(message.Data) || binary.ContentType != "application/json" {
			t.Errorf("CloudEventsBinary: %s %s", binary.Value, binary.ContentType)
		}
		expectAttributes(t, attributes, headers(binary))

		raw := collect(t, org, accounts, sfstream.PubSub, sink.WithEnvelope(sink.Raw))[0]
		if string(raw.Value) != string(raw.Message.Raw()) || raw.ContentType != "avro/binary" {
			t.Errorf("Raw: %x %s", raw.Value, raw.ContentType)
		}
		attributes["datacontenttype"], attributes["schemaid"] = "avro/binary", raw.Message.SchemaID
		expectAttributes(t, attributes, headers(raw))

		streaming := collect(t, org, accounts, sfstream.CometD, sink.WithEnvelope(sink.Raw))[0]
		if string(streaming.Value) != string(streaming.Message.Raw()) || streaming.ContentType != "application/json" {
			t.Errorf("Raw over the Streaming API: %s %s", streaming.Value, streaming.ContentType)
		}
	})
}

func headers(r sink.Record) map[string]json.RawMessage {
	all := make(map[string]json.RawMessage)
	for _, h := range r.Headers {
		all[h.Name], _ = json.Marshal(h.Value)
	}
	return all
}

func expectAttributes(t *testing.T, want map[string]string, got map[string]json.RawMessage) {
	t.Helper()
	for name, value := range want {
		var text string
		if err := json.Unmarshal(got[name], &text); err != nil || text != value {
			t.Errorf("%s is %s, want %q", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
}

func TestHeadersHaveTheNamesOfTheirProtocol(t *testing.T) {
	for h, want := range map[sink.Header]string{{Name: "id"}: "ce_id", {Name: "datacontenttype"}: "content-type"} {
		if got := h.As("ce_"); got != want {
			t.Errorf("%s is %s, want %s", h.Name, got, want)
		}
	}
}
