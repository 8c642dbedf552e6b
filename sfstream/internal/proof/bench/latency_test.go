package bench

import (
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// BenchmarkLatency measures how long a live event takes from the server, which is another process,
// to the loop's body. The program has been waiting for it: the next one comes a millisecond or two
// later. The bare grpc-go loop does the same in turns with ours, as much of the time is the
// machine's.
func BenchmarkLatency(b *testing.B) {
	addr, events := startBenchServer(b), min(5_000, max(1, *benchEvents/20))
	var ours, bare []time.Duration
	for b.Loop() {
		receiveHere(b, addr, liveChannel, events, func(p []byte) { ours = append(ours, sentAgo(p)) })
		receiveBareHere(b, addr, liveChannel, events, func(p []byte) { bare = append(bare, sentAgo(p)) })
	}
	b.ReportMetric(0, "ns/op")
	for name, took := range map[string][]time.Duration{"": ours, "bare-": bare} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, name+"p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, name+"p99-µs")
	}
}

// sentAgo is how long ago the event of liveChannel with this payload was sent.
func sentAgo(payload []byte) time.Duration {
	return time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(payload))))
}

// BenchmarkBacklog measures how fast a backlog of 10,000 events arrives over a network that takes
// 20 ms to the server and back, and how fast in the bare loop. As Salesforce lets a stream have 100
// events outstanding, 5,000 events/s is the most that is possible.
func BenchmarkBacklog(b *testing.B) {
	const oneWay = 10 * time.Millisecond
	addr, events := fartherAway(b, startBenchServer(b), oneWay), min(10_000, *benchEvents)
	for _, shape := range benchShapes {
		b.Run(shape.name, func(b *testing.B) {
			var ours, bare []float64
			for b.Loop() {
				took := receiveHere(b, addr, shape.channels(1)[0], events, func([]byte) {})
				ours = append(ours, float64(events)/took.Seconds())
				took = receiveBareHere(b, addr, shape.channels(1)[0], events, func([]byte) {})
				bare = append(bare, float64(events)/took.Seconds())
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours, func(v float64) float64 { return v }), "events/s")
			b.ReportMetric(median(bare, func(v float64) float64 { return v }), "bare-events/s")
		})
	}
}

// receiveHere receives events in this process. It returns how long that took since the channel was
// subscribed to.
func receiveHere(b *testing.B, addr, channel string, events int, use func(payload []byte)) time.Duration {
	store, err := replaystore.OpenBolt(filepath.Join(b.TempDir(), "replay.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	client, err := benchClient(addr, store, []string{channel})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	start := time.Now()
	for msg := range client.Messages(context.Background()) {
		use(msg.Raw())
		if events--; events == 0 {
			return time.Since(start)
		}
	}
	b.Fatal(client.Err())
	return 0
}

// receiveBareHere is the same with the bare loop, and with the time to connect.
func receiveBareHere(b *testing.B, addr, channel string, events int, use func(payload []byte)) time.Duration {
	conn, err := dialBench(addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	err = receiveStream(ctx, conn, channel, func(r *eventbus.FetchResponse) bool {
		for _, e := range r.Events {
			use(e.Event.Payload)
		}
		events -= len(r.Events)
		return events <= 0
	})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// fartherAway is an address that leads to another one over a network that takes so long each way.
// As much fits through.
func fartherAway(b *testing.B, addr string, delay time.Duration) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() { // ends with the listener
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				continue
			}
			go carry(server, client, delay) // both end with one of the connections
			go carry(client, server, delay)
		}
	}()
	return listener.Addr().String()
}

// carry copies what comes, each piece after a delay.
func carry(to, from net.Conn, delay time.Duration) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, 10_000) // more than can be on the way
	go func() {                        // ends with from
		defer close(pieces)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				pieces <- piece{time.Now().Add(delay), data[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	defer from.Close()
	defer to.Close()
	for p := range pieces {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}
