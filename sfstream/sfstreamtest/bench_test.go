package sfstreamtest_test

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func BenchmarkPublish(b *testing.B) {
	r := newRig(b)
	payload := map[string]any{"Order_Number__c": "A-1", "City__c": "Lyon", "Amount__c": 12.5}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Publish(orders, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishRaw(b *testing.B) {
	r := newRig(b)
	e := sfstreamtest.RawEvent{Payload: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.PublishRaw(orders, e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeliver measures a bare receive loop over loopback, in this process. No benchmark of a
// client can be faster.
func BenchmarkDeliver(b *testing.B) {
	r := newRig(b)
	for range b.N {
		if _, err := r.PublishRaw(orders, sfstreamtest.RawEvent{Payload: make([]byte, 100)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	stream := r.open(earliest(orders, 100))
	for n := 0; n < b.N; {
		resp := recv(b, stream)
		n += len(resp.Events)
		check(b, stream.Send(&eventbus.FetchRequest{NumRequested: int32(len(resp.Events))}))
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
