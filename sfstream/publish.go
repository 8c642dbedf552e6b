package sfstream

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// An Event is an event to publish that has an id of the program's own. Where none is wanted, the
// value alone will do.
type Event struct {
	// ID is what subscribers get as [Message.ID], at most 36 characters; make it a UUID, because
	// [Message.Key] counts no other. Where it is empty the client makes one. Over REST no id can be
	// set.
	ID string
	// Value is a struct or a map. [Client.Publish] says how it becomes an event.
	Value any
}

// An Outcome says what is known of an event that was to be published.
type Outcome int

const (
	// NotSent: it has not left the program. It is not on the event bus.
	NotSent = Outcome(outbox.NotSent)
	// Published: Salesforce has confirmed it.
	Published = Outcome(outbox.Published)
	// Refused: Salesforce does not take it, and Err says why. It is not on the event bus.
	Refused = Outcome(outbox.Refused)
	// InDoubt: it was sent, and no answer says what has become of it: it may be there. Publishing
	// it again with the same id is safe where subscribers deduplicate on [Message.Key].
	InDoubt = Outcome(outbox.InDoubt)
)

// String returns the name of the outcome, as in "Published".
func (o Outcome) String() string {
	names := [...]string{"NotSent", "Published", "Refused", "InDoubt"}
	if o < 0 || int(o) >= len(names) {
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
	return names[o]
}

// A PublishResult is what has become of one event.
type PublishResult struct {
	// ID is the id with which the event was sent and which subscribers get. Over REST Salesforce
	// makes it, and it is empty unless the event was published; /u channels have none.
	ID string
	// ReplayID is the event's place on its channel, as subscribers get it. REST tells none.
	ReplayID []byte
	Outcome  Outcome
	// Err says why the event was not published, or why that is not known: a *[ServerError], an
	// *[AuthError], an *[EncodeError], or the error that has ended the call. It is nil where
	// Outcome is Published.
	Err error
	// Enqueued says that Salesforce has promised to publish the event and has not done it yet. That
	// is all that REST tells: a later failure reaches nobody.
	Enqueued bool
}

// A PublishError says that not all events of a call were published, which they are, and why. It
// unwraps to the errors of these events and, where the call was ended before its time, to what has
// ended it: the error of its context, or [ErrClosed].
type PublishError struct {
	Channel string
	// Failed are the indexes of the events that were not published, or of which that is not known,
	// in ascending order.
	Failed []int

	results []PublishResult
	ended   error // what has ended the call; nil: nothing
}

// shownFailures is how many events the text of a PublishError tells of.
const shownFailures = 5

// Error returns a text with the channel, how many events have which outcome, and the reasons of the
// first ones.
func (e *PublishError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sfstream: %s: %d of %d events not published", e.Channel, len(e.Failed), len(e.results))
	if doubt := e.count(InDoubt); doubt > 0 {
		fmt.Fprintf(&b, " (%d in doubt)", doubt)
	}
	if e.ended != nil {
		fmt.Fprintf(&b, ": %v", e.ended)
	}
	shown := 0
	for at := 0; at < len(e.Failed) && shown < shownFailures; shown++ {
		i, next := e.Failed[at], at+1
		r := e.results[i]
		for next < len(e.Failed) && sameError(e.results[e.Failed[next]].Err, r.Err) {
			next++ // one reason for many is told once
		}
		what := fmt.Sprintf("event %d", i)
		if next-at > 1 {
			what = fmt.Sprintf("events %d to %d", i, e.Failed[next-1])
		}
		if r.Err != nil && !sameError(r.Err, e.ended) {
			fmt.Fprintf(&b, ": %s %s: %v", what, outcomeWords[r.Outcome], r.Err)
		}
		at = next
		if shown == shownFailures-1 && at < len(e.Failed) {
			b.WriteString("; …")
		}
	}
	return oneline.Text(b.String())
}

var outcomeWords = map[Outcome]string{NotSent: "not sent", Refused: "refused", InDoubt: "in doubt"}

func (e *PublishError) count(o Outcome) (n int) {
	for _, i := range e.Failed {
		if e.results[i].Outcome == o {
			n++
		}
	}
	return n
}

// Unwrap returns what has ended the call, if anything has, and the error of each event that was not
// published; an error of several events once.
func (e *PublishError) Unwrap() []error {
	var errs []error
	if e.ended != nil {
		errs = append(errs, e.ended)
	}
	last := e.ended
	for _, i := range e.Failed {
		if err := e.results[i].Err; err != nil && !sameError(err, last) {
			errs = append(errs, err)
			last = err
		}
	}
	return errs
}

// sameError reports whether two errors are one.
func sameError(a, b error) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return !x.IsValid() && !y.IsValid() || x.IsValid() && y.IsValid() && x.Comparable() && y.Comparable() && a == b
}

// An EncodeError says why a value cannot be published. It is found before anything is sent.
type EncodeError struct {
	Channel  string
	SchemaID string // empty over REST
	Field    string // dotted path, as in "Address__c.City"; empty if it concerns the whole event
	Index    int    // of the event in the call
	err      error
}

// Error returns a text with the channel, the event's index, the schema and the field.
func (e *EncodeError) Error() string {
	about := fmt.Sprintf("event %d", e.Index)
	if e.SchemaID != "" {
		about += fmt.Sprintf(" (schema %q)", e.SchemaID)
	}
	if e.Field != "" {
		about += ": field " + e.Field
	}
	return oneline.Text(fmt.Sprintf("sfstream: %s: cannot encode %s: %v", e.Channel, about, e.err))
}

// Unwrap returns the cause.
func (e *EncodeError) Unwrap() error { return e.err }

// A DoubtPolicy says what becomes of an event that was sent and not answered.
type DoubtPolicy int

const (
	// Resend sends it again with the same id, until an answer comes: it is published at least once,
	// and [Message.Key] tells a second one. It is the default. Over REST, where no id can be set,
	// nothing is ever sent again that is in doubt.
	Resend DoubtPolicy = iota
	// Report makes its Outcome [InDoubt]: it is published at most once, unless the program itself
	// publishes it again.
	Report
)

// WithInDoubt sets what [Client.Publish] and a Publisher do with events that were sent and not
// answered, as where a connection breaks. The default is [Resend].
func WithInDoubt(p DoubtPolicy) Option {
	return func(c *config) error {
		if p < Resend || p > Report {
			return fmt.Errorf("%w: WithInDoubt: %d", ErrInvalidOption, p)
		}
		c.inDoubt = p
		return nil
	}
}
