package outbox

import "cmp"

const (
	// MaxEvents is how many events a request has at most, as Salesforce recommends.
	MaxEvents = 200
	// MaxBytes is how large a request becomes. One of 4 MiB is not answered at all.
	MaxBytes = 3_000_000
	// MaxEvent is how large the payload of an event may be.
	MaxEvent = 1 << 20
)

// A Box has the events that wait to be sent, in their order. What a request is cut from it and
// fails goes back to its head. The zero value is empty, and gives up what is in doubt.
type Box[T any] struct {
	Resend bool // what is in doubt is sent again, with the same id
	Most   int  // events in a request; 0: MaxEvents

	events   []*Event[T]
	head     int    // of events: what is before was cut off
	bytes    int    // of the events that wait
	answered uint64 // how many requests were answered
}

// Len returns how many events wait.
func (b *Box[T]) Len() int { return len(b.events) - b.head }

// Full reports whether a request's worth of events waits.
func (b *Box[T]) Full() bool { return b.Len() >= b.most() || b.bytes >= MaxBytes }

func (b *Box[T]) most() int { return cmp.Or(b.Most, MaxEvents) }

// Add puts an event to the end.
func (b *Box[T]) Add(e *Event[T]) {
	if b.head > 0 && len(b.events) == cap(b.events) {
		b.events = b.events[:copy(b.events, b.events[b.head:])]
		b.head = 0
	}
	b.events = append(b.events, e)
	b.bytes += e.size()
}

// Cut takes a request's worth of events off the head, and appends them to dst.
func (b *Box[T]) Cut(dst []*Event[T]) []*Event[T] {
	most, bytes, n := b.most(), 0, 0
	for ; b.head < len(b.events); b.head++ {
		e := b.events[b.head]
		if e.most > 0 {
			most = min(most, e.most)
		}
		if bytes += e.size(); n > 0 && (n >= most || bytes > MaxBytes) {
			break
		}
		dst, b.events[b.head] = append(dst, e), nil
		b.bytes -= e.size()
		n++
	}
	if b.head == len(b.events) {
		b.events, b.head = b.events[:0], 0
	}
	return dst
}

// Answered notes that a request was answered, whatever its results say.
func (b *Box[T]) Answered() { b.answered++ }

// Fail notes the failure of an event in an answer.
func (b *Box[T]) Fail(e *Event[T], s Setback, err error) { e.fail(s, err, 1, b.answered, b.Resend) }

// FailAll notes the failure of a whole request.
func (b *Box[T]) FailAll(request []*Event[T], s Setback, err error) {
	for _, e := range request {
		e.fail(s, err, len(request), b.answered, b.Resend)
	}
}

// Return puts the events of a request that are not done back to the head, in their order, but for
// one that was reset by itself: the others go first, to tell whether it is at fault. Of several
// requests the last one is returned first.
func (b *Box[T]) Return(request []*Event[T]) {
	n := 0
	for _, e := range request {
		switch {
		case e.Done:
		case e.suspect():
			b.Add(e)
		default:
			n++
		}
	}
	if n > b.head {
		moved := make([]*Event[T], n+b.Len(), n+2*b.Len())
		copy(moved[n:], b.events[b.head:])
		b.events, b.head = moved, n
	}
	b.head -= n
	at := b.head
	for _, e := range request {
		if !e.Done && !e.suspect() {
			b.events[at] = e
			b.bytes += e.size()
			at++
		}
	}
}

// End gives up all that waits.
func (b *Box[T]) End(err error) {
	for _, e := range b.events[b.head:] {
		e.End(err)
	}
	b.events, b.head, b.bytes = nil, 0, 0
}
