package sinktest_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
)

func TestMemory(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Queue { return new(sinktest.Memory).Queue() })
}

// broken has sinks that break the contract, by what they do.
var broken = map[string]func(to sink.Sink, ctx context.Context, records []sink.Record) error{
	"tells of records that it has not sent": func(to sink.Sink, ctx context.Context, records []sink.Record) error {
		_ = to.Send(ctx, records)
		return nil
	},
	"turns the order round": func(to sink.Sink, ctx context.Context, records []sink.Record) error {
		records = slices.Clone(records)
		slices.Reverse(records)
		if to.Send(ctx, records) != nil {
			return context.DeadlineExceeded
		}
		return nil
	},
	"makes ids of its own": func(to sink.Sink, ctx context.Context, records []sink.Record) error {
		records = slices.Clone(records)
		for i := range records {
			records[i].ID = string(records[i].Value)
		}
		return to.Send(ctx, records)
	},
	"cuts values off": func(to sink.Sink, ctx context.Context, records []sink.Record) error {
		records = slices.Clone(records)
		for i := range records {
			records[i].Value = records[i].Value[:min(len(records[i].Value), 50_000)]
		}
		return to.Send(ctx, records)
	},
}

// sendFunc is a sink of a function.
type sendFunc func(ctx context.Context, records []sink.Record) error

func (f sendFunc) Send(ctx context.Context, records []sink.Record) error { return f(ctx, records) }

const brokenEnv = "SINKTEST_BROKEN"

// TestBrokenSinksAreFound runs the tests on broken sinks, in processes of their own, because they
// fail there.
func TestBrokenSinksAreFound(t *testing.T) {
	if send := broken[os.Getenv(brokenEnv)]; send != nil {
		sinktest.Run(t, func(*testing.T) sinktest.Queue {
			queue := new(sinktest.Memory).Queue()
			to := queue.Sink
			queue.Sink = sendFunc(func(ctx context.Context, records []sink.Record) error { return send(to, ctx, records) })
			return queue
		})
		return
	}
	for name := range broken {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.run=^TestBrokenSinksAreFound$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--- FAIL: TestBrokenSinksAreFound/") {
				t.Errorf("a sink that %s passes (%v):\n%s", name, err, out)
			}
		})
	}
}
