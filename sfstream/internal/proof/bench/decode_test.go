package bench

import (
	"context"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// benchMessage is an event of a benchmark's shape, of a client that has ended: it allocates nothing
// beside.
func benchMessage(tb testing.TB, shape benchShape) *sfstream.Message {
	tb.Helper()
	org := sfstreamtest.NewServer(tb)
	channel, err := shape.publish(org)
	if err != nil {
		tb.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		tb.Fatal(err)
	}
	if err := client.Subscribe(ctx, channel); err != nil {
		tb.Fatal(err)
	}
	m, err := client.Receive(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// The texts, two lists and the struct itself.
func TestDecodingIntoAStructAllocatesLittle(t *testing.T) {
	for _, shape := range benchShapes[:2] {
		m := benchMessage(t, shape)
		account, err := sfstream.Decode[benchAccount](m)
		if err != nil || account.Industry != "Manufacturing" || account.NumberOfEmployees != 1200 {
			t.Fatalf("%v, %+v", err, account)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = sfstream.Decode[benchAccount](m) }); n > 5 {
			t.Errorf("%s: %v allocations", shape.name, n)
		}
	}
}

// BenchmarkDecode is decoding alone; BenchmarkReceive has whole programs.
func BenchmarkDecode(b *testing.B) {
	for _, shape := range benchShapes {
		b.Run(shape.name, func(b *testing.B) {
			m := benchMessage(b, shape)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if shape.name == "platform" {
					_, err = sfstream.Decode[benchOrder](m)
				} else {
					_, err = sfstream.Decode[benchAccount](m)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
