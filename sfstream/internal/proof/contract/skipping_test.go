package contract

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// skippingRules prove what is skipped where a subscription that began at new resumes from the
// oldest event, having no position.
func skippingRules() []rule {
	return []rule{
		{number: 5, words: "platform events are skipped only when an hour older than the start", run: skippedEvents},
		{number: 5, words: "change events are skipped only when ten minutes older than the start", run: skippedChanges},
		{number: 5, words: "an event that comes on a stream of new events is never skipped, whatever its date", run: neverSkippedOnNew},
		// Pub/Sub API only: a connect reply names no replay id to resume after.
		{number: 5, words: "an event that comes after a keepalive is never skipped, whatever its date", run: neverSkippedAfterKeepalive, only: sfstream.PubSub},
		{number: 5, words: "after a keepalive at the end of a replay nothing is skipped", run: keepaliveEndsSkipping},
		{number: 5, words: "the last skipped event is the position, and skipping goes on after it", run: lastSkippedIsPosition},
		{number: 5, words: "a drop in the middle of skipping skips the rest", run: dropWhileSkipping},
		// Pub/Sub API only: a CometD subscribe is live when it is answered.
		{number: 5, words: "ReplayNew may miss what comes before routing is live, ReplaySince does not", run: beforeRouting, only: sfstream.PubSub},
	}
}

func skippedEvents(t *testing.T) {
	l := lab.New(t)
	start := time.Now().Add(2 * time.Hour)
	l.PublishDated(1, start.Add(-time.Hour-2*time.Second)) // the clock of the Date header is cut to seconds
	l.PublishDated(2, start.Add(-time.Hour+time.Second))
	l.Pass(time.Until(start))
	l.Follow()
	l.Outage(time.Minute, func() { l.PublishOrders(3) })
	l.Expect(2, 3)
}

func skippedChanges(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1)
	l.Pass(3 * time.Second)
	l.ChangeAccount(2)
	l.Pass(10*time.Minute - time.Second)
	l.Start()
	l.Subscribe(lab.Accounts)
	l.Outage(time.Minute, func() { l.ChangeAccount(3) })
	l.Expect(2, 3)
}

func neverSkippedOnNew(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for n := range 5 {
		l.PublishDated(n, time.Now().Add(-5*time.Hour)) // a publisher with the wrong time zone
	}
	l.Expect(0, 1, 2, 3, 4)
}

func neverSkippedAfterKeepalive(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Pass(61 * time.Second)
	l.Outage(time.Minute, func() { l.PublishDated(1, time.Now().Add(-5*time.Hour)) })
	l.Expect(1)
	l.PublishDated(2, time.Now().Add(-5*time.Hour))
	l.Expect(2)
}

func keepaliveEndsSkipping(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Outage(time.Second, func() {})
	l.Pass(3 * time.Minute)
	l.PublishDated(2, time.Now().Add(-5*time.Hour))
	l.Expect(2)
}

func lastSkippedIsPosition(t *testing.T) {
	l := lab.New(t)
	skipped := l.PublishOrders(lab.Numbers(1, 150)...)
	l.Pass(2 * time.Hour)
	l.Follow(sfstream.WithPrefetch(100))
	l.Reconnect(lab.Orders)
	l.ExpectSubscribe(lab.Orders, "EARLIEST", nil)
	l.Pass(time.Second)
	l.Reconnect(lab.Orders)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", skipped[149].ReplayID)
	l.ExpectQuiet(time.Second)
	l.ExpectStillWorks(lab.Orders)
	l.Stop()
	l.Follow()
	l.ExpectQuiet(5 * time.Minute) // skipped events are handled
	l.ExpectStillWorks(lab.Orders)
}

func dropWhileSkipping(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithBatchEvents(10))
	l.PublishOrders(lab.Numbers(1, 500)...)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Refuse(true)
	l.DropConnections()
	l.PublishOrders(501)
	l.Refuse(false)
	for range 20 { // each connection lives for a moment
		time.Sleep(100 * time.Millisecond)
		l.DropConnections()
	}
	l.Expect(501)
	l.ExpectStillWorks(lab.Orders)
}

func beforeRouting(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.Follow()
	l.PublishOrders(1) // the documented loss
	l.Pass(4 * time.Second)
	l.PublishOrders(2)
	l.Expect(2)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders))
	l.Pass(2 * time.Hour)
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.PublishOrders(3)
	l.Expect(3)
}
