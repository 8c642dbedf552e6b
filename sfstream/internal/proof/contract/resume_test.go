package contract

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// resumeRules prove that nothing is lost once Subscribe has succeeded.
func resumeRules() []rule {
	rules := []rule{
		{number: 5, words: "a drop before any response after ReplayNew loses nothing", run: dropBeforeResponse},
		{number: 5, words: "many drops before any response lose nothing", run: dropsBeforeResponse},
		{number: 5, words: "the first Subscribe saves its start, and a restart begins there", run: startSaved},
		{number: 5, words: "a second restart from the saved start loses nothing", run: startSavedAgain},
		// Pub/Sub API only: a connect reply names no replay id.
		{number: 5, words: "a keepalive id is saved at once where nothing was ever delivered", run: keepaliveSavedAtOnce, only: sfstream.PubSub},
		{number: 5, words: "a keepalive id is saved only when all before it is handled", run: keepaliveSavedWhenHandled, only: sfstream.PubSub},
		{number: 5, words: "a keepalive id does not pass a message that comes after it and is unhandled", run: keepaliveBeforeUnhandled},
		{number: 5, words: "the queue survives reconnects", run: queueSurvives},
		{number: 5, words: "a stream without demand that the server ends is resumed silently", run: endedWithoutDemand},
	}
	return append(rules, each(rule{number: 5, words: "the start is Salesforce's time, also %v off ours"}, []time.Duration{2 * time.Hour, -2 * time.Hour}, skewedStart)...)
}

func dropBeforeResponse(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	l.Pass(10 * time.Second)
	l.Outage(time.Minute, func() { l.PublishOrders(2, 3) })
	l.Expect(2, 3)
	l.ExpectSubscribe(lab.Orders, "EARLIEST", nil)
	l.ExpectStillWorks(lab.Orders)
	expectGaps(l, 0)
}

func dropsBeforeResponse(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	l.Follow()
	var want []int
	for n := 2; n < 10; n++ {
		l.Outage(30*time.Second, func() { l.PublishOrders(n) })
		want = append(want, n)
	}
	l.Expect(want...)
	l.ExpectStillWorks(lab.Orders)
}

func startSaved(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	start := time.Now()
	l.Follow()
	if m := l.Marker(lab.Orders); len(m.ReplayID) > 0 || !m.Live.Equal(start) {
		t.Errorf("marker %+v, want Live %v", m, start)
	}
	l.Stop()
	l.PublishOrders(2)
	l.Pass(24 * time.Hour)
	l.Follow()
	l.ExpectSubscribe(lab.Orders, "EARLIEST", nil)
	l.Expect(2)
	l.ExpectStillWorks(lab.Orders)
}

func startSavedAgain(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Pass(2 * time.Hour)
	for n := range 3 {
		l.Follow()
		l.Stop()
		l.PublishOrders(2 + n)
		l.Pass(time.Hour)
	}
	l.Follow()
	l.Expect(2, 3, 4)
}

func keepaliveSavedAtOnce(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Pass(time.Minute + 50*time.Millisecond)
	first := l.Marker(lab.Orders)
	if len(first.ReplayID) == 0 || time.Since(first.Live) > 2*time.Second {
		t.Fatalf("marker %+v", first)
	}
	l.Reconnect(lab.Orders)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", first.ReplayID)
	l.Stop()
	l.PublishOrders(1)
	l.Follow()
	l.Expect(1)
}

func keepaliveSavedWhenHandled(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithAck(sfstream.AckManual))
	event := l.PublishOrders(1)[0]
	m := l.Receive()
	l.Pass(5 * time.Minute)
	if got := l.Marker(lab.Orders); len(got.ReplayID) > 0 {
		t.Errorf("the marker has passed an unhandled message: %+v", got)
	}
	l.Reconnect(lab.Orders)
	quiet := l.LastSubscribe(lab.Orders).ReplayID
	if bytes.Equal(quiet, event.ReplayID) {
		t.Error("the reconnect did not resume at the keepalive's id")
	}
	m.Ack()
	l.Pass(time.Second)
	if got := l.Marker(lab.Orders); !bytes.Equal(got.ReplayID, quiet) {
		t.Errorf("marker %x, want the keepalive's %x", got.ReplayID, quiet)
	}
	l.ExpectStillWorks(lab.Orders)
}

func keepaliveBeforeUnhandled(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithAck(sfstream.AckManual))
	l.Pass(2 * time.Minute)
	one := l.PublishOrders(1)[0]
	l.Receive().Ack()
	l.Pass(2 * time.Minute)
	l.PublishOrders(2)
	l.Receive() // never acked
	l.Pass(10 * time.Minute)
	l.PublishOrders(3)
	l.Receive().Ack()
	l.Pass(10 * time.Minute)
	l.Stop()
	got := l.Marker(lab.Orders)
	if bytes.Compare(got.ReplayID, one.ReplayID) < 0 {
		t.Errorf("marker %x is before number 1", got.ReplayID)
	}
	l.Follow()
	l.Expect(2, 3)
}

func queueSurvives(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	events := l.PublishOrders(lab.Numbers(1, 50)...)
	synctest.Wait()
	if n := l.Client.Pending(); n != 50 {
		t.Fatalf("%d waiting", n)
	}
	l.Reconnect(lab.Orders)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", events[49].ReplayID)
	l.PublishOrders(51)
	l.Expect(lab.Numbers(1, 51)...)
	l.ExpectStillWorks(lab.Orders)
}

func endedWithoutDemand(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithPrefetch(10), sfstream.WithReconnectTimeout(time.Minute))
	l.PublishOrders(lab.Numbers(1, 30)...)
	l.Pass(time.Hour) // the loop's body is slow; the server ended the stream after a minute
	if n := l.Streams(lab.Orders); n != 0 {
		t.Errorf("%d streams", n)
	}
	l.Reject("", 1, "UNAVAILABLE") // an hour of waiting for room is not an hour of outage
	l.Expect(lab.Numbers(1, 30)...)
	l.ExpectStillWorks(lab.Orders)
}

func skewedStart(t *testing.T, skew time.Duration) {
	l := lab.New(t, sfstreamtest.WithClockSkew(skew))
	l.PublishOrders(1)
	l.Pass(90 * time.Minute)
	l.Follow()
	if m, want := l.Marker(lab.Orders), time.Now().Add(skew); !m.Live.Equal(want) {
		t.Errorf("Live is %v, want %v", m.Live, want)
	}
	l.Outage(time.Minute, func() { l.PublishOrders(2) })
	l.Expect(2)
	l.Stop()
	l.PublishOrders(3)
	l.Follow()
	l.Expect(3)
}
