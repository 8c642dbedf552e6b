package publisher

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// trouble makes a fault. A program that publishes all the time outlives each before the next one.
func trouble(l *lab.Lab, random *rand.Rand) {
	faults := []func(){
		l.DropConnections,
		func() { l.LosePublish(lab.Orders, 1+random.IntN(3)) },
		func() { l.FailPublish(lab.Orders, 1, "service.protection.triggered") },
		func() { l.FailPublish(lab.Orders, 1, "service.unavailable") },
		func() { l.EndPublishStreams(lab.Orders, "") },
		func() { l.EndPublishStreams(lab.Orders, "publish.stream.sweeper.timeout") },
		func() { l.ExpireToken(); l.EndPublishStreams(lab.Orders, "") },
		func() { l.DelayPublish(lab.Orders, 3, time.Second) },
	}
	faults[random.IntN(len(faults))]()
}

// TestWhateverHappensReceiptsTellTheTruth publishes 100,000 events over all kinds of faults. With
// Resend all are there at the end, under the ids of their receipts; with Report none is there
// twice.
func TestWhateverHappensReceiptsTellTheTruth(t *testing.T) {
	for _, policy := range []sfstream.DoubtPolicy{sfstream.Resend, sfstream.Report} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := rand.Uint64()
				t.Log("seed", seed)
				l := lab.New(t)
				l.Start(sfstream.WithInDoubt(policy), sfstream.WithLoginBudget(100, time.Minute))
				p := start(t, l, sfstream.WithInFlight(3000, 1<<20))
				random := rand.New(rand.NewPCG(seed, 0))
				events := 100_000
				if policy == sfstream.Report {
					events = 20_000
				}
				refuse, refusals := sync.Mutex{}, rand.New(rand.NewPCG(seed, 1))
				l.FailEvents(lab.Orders, func(string, []byte) string {
					refuse.Lock()
					defer refuse.Unlock()
					return [...]string{"", "LIMIT_EXCEEDED"}[refusals.IntN(500)/499]
				})
				var receipts []*sfstream.Receipt
				for n := range events {
					receipts = append(receipts, publish(t, p, n, n)...)
					if n%100 == 0 {
						time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
					}
					if n%1000 == 500 {
						trouble(l, random)
					}
					if n%20_000 == 10_000 {
						time.Sleep(10 * time.Minute)
					}
				}
				_ = p.Close(t.Context()) // what is refused or in doubt it tells too
				got, bus := check(t, l, receipts), there(l)
				twice := 0
				for _, n := range bus {
					twice += n - 1
				}
				t.Logf("%v, %d repeated, %d logins, %d requests", got, twice, l.Logins(), len(l.PublishCalls("")))
				if policy == sfstream.Resend && (got[sfstream.Published] != events || len(bus) != events) {
					t.Errorf("of %d events %d are published and %d there", events, got[sfstream.Published], len(bus))
				}
				if policy == sfstream.Report && (twice > 0 || got[sfstream.InDoubt] == 0 || got[sfstream.NotSent] > 0) {
					t.Errorf("%d are there twice: %v", twice, got)
				}
			})
		})
	}
}

// Without a lost answer nothing is ever there twice, whatever else Salesforce refuses.
func TestRefusalsMakeNoDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		p := start(t, l)
		l.FailEvents(lab.Orders, sfstreamtest.EveryNth(7, "LIMIT_EXCEEDED"))
		receipts := publish(t, p, 0, 2000)
		l.Must(p.Flush(t.Context()))
		l.ExpireToken()
		l.EndPublishStreams(lab.Orders, "")
		synctest.Wait()
		logins := l.Logins()
		receipts = append(receipts, publish(t, p, 2001, 4000)...)
		l.Must(p.Close(t.Context()))
		if got := check(t, l, receipts); got[sfstream.Published] != 4001 || len(l.Retained(lab.Orders)) != 4001 || l.Logins() != logins+1 {
			t.Errorf("%v, %d are there, %d logins", got, len(l.Retained(lab.Orders)), l.Logins()-logins)
		}
		var order []string
		for _, r := range receipts {
			order = append(order, r.Result().ID)
		}
		slices.Sort(order)
		if len(slices.Compact(order)) != 4001 {
			t.Error("ids are not distinct")
		}
	})
}

// What Salesforce refuses for good ends its receipt, and no other one.
func TestARefusalForGoodIsOfItsEventAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		p := start(t, l)
		l.FailEvents(lab.Orders, func(id string, _ []byte) string {
			return map[string]string{"bad": "INSUFFICIENT_ACCESS"}[id]
		})
		receipts := publish(t, p, 0, 9)
		bad, err := p.Publish(t.Context(), sfstream.Event{ID: "bad", Value: order{}})
		l.Must(err)
		receipts = append(append(receipts, bad), publish(t, p, 10, 19)...)
		if err := p.Flush(t.Context()); codeOf(err) != sfstream.PermissionDenied {
			t.Errorf("Flush: %v", err)
		}
		l.Must(p.Close(t.Context())) // it is told once
		if got := check(t, l, receipts); got[sfstream.Published] != 20 || bad.Result().Outcome != sfstream.Refused || codeOf(bad.Err()) != sfstream.PermissionDenied {
			t.Errorf("%v, the bad one: %+v", got, bad.Result())
		}
	})
}

