package pubsub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A server sends more than it was asked for, and a loop body is slow. WithPrefetch bounds memory:
// what is not asked for can wait in the transport.
func TestWhatWasNotAskedForIsBounded(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			n := 0
			script := &scripted.Streams{Answer: func(_ int, _ *eventbus.FetchRequest, _ int) (*eventbus.FetchResponse, error) {
				resp := &eventbus.FetchResponse{}
				for range 100 {
					n++
					resp.Events = append(resp.Events, &eventbus.ConsumerEvent{ReplayId: fmt.Appendf(nil, "\x00%09d", n), Event: &eventbus.ProducerEvent{Id: strconv.Itoa(n), Payload: []byte{0}}})
				}
				return resp, nil
			}}
			c := s.StartFromOldest(script.Option(), sfstream.WithPrefetch(10))
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			<-time.After(30 * time.Second)
			if p := c.Pending(); p > 1000 {
				t.Errorf("%d messages wait, WithPrefetch is 10", p)
			}
			lab.Must(t, c.Close())
		})
	})
}

// AckManual: acks from other goroutines at random, also during Unsubscribe, Close and after;
// several consumers. Nothing is lost, no marker passes what is not acked.
func TestRandomManual(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("%d/pubsub/", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				s := lab.New(t)
				opts := []sfstream.Option{sfstream.WithPrefetch(2 + r.IntN(30)), sfstream.WithAck(sfstream.AckManual)}
				c := s.FollowFromOldest(opts...)
				var mu sync.Mutex
				acked := map[int]bool{}
				var published atomic.Int64
				check := func() {
					n, _ := strconv.Atoi(s.SavedID(lab.Orders))
					mu.Lock()
					defer mu.Unlock()
					for i := 1; i <= n; i++ {
						if !acked[i] {
							t.Errorf("the marker is at %d, %d is not acked", n, i)
							return
						}
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				start := func() {
					for k := range 3 {
						rr := rand.New(rand.NewPCG(seed, uint64(k)))
						cc, ctx := c, ctx
						work := func(m *sfstream.Message) {
							if rr.IntN(40) == 0 && published.Load() < 9000 {
								return // forgotten
							}
							d := time.Duration(rr.IntN(300)) * time.Millisecond
							wg.Go(func() {
								<-time.After(d)
								n, _ := strconv.Atoi(m.ID)
								mu.Lock()
								acked[n] = true
								mu.Unlock()
								m.Ack()
							})
						}
						wg.Go(func() {
							switch k {
							case 0:
								for m := range cc.Messages(ctx) {
									work(m)
								}
							case 1:
								for m := range cc.C(ctx) {
									work(m)
								}
							case 2:
								for {
									m, err := cc.Receive(ctx)
									if err != nil {
										return
									}
									work(m)
								}
							}
						})
					}
				}
				start()
				for i := range 60 {
					n := r.IntN(20)
					s.PublishNext(lab.Orders, n)
					published.Add(int64(n))
					<-time.After(time.Duration(r.IntN(500)) * time.Millisecond)
					check()
					switch {
					case i%7 == 6 || i == 59: // what was forgotten comes again
						lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
						lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
					case r.IntN(6) == 0:
						s.DropConnections()
					case r.IntN(10) == 0:
						lab.Must(t, c.Close())
						stop()
						wg.Wait()
						ctx, stop = context.WithCancel(t.Context())
						c = s.FollowFromOldest(opts...)
						start()
					}
				}
				total := int(published.Load())
				published.Store(9000) // nothing is forgotten any more
				lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
				lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
				<-time.After(5 * time.Minute)
				check()
				for i := 1; i <= total; i++ {
					if !acked[i] {
						t.Errorf("%d of %d was never acked", i, total)
						break
					}
				}
				lab.Must(t, c.Close())
				stop()
				wg.Wait()
			})
		})
		if t.Failed() {
			return
		}
	}
}
