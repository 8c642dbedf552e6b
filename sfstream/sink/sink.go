package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// Sink is a queue, for [Forward]. This comment is its contract; sinktest tests it.
//
// Send puts records into the queue and returns nil when the queue has acked all of them: what an
// acked record survives is what the sink's documentation says. A *[PartialError] names the records
// that are not acked; all others are. After any other error none is known to be. What is not acked
// may be in the queue all the same, and is sent again, with the same ID.
//
// Records of one key are in order, and a sink keeps them so: it lets no record into the queue while
// an earlier one of its key, of the same Send, may still fail. Between keys there is no order. Send
// is called by one goroutine after the other, or by several with [WithLanes], which then never have
// the same key at once.
//
// When ctx ends Send returns soon, with what it knows until then. It does not try again: that is
// what Forward does, with the waits of [WithBackOff], unless an error is a *backoff.PermanentError.
// The slice belongs to Forward again when Send returns; what the records refer to may be kept, and
// must not be changed.
type Sink interface {
	Send(ctx context.Context, records []Record) error
}

// A PartialError says which records of a [Sink.Send] the queue has not acked.
type PartialError struct {
	// Failed has an error for each of them, by index. One that is a *backoff.PermanentError says
	// that the queue will never take this record: see [WithDeadLetter].
	Failed map[int]error
}

// Error returns a text with the number of records and one of the errors.
func (e *PartialError) Error() string {
	if e == nil || len(e.Failed) == 0 {
		return "sink: no record has failed"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Failed)))
	return fmt.Sprintf("sink: %d records are not acked: record %d: %v", len(e.Failed), first, e.Failed[first])
}

// Unwrap returns the errors. A nil pointer has none: a Send that returns one has made an error of it.
func (e *PartialError) Unwrap() []error {
	if e == nil {
		return nil
	}
	errs := make([]error, 0, len(e.Failed))
	for _, err := range e.Failed {
		errs = append(errs, err)
	}
	return errs
}

// A Record is an event on its way to a queue.
type Record struct {
	// ID is the same at every delivery of the event, and another for every other event:
	// org|channel|[sfstream.Message.Key]. It is at most some 200 characters long.
	ID      string
	Channel string // as subscribed
	Key     string // what is kept in order, never empty; see the package's documentation

	// Entity is what the event is about: the object of a change event (Account), the type of a
	// platform event (Order__e), the name of a PushTopic or of a generic channel.
	Entity string
	// Change is created, updated, deleted or undeleted, with gap_ before it where a change event
	// says only that there was a change; gap_overflow; and published, of platform events and
	// generic ones.
	Change string

	// Type, Source, Subject and Time are as CloudEvents have them:
	// com.salesforce.data.account.updated or com.salesforce.event.order__e,
	// /salesforce/00D…/data/AccountChangeEvent, the record's id (empty where there is none or
	// several), and the event's own date in UTC (zero where it carries none).
	Type, Source, Subject string
	Time                  time.Time

	Value       []byte   // the event in the form of WithEnvelope
	ContentType string   // of Value: application/json, application/cloudevents+json, avro/binary
	Headers     []Header // of Raw and CloudEventsBinary: the attributes that are not in Value

	Message *sfstream.Message // the event itself, for sinks that need more; it is not theirs to ack
}

// A Header is an attribute of a CloudEvent beside its value: id, source, specversion, type, and so
// on.
type Header struct{ Name, Value string }

// As returns the name that the header has in a protocol which gives attributes a prefix, such as
// ce_ (Kafka) and ce- (HTTP): datacontenttype is content-type there, without prefix. In NATS all
// names have the prefix ce-.
func (h Header) As(prefix string) string {
	if h.Name == "datacontenttype" {
		return "content-type"
	}
	return prefix + h.Name
}
