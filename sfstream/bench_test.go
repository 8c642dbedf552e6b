package sfstream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

const (
	benchWarmup = 10_000  // events before anything is measured
	benchBare   = 200_000 // events that the bare loop is measured with
)

// BenchmarkReceive measures whole programs: the bytes of a stream become messages
// in a loop that keeps its place in a bbolt file. One op is one event. The server
// is another process, and so is the bare grpc-go loop (nothing decoded, nothing
// kept) that is measured just before and just after: compare the ratio to it,
// "x-bare", as absolute times drift. For a long run: -benchtime 1000000x.
func BenchmarkReceive(b *testing.B) {
	addr := startBenchServer(b)
	consumers := []struct {
		name string
		use  func(benchShape, *sfstream.Message) error
	}{
		{"only", func(benchShape, *sfstream.Message) error { return nil }},
		{"date", func(_ benchShape, m *sfstream.Message) error {
			if m.Date().IsZero() {
				return fmt.Errorf("no date")
			}
			return nil
		}},
		{"struct", func(s benchShape, m *sfstream.Message) error {
			if s.name == "platform" {
				_, err := sfstream.Decode[benchOrder](m)
				return err
			}
			_, err := sfstream.Decode[benchAccount](m)
			return err
		}},
		{"fields", func(_ benchShape, m *sfstream.Message) error {
			_, err := m.Fields()
			return err
		}},
	}
	for _, shape := range benchShapes {
		for _, channels := range []int{1, 10} {
			for _, consumer := range consumers {
				b.Run(fmt.Sprintf("%s/channels=%d/%s", shape.name, channels, consumer.name), func(b *testing.B) {
					names := shape.channels(channels)
					before := measureBare(b, bareArgs{addr, names, benchWarmup, benchBare})
					used := benchReceive(b, addr, names, func(m *sfstream.Message) error { return consumer.use(shape, m) })
					after := measureBare(b, bareArgs{addr, names, benchWarmup, benchBare})
					b.ReportMetric(0, "ns/op") // says nothing that events/s does not
					b.ReportMetric(float64(used.Events)/used.Elapsed.Seconds(), "events/s")
					if bare := (before.cpuPerEvent() + after.cpuPerEvent()) / 2; bare > 0 {
						b.ReportMetric(used.cpuPerEvent(), "cpu-µs/event")
						b.ReportMetric(bare, "bare-cpu-µs/event")
						b.ReportMetric(used.cpuPerEvent()/bare, "x-bare")
					}
				})
			}
		}
	}
}

type benchOrder struct {
	CreatedDate time.Time
	Number__c   string
	City__c     string
	Amount__c   float64
	Paid__c     bool
}

type benchAccount struct {
	ChangeEventHeader struct {
		ChangeType    string   `sf:"changeType"`
		RecordIDs     []string `sf:"recordIds"`
		ChangedFields []string `sf:"changedFields"`
	}
	Phone, Website, Industry, Description string
	NumberOfEmployees                     int
	LastModifiedDate                      time.Time
}

// benchReceive runs a client's loop for b.N events, after some to warm up.
func benchReceive(b *testing.B, addr string, channels []string, use func(*sfstream.Message) error) cost {
	b.ReportAllocs()
	store, err := replaystore.OpenBolt(filepath.Join(b.TempDir(), "replay.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	client, err := benchClient(addr, store, channels)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var started meter
	n := 0
	for msg := range client.Messages(context.Background()) {
		if n++; n > benchWarmup {
			if started.at.IsZero() {
				started = startMeter()
			}
			if !b.Loop() {
				break
			}
		}
		if err := use(msg); err != nil {
			b.Fatal(err)
		}
	}
	used := started.read(b.N)
	if err := client.Err(); err != nil {
		b.Fatal(err)
	}
	return used
}

// benchClient is what a user's program has: a login, a file, its channels.
func benchClient(addr string, store replaystore.Store, channels []string) (*sfstream.Client, error) {
	client, err := sfstream.New(
		authenticator.Static{AccessToken: "token", InstanceURL: "https://bench.my.salesforce.com", OrgID: "00D000000000062EAA"},
		sfstream.WithPubSubEndpoint("http://"+addr), sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		return nil, err
	}
	for _, channel := range channels {
		if err := client.Subscribe(ctx, channel); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// startBenchServer starts serveBench in a process and returns its address.
func startBenchServer(b *testing.B) string {
	cmd := childCommand(b, "bench server", nil)
	addr, err := firstLine(b, cmd)
	if err != nil {
		b.Fatal(err)
	}
	return addr
}

func firstLine(tb testing.TB, cmd *exec.Cmd) (string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	startChild(tb, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}

func measureBare(b *testing.B, args bareArgs) cost {
	out, err := childCommand(b, "bench bare", args).Output()
	if err != nil {
		b.Fatal(err)
	}
	var c cost
	if err := json.Unmarshal(out, &c); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkMemory measures how the peak memory of a program grows between 100,000
// and 1,000,000 events of one channel: it must not. (With ten channels it does not
// either, but the peak of the collector's own ups and downs takes longer to show.)
func BenchmarkMemory(b *testing.B) {
	args := memoryArgs{Addr: startBenchServer(b), Channels: benchShapes[0].channels(1)}
	for b.Loop() {
		args.Path = filepath.Join(b.TempDir(), "replay.db")
		out, err := childCommand(b, "bench memory", args).Output()
		if err != nil {
			b.Fatal(err)
		}
		var early, late float64 // MiB
		if _, err := fmt.Sscan(string(out), &early, &late); err != nil {
			b.Fatal(err)
		}
		if early == 0 {
			b.Skip("this system does not tell the peak memory of a process")
		}
		b.ReportMetric(early, "MiB-100k")
		b.ReportMetric(late, "MiB-1M")
		if late-early > 8 {
			b.Errorf("peak memory grew from %.1f to %.1f MiB, want at most 8 more", early, late)
		}
	}
	b.ReportMetric(0, "ns/op")
}

type memoryArgs struct {
	Addr, Path string
	Channels   []string
}

// receiveMuch prints the peak memory after 100,000 and after 1,000,000 events, in MiB.
func receiveMuch(args memoryArgs) error {
	store, err := replaystore.OpenBolt(args.Path)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := benchClient(args.Addr, store, args.Channels)
	if err != nil {
		return err
	}
	defer client.Close()
	n := 0
	for range client.Messages(context.Background()) {
		switch n++; n {
		case 100_000:
			fmt.Println(peakMemory())
		case 1_000_000:
			fmt.Println(peakMemory())
			return nil
		}
	}
	return client.Err()
}

// peakMemory is VmHWM in MiB, 0 where there is no /proc. (ru_maxrss will not do:
// a process inherits that of its parent.)
func peakMemory() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	_, _ = fmt.Sscan(after, &kib)
	return kib / 1024
}
