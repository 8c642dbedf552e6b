package natssink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/natssink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
)

// stream makes a stream for salesforce.>.
func stream(tb testing.TB, js jetstream.JetStream, config jetstream.StreamConfig) jetstream.Stream {
	tb.Helper()
	config.Name, config.Subjects = "salesforce", []string{"salesforce.>"}
	s, err := js.CreateStream(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func newSink(tb testing.TB, js jetstream.JetStream) *natssink.Sink {
	tb.Helper()
	queue, err := natssink.New(js, "salesforce.{entity}.{change}")
	if err != nil {
		tb.Fatal(err)
	}
	return queue
}

// read returns all messages of a stream.
func read(ctx context.Context, s jetstream.Stream) (messages []jetstream.Msg, err error) {
	info, err := s.Info(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	for err == nil && uint64(len(messages)) < info.State.Msgs {
		var batch jetstream.MessageBatch
		if batch, err = consumer.Fetch(int(min(5000, info.State.Msgs-uint64(len(messages))))); err != nil {
			break
		}
		messages = slices.AppendSeq(messages, func(yield func(jetstream.Msg) bool) {
			for message := range batch.Messages() {
				if !yield(message) {
					return
				}
			}
		})
		err = batch.Error()
	}
	return messages, err
}

// TestSink has a stream that drops no copies, so that the test sees them: those after the window.
func TestSink(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Queue {
		addr := serve(t)
		network := newProxy(t, addr)
		s := stream(t, connect(t, addr), jetstream.StreamConfig{Duplicates: 100 * time.Millisecond})
		return sinktest.Queue{
			Sink: newSink(t, connect(t, network.Addr().String())),
			Cut:  network.cut,
			Read: func(ctx context.Context) (entries []sinktest.Entry, err error) {
				messages, err := read(ctx, s)
				for _, message := range messages {
					entries = append(entries, sinktest.Entry{ID: message.Headers().Get("Nats-Msg-Id"), Value: message.Data()})
				}
				return entries, err
			},
		}
	})
}

// batch returns records of two entities and two keys.
func batch() []sink.Record {
	records := make([]sink.Record, 10)
	for i := range records {
		records[i] = sink.Record{
			ID: fmt.Sprint("id", i), Key: fmt.Sprint("key", i%2), Entity: [...]string{"Lead", "Account"}[i/2%2], Change: "updated",
			Value: []byte(fmt.Sprint("value", i)), ContentType: "application/json",
			Headers: []sink.Header{{Name: "type", Value: "t"}, {Name: "datacontenttype", Value: "application/json"}},
		}
	}
	return records
}

func TestMessages(t *testing.T) {
	js := connect(t, serve(t))
	s, queue := stream(t, js, jetstream.StreamConfig{}), newSink(t, js)
	for range 2 { // the second time they are duplicates
		if err := queue.Send(t.Context(), batch()); err != nil {
			t.Fatal(err)
		}
	}
	messages, err := read(t.Context(), s)
	if err != nil || len(messages) != 10 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	var of [2][]string
	for _, message := range messages {
		i := slices.IndexFunc(batch(), func(r sink.Record) bool { return r.ID == message.Headers().Get("Nats-Msg-Id") })
		want := batch()[i]
		of[i%2] = append(of[i%2], want.ID)
		header := fmt.Sprint(message.Headers())
		if string(message.Data()) != string(want.Value) || message.Subject() != "salesforce."+strings.ToLower(want.Entity)+".updated" ||
			header != fmt.Sprintf("map[Content-Type:[application/json] Nats-Msg-Id:[%s] ce-datacontenttype:[application/json] ce-type:[t]]", want.ID) {
			t.Errorf("%s %s %s", message.Subject(), header, message.Data())
		}
	}
	if fmt.Sprint(of) != "[[id0 id2 id4 id6 id8] [id1 id3 id5 id7 id9]]" {
		t.Errorf("the order of the keys: %v", of)
	}
}

// The protocol binding of CloudEvents for NATS, 3.1.3: all attributes have the prefix, and values are
// percent-encoded.
func TestAttributesAreAsCloudEventsHasThemForNATS(t *testing.T) {
	js := connect(t, serve(t))
	s, queue := stream(t, js, jetstream.StreamConfig{}), newSink(t, js)
	err := queue.Send(t.Context(), []sink.Record{{ID: "1", Key: "k", Entity: "Lead", Change: "updated", ContentType: "avro/binary", Headers: []sink.Header{
		{Name: "id", Value: "00D|/data/LeadChangeEvent|7~"},
		{Name: "datacontenttype", Value: "avro/binary"},
		{Name: "partitionkey", Value: " Euro \u20ac \U0001F600 100% \"q\"\n"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := read(t.Context(), s)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	for name, want := range map[string]string{
		"ce-id":              "00D|/data/LeadChangeEvent|7~",
		"ce-datacontenttype": "avro/binary",
		"ce-partitionkey":    "%20Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25%20%22q%22%0A",
	} {
		if got := messages[0].Headers().Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestNothingOfAKeyIsBehindARefusal has a message that the stream, and one that the server, never
// takes, and a subject that no stream has.
func TestNothingOfAKeyIsBehindARefusal(t *testing.T) {
	js := connect(t, serve(t))
	s, queue := stream(t, js, jetstream.StreamConfig{MaxMsgSize: 10_000}), newSink(t, js)
	for what, test := range map[string]struct {
		spoil     func(r *sink.Record)
		permanent bool
	}{
		"too large for the stream": {func(r *sink.Record) { r.Value = bytes.Repeat([]byte("x"), 20_000) }, true},
		"too large for the server": {func(r *sink.Record) { r.Value = bytes.Repeat([]byte("x"), 2_000_000) }, true},
		"no subject":               {func(r *sink.Record) { r.Entity = "" }, true},
	} {
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		records := batch()
		for i := range records {
			records[i].ID += what
		}
		test.spoil(&records[4])
		var partial *sink.PartialError
		var permanent *backoff.PermanentError
		if err := queue.Send(t.Context(), records); !errors.As(err, &partial) || errors.As(partial.Failed[4], &permanent) != test.permanent {
			t.Fatalf("%s: %v", what, err)
		}
		for i := range records {
			if failed := partial.Failed[i] != nil; failed != (i >= 4 && i%2 == 0) {
				t.Errorf("%s: record %d has failed: %v", what, i, failed)
			}
			if i > 4 && errors.As(partial.Failed[i], &permanent) {
				t.Errorf("%s: record %d will never be taken: %v", what, i, partial.Failed[i])
			}
		}
		if messages, err := read(t.Context(), s); err != nil || len(messages) != 7 {
			t.Errorf("%s: %d messages, %v; want 7", what, len(messages), err)
		}
	}
	if err := js.DeleteStream(t.Context(), "salesforce"); err != nil {
		t.Fatal(err)
	}
	var permanent *backoff.PermanentError
	if err := queue.Send(t.Context(), batch()); err == nil || errors.As(err, &permanent) || !strings.Contains(err.Error(), "salesforce.lead.updated") {
		t.Errorf("without a stream: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	js := connect(t, serve(t))
	for _, subject := range []string{"", "{name}", "a..b", ".a", "a.", "a b", "a.*", "a.>", "$JS.{entity}", "{entity}."} {
		if _, err := natssink.New(js, subject); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%q: %v", subject, err)
		}
	}
	if _, err := natssink.New(nil, "a"); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("no connection: %v", err)
	}
}