// Old schemas end: what is refused for its schema is sent by the present one.
func TestAChangedSchemaLosesNothing(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{{sfstreamtest.WithCurrentSchemaOnly()}, nil} {
		t.Run(fmt.Sprint(len(opts)), func(t *testing.T) { testChangedSchema(t, opts...) })
	}
}

func testChangedSchema(t *testing.T, opts ...sfstreamtest.Option) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t, opts...)
		l.Start()
		p := start(t, l)
		receipts := publish(t, p, 0, 9)
		l.Must(p.Flush(t.Context()))
		l.DelayPublish(lab.Orders, 3, time.Second)
		receipts = append(receipts, publish(t, p, 10, 609)...) // three requests are under way
		l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", `{"name":"More__c","type":["null","string"],"default":null}`)))
		l.Must(p.Flush(t.Context()))
		r, err := p.Publish(t.Context(), map[string]any{"N__c": 1, "More__c": "x"})
		if err != nil { // the program learns of the change from the next answer
			receipts = append(receipts, publish(t, p, 0, 0)...)
			l.Must(p.Flush(t.Context()))
			r, err = p.Publish(t.Context(), map[string]any{"N__c": 1, "More__c": "x"})
			receipts = receipts[:len(receipts)-1]
		}
		l.Must(err)
		l.Must(p.Close(t.Context()))
		if got := check(t, l, append(receipts, r)); got[sfstream.Published] != 611 {
			t.Errorf("%v", got)
		}
	})
}

// A channel that goes away ends the publisher when that has lasted, and nothing is told as
// published.
func TestAChannelThatIsDeniedEndsThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		p := start(t, l)
		receipts := publish(t, p, 0, 0)
		l.Must(p.Flush(t.Context()))
		l.FailPublish(lab.Orders, -1, "topic.meta.permission")
		receipts = append(receipts, publish(t, p, 1, 5)...)
		began := time.Now()
		if err := p.Flush(t.Context()); codeOf(err) != sfstream.PermissionDenied {
			t.Errorf("Flush: %v", err)
		}
		if took := time.Since(began); took < 9*time.Minute || took > 12*time.Minute {
			t.Errorf("it was tried for %v", took)
		}
		if _, err := p.Publish(t.Context(), order{}); codeOf(err) != sfstream.PermissionDenied {
			t.Errorf("afterwards: %v", err)
		}
		if got := check(t, l, receipts); got[sfstream.Published] != 1 {
			t.Errorf("%v", got)
		}
		l.Must(p.Close(t.Context()))
	})
}

// An outage is borne for as long as WithReconnectTimeout says, by default without end.
func TestAnOutageIsBorne(t *testing.T) {
	for _, limit := range []time.Duration{0, 5 * time.Minute} {
		t.Run(limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				l.Start(sfstream.WithReconnectTimeout(limit))
				p := start(t, l)
				receipts := publish(t, p, 0, 0)
				l.Must(p.Flush(t.Context()))
				l.FailPublish(lab.Orders, -1, "service.unavailable")
				receipts = append(receipts, publish(t, p, 1, 5)...)
				time.Sleep(time.Hour)
				l.ClearFaults()
				err := p.Flush(t.Context())
				got := check(t, l, receipts)
				if limit == 0 && (err != nil || got[sfstream.Published] != 6) || limit > 0 && (codeOf(err) < 0 || got[sfstream.Published] != 1) {
					t.Errorf("Flush: %v, %v", err, got)
				}
				_, err = p.Publish(t.Context(), order{})
				if _, over := errors.AsType[*sfstream.TimeoutError](err); over != (limit > 0) {
					t.Errorf("afterwards: %v", err)
				}
				_ = p.Close(t.Context())
			})
		})
	}
}

// With Report, a token that has ended leaves nothing in doubt, and what may be there is never sent
// again, though a later request of the stream is refused before the answer comes.
func TestReportSendsNothingAgainThatMayBeThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start(sfstream.WithInDoubt(sfstream.Report))
		p := start(t, l, sfstream.WithBatchSize(10))
		receipts := publish(t, p, 0, 9)
		l.Must(p.Flush(t.Context()))
		time.Sleep(5 * time.Minute)
		l.ExpireToken()
		logins := l.Logins()
		receipts = append(receipts, publish(t, p, 10, 29)...)
		l.Must(p.Flush(t.Context()))
		if l.Logins() != logins+1 {
			t.Errorf("%d logins", l.Logins()-logins)
		}
		time.Sleep(5 * time.Minute)
		l.DelayPublish(lab.Orders, 1, 5*time.Second)
		receipts = append(receipts, publish(t, p, 30, 39)...)
		time.Sleep(time.Second)
		l.FailPublish(lab.Orders, 1, "service.protection.triggered")
		receipts = append(receipts, publish(t, p, 40, 49)...)
		_ = p.Flush(t.Context())
		got := check(t, l, receipts)
		if n := len(l.Retained(lab.Orders)); n != got[sfstream.Published] || got[sfstream.Published] != 40 || got[sfstream.InDoubt] != 10 {
			t.Errorf("%v, %d are there", got, n)
		}
		l.Must(p.Close(t.Context()))
	})
}
