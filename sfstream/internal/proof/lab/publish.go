package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// PublishOrders puts orders with these numbers on their channel.
func (l *Lab) PublishOrders(numbers ...int) []sfstreamtest.Event {
	l.T.Helper()
	return l.PublishNumbers(Orders, numbers...)
}

// PublishNumbers puts events with these numbers on a channel: platform events, events of a
// PushTopic or generic ones.
func (l *Lab) PublishNumbers(channel string, numbers ...int) (events []sfstreamtest.Event) {
	l.T.Helper()
	for _, n := range numbers {
		var (
			e   sfstreamtest.Event
			err error
		)
		name, isTopic := strings.CutPrefix(channel, "/topic/")
		switch {
		case isTopic:
			e, err = l.PublishTopic(name, "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": n})
		case strings.HasPrefix(channel, "/u/"):
			var r sfstreamtest.PushResult
			r, err = l.Push(channel, strconv.Itoa(n))
			e = r.Event
		default:
			e, err = l.Publish(channel, map[string]any{"N__c": float64(n)})
		}
		l.Must(err)
		events = append(events, SeenBy(l.T, e))
	}
	return events
}

// PublishDated publishes an order whose publisher has written this CreatedDate.
func (l *Lab) PublishDated(number int, date time.Time) sfstreamtest.Event {
	l.T.Helper()
	e, err := l.Publish(Orders, map[string]any{"N__c": float64(number), "CreatedDate": date})
	l.Must(err)
	return SeenBy(l.T, e)
}

// ChangeAccount commits changes of an account, which set its NumberOfEmployees.
func (l *Lab) ChangeAccount(numbers ...int) (events []sfstreamtest.Event) {
	l.T.Helper()
	for _, n := range numbers {
		e, err := l.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"NumberOfEmployees": n},
		})
		l.Must(err)
		events = append(events, SeenBy(l.T, e))
	}
	return events
}

// PublishNext puts the next n events on a channel. The IDs of its events are counted from 1, so
// that a test knows them without decoding.
func (l *Lab) PublishNext(channel string, n int) {
	l.T.Helper()
	for range n {
		l.PublishNextRaw(channel, sfstreamtest.RawEvent{})
	}
}

// PublishNextRaw is PublishNext for an event of the test's own, which gets the next ID. Without a
// payload it is an order of now that has no number.
func (l *Lab) PublishNextRaw(channel string, e sfstreamtest.RawEvent) {
	l.T.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published[channel]++
	e.ID = strconv.Itoa(l.published[channel])
	if e.Payload == nil {
		e.Payload = binary.AppendVarint(nil, time.Now().UnixMilli()) // CreatedDate
		e.Payload = append(binary.AppendVarint(e.Payload, 18), "005000000000001AAA"...)
		e.Payload = append(e.Payload, 0) // N__c: null
	}
	made, err := l.PublishRaw(channel, e)
	l.Must(err)
	l.ids[channel+string(SeenBy(l.T, made).ReplayID)] = e.ID
}

// Published is how many events PublishNext has put on a channel, and so the last one's ID.
func (l *Lab) Published(channel string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published[channel]
}

// IDOf is the ID of the event of PublishNext with a replay id.
func (l *Lab) IDOf(channel string, replayID []byte) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, ok := l.ids[channel+string(replayID)]; ok || len(replayID) == 0 {
		return id
	}
	return fmt.Sprintf("unknown replay id %x", replayID)
}

// Payload is that of a published order.
func (l *Lab) Payload(number int) []byte {
	l.T.Helper()
	c, err := sfstream.New(l.Authenticator(), sfstream.WithOrg(l))
	l.Must(err)
	l.Must(c.Open(l.T.Context()))
	l.Must(c.Subscribe(l.T.Context(), Orders))
	synctest.Wait()
	l.PublishOrders(number)
	m, err := c.Receive(l.T.Context())
	l.Must(err)
	payload := bytes.Clone(m.Raw())
	l.Must(c.Close())
	return payload
}

// Numbers are the numbers from first to last.
func Numbers(first, last int) []int {
	var all []int
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// IDs are the numbers from first to last as text: the IDs that PublishNext gives.
func IDs(first, last int) []string {
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

// Date is what the tests' DateTime fields hold.
var Date = time.Date(2025, 6, 1, 12, 30, 15, 123e6, time.UTC)
