package sink_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

const orders = "/event/Order__e"

// newOrg is an org with orders.
func newOrg(t testing.TB) *sfstreamtest.Server {
	t.Helper()
	org, err := sfstreamtest.Start(sfstreamtest.InMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { org.Close() })
	if err := org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`); err != nil {
		t.Fatal(err)
	}
	return org
}

// follow opens a client on channels, from the oldest event.
func follow(t testing.TB, org *sfstreamtest.Server, channels []string, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	opts = append([]sfstream.Option{sfstream.WithAck(sfstream.AckManual), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll)}, opts...)
	client, err := sfstream.New(org.Authenticator(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if err := client.Subscribe(t.Context(), channel); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// A send is a sink of a function.
type send func(ctx context.Context, records []sink.Record) error

func (s send) Send(ctx context.Context, records []sink.Record) error { return s(ctx, records) }

func TestWhatTheQueueHasAckedIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		for i := range 300 {
			if _, err := org.Publish(orders, map[string]any{"Number__c": fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		client := follow(t, org, []string{orders})
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error, 1)
		go func() { // ends with ctx, and is awaited below
			done <- sink.Forward(ctx, client, send(func(_ context.Context, records []sink.Record) error {
				for _, r := range records {
					got = append(got, r.ID)
				}
				return nil
			}))
		}()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(got) != 300 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 300 {
			t.Errorf("%d records", len(got))
		}
		if s := client.Status().Channels[0]; s.Handled != 300 || s.Unacked != 0 {
			t.Errorf("%d handled, %d not acked", s.Handled, s.Unacked)
		}
	})
}
