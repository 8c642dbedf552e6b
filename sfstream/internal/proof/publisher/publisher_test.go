package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// order is an order as programs publish it.
type order struct {
	N float64 `sf:"N__c"`
}

// start starts a program with a publisher of orders.
func start(t *testing.T, l *lab.Lab, opts ...sfstream.PublisherOption) *sfstream.Publisher {
	t.Helper()
	p, err := l.Client.Publisher(lab.Orders, opts...)
	l.Must(err)
	return p
}

// publish publishes orders from first to last.
func publish(t *testing.T, p *sfstream.Publisher, first, last int) (receipts []*sfstream.Receipt) {
	t.Helper()
	for n := first; n <= last; n++ {
		r, err := p.Publish(t.Context(), order{N: float64(n)})
		if err != nil {
			t.Fatalf("order %d: %v", n, err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// there counts the events on the channel of orders by their ids.
func there(l *lab.Lab) map[string]int {
	ids := map[string]int{}
	for _, e := range l.Retained(lab.Orders) {
		ids[e.ID]++
	}
	return ids
}

// check checks that receipts tell the truth, and returns how many events have which outcome.
func check(t *testing.T, l *lab.Lab, receipts []*sfstream.Receipt) map[sfstream.Outcome]int {
	t.Helper()
	outcomes, bus := map[sfstream.Outcome]int{}, there(l)
	for i, r := range receipts {
		select {
		case <-r.Done():
		default:
			t.Fatalf("receipt %d is not resolved", i)
		}
		result := r.Result()
		outcomes[result.Outcome]++
		n := bus[result.ID]
		if result.Outcome == sfstream.Published && (n == 0 || len(result.ReplayID) == 0 || r.Err() != nil) ||
			(result.Outcome == sfstream.Refused || result.Outcome == sfstream.NotSent) && n > 0 || (result.Outcome != sfstream.Published) != (r.Err() != nil) {
			t.Fatalf("event %d is there %d times, its receipt says %v %v", i, n, result.Outcome, result.Err)
		}
	}
	return outcomes
}

func TestLingerAndBatchSizeMakeRequests(t *testing.T) {
	for _, tc := range []struct {
		batch, events int
		linger, gap   time.Duration
		want          string
	}{
		{200, 450, time.Second, 0, "[200 200 50]"},
		{10, 25, time.Second, 0, "[10 10 5]"},
		{200, 3, 50 * time.Millisecond, 100 * time.Millisecond, "[1 1 1]"},
		{200, 5, 50 * time.Millisecond, 30 * time.Millisecond, "[2 2 1]"},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				l.Start()
				p := start(t, l, sfstream.WithBatchSize(tc.batch), sfstream.WithLinger(tc.linger))
				var receipts []*sfstream.Receipt
				for n := range tc.events {
					receipts = append(receipts, publish(t, p, n, n)...)
					time.Sleep(tc.gap)
				}
				<-receipts[tc.events-1].Done() // without a Flush
				var sizes []int
				for _, call := range l.PublishCalls(lab.Orders) {
					sizes = append(sizes, call.Events)
				}
				if fmt.Sprint(sizes) != tc.want {
					t.Errorf("requests of %v events, want %s", sizes, tc.want)
				}
				check(t, l, receipts)
				l.Must(p.Close(t.Context()))
				if _, err := p.Publish(t.Context(), order{}); !errors.Is(err, sfstream.ErrClosed) {
					t.Errorf("Publish after Close: %v", err)
				}
				l.Must(p.Close(t.Context()))
			})
		})
	}
}

// A publisher connects with its first event, keeps no idle stream alive, and connects again.
func TestAPublisherConnectsWhenThereIsSomethingToSend(t *testing.T) {
	for _, idle := range []time.Duration{20 * time.Second, 70 * time.Second, 1800 * time.Second} {
		t.Run(idle.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t, sfstreamtest.WithPublishIdle(idle))
				l.Start()
				p := start(t, l)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := len(l.PublishCalls("")); n != 0 || l.PublishStreams(lab.Orders) != 0 {
					t.Fatal("it has connected without an event")
				}
				var receipts []*sfstream.Receipt
				for n := range 3 {
					receipts = append(receipts, publish(t, p, n, n)...)
					l.Must(p.Flush(t.Context()))
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					if n := l.PublishStreams(lab.Orders); n != 0 {
						t.Errorf("%d idle streams", n)
					}
				}
				check(t, l, receipts)
				if n := len(l.Retained(lab.Orders)); n != 3 {
					t.Errorf("%d events for 3", n)
				}
				l.Must(p.Close(t.Context()))
			})
		})
	}
}

func TestPublishWaitsWhereThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		p := start(t, l, sfstream.WithInFlight(10, 1<<20), sfstream.WithBatchSize(5))
		receipts := publish(t, p, 0, 0)
		l.Must(p.Flush(t.Context()))
		l.DelayPublish(lab.Orders, 2, time.Minute)
		began := time.Now()
		receipts = append(receipts, publish(t, p, 1, 10)...)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited %v with room", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Publish(ctx, order{N: 99}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without room: %v", err)
		}
		if r := receipts[10]; r.Err() == nil || r.Result().Outcome != sfstream.InDoubt {
			t.Errorf("a receipt that is not resolved says %+v", r.Result())
		}
		receipts = append(receipts, publish(t, p, 11, 11)...)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("it waited %v for room of a minute", waited)
		}
		l.Must(p.Close(t.Context()))
		if got := check(t, l, receipts); got[sfstream.Published] != 12 || len(l.Retained(lab.Orders)) != 12 {
			t.Errorf("%v, %d events are there", got, len(l.Retained(lab.Orders)))
		}
	})
}

// Close ends within its ctx, and the receipts of what is left tell what is known.
func TestCloseResolvesAllReceipts(t *testing.T) {
	for _, how := range []string{"publisher", "client"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				l.Start()
				p := start(t, l, sfstream.WithBatchSize(1), sfstream.WithLinger(0))
				receipts := publish(t, p, 0, 0)
				l.Must(p.Flush(t.Context()))
				l.DelayPublish(lab.Orders, -1, time.Hour)
				receipts = append(receipts, publish(t, p, 1, 30)...)
				synctest.Wait() // 16 requests are under way
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				want := context.DeadlineExceeded
				if how == "client" {
					want = sfstream.ErrClosed
					l.Must(l.Client.Close())
				} else if err := p.Close(ctx); !errors.Is(err, want) {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("Close has taken %v", took)
				}
				synctest.Wait()
				got := check(t, l, receipts)
				if got[sfstream.Published] != 1 || got[sfstream.InDoubt] != 16 || got[sfstream.NotSent] != 14 {
					t.Errorf("outcomes %v", got)
				}
				for _, r := range receipts[1:] {
					if !errors.Is(r.Err(), want) {
						t.Fatalf("a receipt says %v", r.Err())
					}
				}
			})
		})
	}
}

func TestPublisherRefusesNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		c := l.NewClient()
		if _, err := c.Publisher(lab.Orders); !errors.Is(err, sfstream.ErrNotOpen) {
			t.Errorf("before Open: %v", err)
		}
		l.Must(c.Open(t.Context()))
		for _, opt := range []sfstream.PublisherOption{
			sfstream.WithLinger(-1), sfstream.WithLinger(time.Hour), sfstream.WithBatchSize(0), sfstream.WithBatchSize(201),
			sfstream.WithInFlight(0, 1), sfstream.WithInFlight(1, 0),
		} {
			if _, err := c.Publisher(lab.Orders, opt); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("%v", err)
			}
		}
		for _, channel := range []string{"/u/x", lab.Accounts, lab.Topic, "Order__e", "/event/X__chn"} {
			if _, err := c.Publisher(channel); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("%s: %v", channel, err)
			}
		}
		p := start(t, l)
		for _, event := range []any{nil, []any{order{}}, sfstream.Event{ID: fmt.Sprintf("%037d", 1), Value: order{}}, 7, map[string]any{"Nope__c": 1}} {
			if _, err := p.Publish(t.Context(), event); err == nil {
				t.Errorf("%v is taken", event)
			}
		}
		if _, err := p.Publish(t.Context(), []order{{}}); !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), "call Publish for each") {
			t.Errorf("a slice: %v", err)
		}
		if missing, err := c.Publisher("/event/Missing__e"); err != nil {
			t.Error(err)
		} else if _, err := missing.Publish(t.Context(), order{}); codeOf(err) != sfstream.NotFound {
			t.Errorf("a channel that is not there: %v", err)
		}
		r, err := p.Publish(t.Context(), &sfstream.Event{ID: "my id", Value: map[string]any{"N__c": 7}})
		l.Must(err)
		l.Must(p.Close(t.Context()))
		if r.Result().ID != "my id" || there(l)["my id"] != 1 {
			t.Errorf("%+v", r.Result())
		}
	})
}

func codeOf(err error) sfstream.Code {
	server, ok := errors.AsType[*sfstream.ServerError](err)
	if !ok {
		return -1
	}
	return server.Code
}

// A receipt that is resolved says that all before it are.
func TestReceiptsAreResolvedInTheOrderOfPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		p := start(t, l, sfstream.WithBatchSize(1))
		l.FailEvents(lab.Orders, func(id string, _ []byte) string {
			if id == "first" && len(l.Retained(lab.Orders)) < 20 {
				return "LIMIT_EXCEEDED"
			}
			return ""
		})
		first, err := p.Publish(t.Context(), sfstream.Event{ID: "first", Value: order{}})
		l.Must(err)
		receipts := append([]*sfstream.Receipt{first}, publish(t, p, 1, 20)...)
		for _, r := range receipts {
			go func() { <-r.Done() }()
		}
		<-receipts[20].Done()
		check(t, l, receipts)
		if l.Retained(lab.Orders)[0].ID == "first" {
			t.Error("the first event was not refused")
		}
		l.Must(p.Close(t.Context()))
	})
}
