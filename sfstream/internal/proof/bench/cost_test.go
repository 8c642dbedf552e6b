package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
)

var benchEvents = flag.Int("bench.events", 100_000, "events that a benchmark receives in each round")

// cost is what a process has used for some events.
type cost struct {
	Events  int
	Elapsed time.Duration
	CPU     time.Duration // user and system
	Allocs  uint64
	Bytes   uint64
	Peak    float64 // MiB of the whole process, also before
	Saves   int64   // of replay markers
}

// cpuPerEvent is in microseconds.
func (c cost) cpuPerEvent() float64    { return float64(c.CPU.Microseconds()) / float64(c.Events) }
func (c cost) eventsPerS() float64     { return float64(c.Events) / c.Elapsed.Seconds() }
func (c cost) allocsPerEvent() float64 { return float64(c.Allocs) / float64(c.Events) }
func (c cost) bytesPerEvent() float64  { return float64(c.Bytes) / float64(c.Events) }
func (c cost) savesPerS() float64      { return float64(c.Saves) / c.Elapsed.Seconds() }

// meter is where the measuring begins.
type meter struct {
	at  time.Time
	cpu time.Duration
	mem runtime.MemStats
}

func startMeter() *meter {
	var m meter
	runtime.ReadMemStats(&m.mem)
	m.at, m.cpu = time.Now(), cpuTime()
	return &m
}

func (m *meter) read(events int) cost {
	c := cost{Events: events, Elapsed: time.Since(m.at), CPU: cpuTime() - m.cpu, Peak: peakMemory()}
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	c.Allocs, c.Bytes = now.Mallocs-m.mem.Mallocs, now.TotalAlloc-m.mem.TotalAlloc
	return c
}

// peakMemory is VmHWM in MiB, 0 where there is no /proc. (ru_maxrss will not do: a process inherits
// that of its parent.)
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

// measure runs a job in a process of its own, which prints its cost.
func measure(b *testing.B, job string, args any) cost {
	b.Helper()
	out, err := child.Command(b, job, args).Output()
	if err != nil {
		b.Fatal(err)
	}
	var c cost
	if err := json.Unmarshal(out, &c); err != nil {
		b.Fatal(err)
	}
	return c
}

// compare measures two programs in turns, one round per op, and reports the medians of the second,
// and how many times the CPU of the first it takes: each time of what the first took just before
// and just after, as absolute times drift.
func compare(b *testing.B, name string, first, second func() cost) {
	var floors, costs []cost
	var ratios []float64
	peak := 0.0
	floors = append(floors, first())
	for b.Loop() {
		c, before, after := second(), floors[len(floors)-1], first()
		costs, floors = append(costs, c), append(floors, after)
		peak = max(peak, c.Peak)
		ratios = append(ratios, 2*c.cpuPerEvent()/(before.cpuPerEvent()+after.cpuPerEvent()))
	}
	b.ReportMetric(0, "ns/op") // says nothing that events/s does not
	b.ReportMetric(median(costs, cost.eventsPerS), "events/s")
	b.ReportMetric(median(costs, cost.allocsPerEvent), "allocs/event")
	b.ReportMetric(median(costs, cost.bytesPerEvent), "B/event")
	b.ReportMetric(median(costs, cost.savesPerS), "saves/s")
	b.ReportMetric(peak, "MiB-peak")
	if costs[0].CPU > 0 {
		b.ReportMetric(median(costs, cost.cpuPerEvent), "cpu-µs/event")
		b.ReportMetric(median(floors, cost.cpuPerEvent), name+"-cpu-µs/event")
		b.ReportMetric(median(ratios, func(r float64) float64 { return r }), "x-"+name)
	}
}

func median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
