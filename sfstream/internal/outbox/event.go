package outbox

// An Outcome is what is known of an event. Of two failures the one with the greater outcome says
// more: what may be there stays in doubt though a later attempt was refused.
type Outcome int

const (
	NotSent   Outcome = iota // no request with it has left
	Published                // a result of Salesforce says so
	Refused                  // it is not there: Salesforce, or what is before it, has refused it
	InDoubt                  // a request with it may have been carried out
)

// A Next is what is to be done about a failure.
type Next int

const (
	GiveUp   Next = iota // the same would fail again
	Again                // it may pass: send it again
	AFewMore             // nobody knows the words: send it again, a few times
	Smaller              // the request may be too large: send it again in smaller ones
)

// A Setback is what a failure means for an event.
type Setback struct {
	Outcome Outcome // NotSent, Refused or InDoubt: what would be known of it after this failure alone
	Next    Next
}

const (
	// fewMore is how often an event is refused in words that nobody knows before it is given up.
	fewMore = 3

	// resetsBorne is how often a request is reset before it is cut in two, resetsAlone how often
	// one of a single event is before that is given up. If others have been answered meanwhile it
	// is the event's own fault, and resetsBorne are enough.
	resetsBorne = 2
	resetsAlone = 10
)

// An Event is one on its way out. T is what the sender knows of it.
type Event[T any] struct {
	Of      T
	ID      string // also the correlation key of its result; empty: the server sets it
	Schema  string // the id of the payload's schema
	Payload []byte

	Outcome  Outcome // so far; final when Done
	Done     bool    // nothing more is sent for it
	ReplayID []byte  // Published
	Err      error   // the last failure; nil once it is published

	refusals int    // in words that nobody knows
	most     int    // events in a request with it; 0: as many as fit
	resets   int    // in a row, of requests of the present size
	answered uint64 // Box.answered at the first reset of it alone
}

// size is what the event takes of a request, in bytes: its fields, and at most 24 bytes of tags and
// lengths.
func (e *Event[T]) size() int { return len(e.ID) + len(e.Schema) + len(e.Payload) + 24 }

// Publish ends the event's way: Salesforce has published it.
func (e *Event[T]) Publish(replayID []byte) {
	e.Outcome, e.Done, e.ReplayID, e.Err = Published, true, replayID, nil
}

// End gives the event up with what is known of it. The error stands where no failure has left one.
func (e *Event[T]) End(err error) {
	if e.Done {
		return
	}
	e.Done = true
	if e.Err == nil {
		e.Err = err
	}
}

// fail notes a failure of a request with n events, and whether that was the last.
func (e *Event[T]) fail(s Setback, err error, n int, answered uint64, resend bool) {
	e.Outcome, e.Err = max(e.Outcome, s.Outcome), err
	switch {
	case s.Outcome == InDoubt && !resend:
		e.Done = true
	case s.Next == GiveUp:
		e.Done = true
	case s.Next == AFewMore:
		e.refusals++
		e.Done = e.refusals >= fewMore
	case s.Next == Smaller:
		e.shrink(s, n, answered)
	}
}

// shrink notes that a request with n events was too large, or was reset, which may mean the same.
func (e *Event[T]) shrink(s Setback, n int, answered uint64) {
	if e.resets++; e.resets == 1 {
		e.answered = answered
	}
	surely := s.Outcome != InDoubt
	switch {
	case n > 1 && (surely || e.resets >= resetsBorne):
		e.most, e.resets = (n+1)/2, 0
	case n == 1:
		others := answered != e.answered
		e.Done = surely || e.resets >= resetsAlone || others && e.resets >= resetsBorne
	}
}

// suspect reports whether requests with the event alone were reset so often that it may be at
// fault.
func (e *Event[T]) suspect() bool { return e.most == 1 && e.resets >= resetsBorne }
