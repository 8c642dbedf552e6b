package contract

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// duplicateRules prove what is known again after a reconnect, and what is not.
func duplicateRules() []rule {
	return []rule{
		{number: 7, words: "what a server resends after a reconnect is dropped", run: resentAfterReconnect},
		{number: 7, words: "what a server resends while it waits or is unacked is dropped", run: resentWhileUnacked},
		{number: 7, words: "the last 1,000 are remembered", run: lastThousand},
		{number: 7, words: "the same event id with another replay id is another event", run: sameEventID},
		{number: 7, words: "an event without a replay id is never taken for a duplicate", run: noReplayID},
		{number: 7, words: "a fallback clears the memory", run: fallbackClearsMemory},
		{number: 7, words: "resuming from the oldest without a fallback repeats nothing", run: resumedFromOldest},
		{number: 7, words: "another subscription of the channel remembers nothing", run: anotherSubscription},
	}
}

func resentAfterReconnect(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(lab.Numbers(1, 30)...)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(lab.Numbers(1, 30)...)
	for n := 31; n < 40; n++ {
		l.Duplicate(lab.Orders, n%7)
		l.Outage(time.Second, func() { l.PublishOrders(n) })
		l.Expect(n)
	}
	l.ExpectStillWorks(lab.Orders)
}

func resentWhileUnacked(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2, 3, 4)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithAck(sfstream.AckManual))
	one, two := l.Receive(), l.Receive()
	l.Duplicate(lab.Orders, 4)
	l.Reconnect(lab.Orders)
	l.Pass(time.Minute)
	l.Expect(3, 4)
	one.Ack()
	two.Ack()
	l.ExpectStillWorks(lab.Orders)
}

func lastThousand(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(lab.Numbers(1, 1500)...)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(lab.Numbers(1, 1500)...)
	l.Duplicate(lab.Orders, 1000)
	l.Reconnect(lab.Orders)
	l.PublishOrders(1501)
	l.Expect(1501)
	l.Duplicate(lab.Orders, 1100) // 402 … 501 are forgotten
	l.Reconnect(lab.Orders)
	l.Expect(lab.Numbers(402, 501)...)
	l.ExpectStillWorks(lab.Orders)
}

func sameEventID(t *testing.T) {
	l := lab.New(t)
	payload := l.Payload(1)
	raw := sfstreamtest.RawEvent{Payload: payload, ID: "chosen by the publisher"}
	l.Follow()
	for range 3 {
		_, err := l.PublishRaw(lab.Orders, raw)
		l.Must(err)
		_, err = l.PublishRaw(lab.Orders, raw)
		l.Must(err)
		l.Expect(1, 1)
		l.Reconnect(lab.Orders)
	}
}

func noReplayID(t *testing.T) {
	l := lab.New(t)
	payload := l.Payload(2)
	l.Follow()
	l.PublishOrders(1)
	_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: payload, NoReplayID: true})
	l.Must(err)
	l.Expect(1, 2)
	l.Reconnect(lab.Orders)
	l.Expect(2) // it is after the position
	l.PublishOrders(3)
	l.Expect(3)
	l.Reconnect(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func fallbackClearsMemory(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(1, 2, 3)
	l.Reject(lab.Orders, 1, lab.StaleReplayID)
	l.DropConnections()
	l.Expect(1, 2, 3)
	l.ExpectStillWorks(lab.Orders)
}

func resumedFromOldest(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1, 2, 3)
	l.Expect(1, 2, 3)
	l.Reject(lab.Orders, 1, lab.StaleReplayID) // the channel is followed until now: not stale
	l.DropConnections()
	l.PublishOrders(4)
	l.Expect(4)
	expectGaps(l, 0)
}

func anotherSubscription(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Receive().Ack()
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Orders)) // 2 and 3 count as never received
	l.Subscribe(lab.Orders)
	l.Expect(2, 3)
}
