package redissink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/redissink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
)

// TestSink has one stream, as order is that of a stream.
func TestSink(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, func(t *testing.T) sinktest.Queue {
		socket := serve(t)
		network := newProxy(t, socket)
		queue, err := redissink.New(connect(t, &redis.Options{Addr: network.Addr().String()}), "salesforce")
		if err != nil {
			t.Fatal(err)
		}
		reader := connect(t, &redis.Options{Network: "unix", Addr: socket})
		return sinktest.Queue{Sink: queue, Cut: network.cut, Read: func(ctx context.Context) (entries []sinktest.Entry, err error) {
			for after := "-"; ; {
				page, err := reader.XRangeN(ctx, "salesforce", after, "+", 5000).Result()
				for _, message := range page {
					id, _ := message.Values["id"].(string)
					value, _ := message.Values["value"].(string)
					entries = append(entries, sinktest.Entry{ID: id, Value: []byte(value)})
					after = "(" + message.ID
				}
				if err != nil || len(page) == 0 {
					return entries, err
				}
			}
		}}
	})
}

// batch returns records of two entities and two keys.
func batch() []sink.Record {
	records := make([]sink.Record, 10)
	for i := range records {
		records[i] = sink.Record{
			ID: fmt.Sprint("id", i), Key: fmt.Sprint("key", i%2), Entity: [...]string{"Lead", "Account"}[i%2], Change: "updated",
			Value: []byte(fmt.Sprint("value", i)), ContentType: "application/json",
			Headers: []sink.Header{{Name: "type", Value: "t"}, {Name: "datacontenttype", Value: "application/json"}},
		}
	}
	return records
}

func ids(entries []redis.XMessage) string {
	var all []any
	for _, entry := range entries {
		all = append(all, entry.Values["id"])
	}
	return fmt.Sprint(all)
}

// TestEntries has a user who may do what the package documentation names, and no more.
func TestEntries(t *testing.T) {
	socket := serve(t)
	client := connect(t, &redis.Options{Network: "unix", Addr: socket})
	err := client.Do(t.Context(), "acl", "setuser", "sink", "on", ">secret", "~salesforce.*", "-@all", "+eval", "+evalsha", "+xadd").Err()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := redissink.New(connect(t, &redis.Options{Network: "unix", Addr: socket, Username: "sink", Password: "secret"}),
		"salesforce.{entity}.{change}")
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.Send(t.Context(), batch()); err != nil {
		t.Fatal(err)
	}
	for i, stream := range []string{"salesforce.lead.updated", "salesforce.account.updated"} {
		got, err := client.XRange(t.Context(), stream, "-", "+").Result()
		if err != nil || len(got) != 5 {
			t.Fatalf("%s has %d entries, %v", stream, len(got), err)
		}
		for j, entry := range got {
			n := 2*j + i
			want := map[string]any{
				"id": fmt.Sprint("id", n), "key": fmt.Sprint("key", i), "value": fmt.Sprint("value", n),
				"content-type": "application/json", "ce_type": "t",
			}
			if fmt.Sprint(entry.Values) != fmt.Sprint(want) {
				t.Errorf("%s has %v, want %v", stream, entry.Values, want)
			}
		}
	}
}

// TestNothingIsBehindARefusal has a stream that the server refuses, as it is no stream.
func TestNothingIsBehindARefusal(t *testing.T) {
	client := connect(t, &redis.Options{Network: "unix", Addr: serve(t)})
	queue, err := redissink.New(client, "{entity}")
	if err != nil {
		t.Fatal(err)
	}
	records := batch()
	records[3].Entity = "text"
	if err := client.Set(t.Context(), "text", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var partial *sink.PartialError
	err = queue.Send(t.Context(), records)
	if !errors.As(err, &partial) || len(partial.Failed) != 7 || !strings.Contains(partial.Failed[3].Error(), `"text": WRONGTYPE`) {
		t.Fatalf("Send: %v", err)
	}
	for i := range records {
		if failed := partial.Failed[i] != nil; failed != (i >= 3) {
			t.Errorf("record %d has failed: %v", i, failed)
		}
	}
	if n := client.XLen(t.Context(), "lead").Val() + client.XLen(t.Context(), "account").Val(); n != 3 {
		t.Errorf("%d entries are there, want 3", n)
	}
	if err = queue.Send(t.Context(), records[3:]); errors.As(err, &partial) || err == nil {
		t.Errorf("Send of which nothing is acked: %v", err)
	}
}

func TestMaxLen(t *testing.T) {
	client := connect(t, &redis.Options{Network: "unix", Addr: serve(t, "--stream-node-max-entries", "10")})
	queue, err := redissink.New(client, "salesforce", redissink.WithMaxLen(50))
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if err := queue.Send(t.Context(), batch()); err != nil {
			t.Fatal(err)
		}
	}
	if n := client.XLen(t.Context(), "salesforce").Val(); n < 50 || n > 70 {
		t.Errorf("the stream has %d entries, want some 50", n)
	}
}

func TestWhatIsRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	client := connect(t, &redis.Options{})
	for what, make := range map[string]func() (*redissink.Sink, error){
		"a template": func() (*redissink.Sink, error) { return redissink.New(client, "{name}") },
		"no client":  func() (*redissink.Sink, error) { return redissink.New(nil, "x") },
		"a ring":     func() (*redissink.Sink, error) { return redissink.New(ring, "x") },
		"a length":   func() (*redissink.Sink, error) { return redissink.New(client, "x", redissink.WithMaxLen(0)) },
	} {
		if _, err := make(); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
