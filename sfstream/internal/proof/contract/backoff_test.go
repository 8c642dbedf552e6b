package contract

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// backOffRules prove how long a client tries, and how often.
func backOffRules() []rule {
	return []rule{
		{number: 10, words: "WithReconnectTimeout ends with a TimeoutError", run: reconnectTimeout},
		{number: 10, words: "outages shorter than WithReconnectTimeout end nothing, however many", run: shortOutages},
		{number: 10, words: "an outage of one channel ends the client after WithReconnectTimeout", run: outageOfOneChannel},
		{number: 10, words: "backoff.Stop ends with a TimeoutError", run: backOffStops},
		// Pub/Sub API only: a CometD session has one backoff.
		{number: 10, words: "a custom backoff is used, one per channel, and reset by progress", run: customBackOff, only: sfstream.PubSub},
		{number: 10, words: "the default backoff grows to a minute and no further", run: defaultBackOff},
		{number: 10, words: "a server that ends every stream at once is not stormed", run: everyStreamEnded},
		{number: 10, words: "what the server says about when to come back is heeded", run: limitHeeded},
		{number: 10, words: "the function of WithBackOff may call the client", run: backOffCallsClient},
	}
}

func reconnectTimeout(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	l.PublishOrders(1)
	l.Pass(time.Hour) // connected: no outage
	l.Expect(1)
	l.Refuse(true)
	l.DropConnections()
	began := time.Now()
	e := lab.ExpectEnd[*sfstream.TimeoutError](l)
	if took := time.Since(began); took != 5*time.Minute || e.Down != took || e.Channel != lab.Orders || !e.Timeout() {
		t.Errorf("after %v: %+v", took, e)
	}
	lab.ExpectError[*sfstream.ServerError](t, e)
}

func shortOutages(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	for n := range 10 {
		l.Outage(3*time.Minute, func() { l.PublishOrders(n) })
		l.Expect(n)
	}
	l.ExpectStillWorks(lab.Orders)
}

func outageOfOneChannel(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	l.Subscribe(lab.Accounts)
	l.Reject(lab.Accounts, -1, "UNAVAILABLE")
	l.EndStreams(lab.Accounts, "UNAVAILABLE")
	if e := lab.ExpectEnd[*sfstream.TimeoutError](l); e.Channel != lab.Accounts {
		t.Errorf("%+v", e)
	}
}

func backOffStops(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 3)
	}))
	l.Refuse(true)
	l.DropConnections()
	began := time.Now()
	lab.ExpectEnd[*sfstream.TimeoutError](l)
	if took := time.Since(began).Round(time.Second); took != 3*time.Minute {
		t.Errorf("it took %v", took)
	}
}

// backOffCallsClient hangs where the client calls the function under a lock.
func backOffCallsClient(t *testing.T) {
	l := lab.New(t)
	var client atomic.Pointer[sfstream.Client]
	var asked atomic.Int64
	client.Store(l.Start(sfstream.WithBackOff(func() backoff.BackOff {
		if c := client.Load(); c != nil {
			asked.Add(1)
			c.Status()
			c.Subscriptions()
		}
		return backoff.NewConstantBackOff(time.Second)
	})))
	l.Subscribe(lab.Orders)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	l.Subscribe(lab.Orders) // by a connection of its own, which asks for a second policy
	if asked.Load() == 0 {
		t.Error("the function was not called")
	}
	l.PublishOrders(1)
	l.Expect(1)
}

func customBackOff(t *testing.T) {
	l := lab.New(t)
	var policies atomic.Int64
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff {
		policies.Add(1)
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(10*time.Second), 3)
	}))
	l.Subscribe(lab.Accounts)
	if n := policies.Load(); n != 2 {
		t.Errorf("%d policies for 2 channels", n)
	}
	for n := range 5 { // 15 retries in all, 3 in a row
		l.Reject(lab.Orders, 2, "UNAVAILABLE")
		l.EndStreams(lab.Orders, "UNAVAILABLE")
		l.PublishOrders(n)
		before := time.Now()
		l.Expect(n)
		if took := time.Since(before).Round(time.Second); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	l.ExpectStillWorks(lab.Orders)
}

func defaultBackOff(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.Orders, -1, "UNAVAILABLE")
	l.EndStreams(lab.Orders, "UNAVAILABLE")
	l.Pass(12 * time.Hour)
	calls := l.Subscribes(lab.Orders)
	for i := range calls[1:] {
		if wait := calls[i+1].At.Sub(calls[i].At); wait > 61*time.Second {
			t.Errorf("a wait of %v", wait)
		}
	}
	if n := len(calls); n < 800 || n > 3000 { // 30 s on average
		t.Errorf("%d attempts in 12 hours", n)
	}
	l.ClearFaults()
	l.ExpectStillWorks(lab.Orders)
}

func everyStreamEnded(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.Orders, -1, "OK")
	l.EndStreams(lab.Orders, "OK")
	l.Pass(time.Hour)
	if n := len(l.Subscribes(lab.Orders)); n > 300 {
		t.Errorf("%d attempts in an hour", n)
	}
	l.ClearFaults()
	l.ExpectStillWorks(lab.Orders)
}

func limitHeeded(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.Orders, 3, "subscription.limit.exceeded")
	l.EndStreams(lab.Orders, "subscription.limit.exceeded")
	l.PublishOrders(1)
	l.Expect(1)
	calls := l.Subscribes(lab.Orders)
	if len(calls) != 5 {
		t.Fatalf("%d Subscribes", len(calls))
	}
	for i := range calls[1:] {
		if wait := calls[i+1].At.Sub(calls[i].At); wait < 10*time.Minute {
			t.Errorf("it came again after %v", wait)
		}
	}
	l.ExpectStillWorks(lab.Orders)
}
