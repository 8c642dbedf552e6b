package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Sink is a [sink.Sink] in Kafka.
type Sink struct {
	client *kgo.Client
	topic  sink.Template
	limit  int             // bytes of a batch
	turn   chan struct{}   // holds one: the right to use the client
	known  map[string]bool // topics whose partitions the client knows; guarded by turn
}

// New returns a sink whose topics are named by a template, see [sink.ParseTemplate], such as
// salesforce.{entity}, or one name. The options are those of franz-go, kgo.SeedBrokers at least. The
// sink makes a client of its own, because order depends on when a client flushes. Its buffer has no
// bound but what a Send has: kgo.MaxBufferedRecords and kgo.MaxBufferedBytes change nothing.
//
// A record is given up after a minute (kgo.RecordDeliveryTimeout), where it is known not to be
// stored, and Forward tries again. kgo.DisableIdempotentWrite and kgo.TransactionalID are refused
// with [sfstream.ErrInvalidOption]. A kgo.RecordPartitioner must give each key one partition. New
// connects to nothing: see [Sink.Ping].
func New(topic string, opts ...kgo.Opt) (*Sink, error) {
	template, err := sink.ParseTemplate(topic)
	if err != nil {
		return nil, fmt.Errorf("kafkasink.New: topic: %w", err)
	}
	all := append([]kgo.Opt{kgo.RecordDeliveryTimeout(time.Minute)}, opts...)
	// A buffer that has no room for a record would take a smaller one behind it.
	client, err := kgo.NewClient(append(all, kgo.ManualFlushing(), kgo.MaxBufferedRecords(math.MaxInt32), kgo.MaxBufferedBytes(0))...)
	if err != nil {
		return nil, fmt.Errorf("%w: kafkasink.New: %w", sfstream.ErrInvalidOption, err)
	}
	for _, refused := range []struct {
		name string
		set  bool
	}{
		{"DisableIdempotentWrite", client.OptValue(kgo.DisableIdempotentWrite) == true},
		{"TransactionalID", client.OptValue(kgo.TransactionalID) != ""},
	} {
		if refused.set {
			client.Close()
			return nil, fmt.Errorf("%w: kafkasink.New: kgo.%s: the sink writes with idempotence, and in no transaction",
				sfstream.ErrInvalidOption, refused.name)
		}
	}
	limit, _ := client.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	s := &Sink{client: client, topic: template, limit: int(limit), turn: make(chan struct{}, 1), known: make(map[string]bool)}
	s.turn <- struct{}{}
	return s, nil
}

// Ping returns nil if a broker answers.
func (s *Sink) Ping(ctx context.Context) error { return s.client.Ping(ctx) }

// Close closes the connections. Call it when Forward has returned. What was sent and not acked may
// be in Kafka or not; it comes again with the next Forward.
func (s *Sink) Close() { s.client.Close() }

// errBehind is the error of records that were not sent.
var errBehind = errors.New("kafkasink: not sent, because the brokers have not taken an earlier record")

// Send implements [sink.Sink].
func (s *Sink) Send(ctx context.Context, records []sink.Record) error {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	pending := make([]*kgo.Record, len(records))
	index := make(map[*kgo.Record]int, len(records))
	for i := range records {
		pending[i] = s.record(&records[i])
		index[pending[i]] = i
	}
	for limit := s.limit; len(pending) > 0; {
		n, size := s.batch(pending, limit)
		failed, errs := s.produce(ctx, pending[:n])
		rest := pending[n:]
		pending = append(failed, rest...)
		switch {
		case len(failed) == 0:
		case n > 1 && onlyRefused(errs):
			limit = size / 2
		default:
			partial := &sink.PartialError{Failed: make(map[int]error, len(pending))}
			for i, record := range failed {
				partial.Failed[index[record]] = errs[i]
				if n == 1 && isRefused(errs[i]) {
					partial.Failed[index[record]] = backoff.Permanent(errs[i])
				}
			}
			for _, record := range rest {
				partial.Failed[index[record]] = errBehind
			}
			return partial
		}
	}
	return nil
}

// record makes Kafka's record. A value that is nil would delete the key in a compacted topic.
func (s *Sink) record(r *sink.Record) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(r.Headers)+2)
	headers = append(headers, kgo.RecordHeader{Key: "sfstream-id", Value: []byte(r.ID)})
	if len(r.Headers) == 0 {
		headers = append(headers, kgo.RecordHeader{Key: "content-type", Value: []byte(r.ContentType)})
	}
	for _, h := range r.Headers {
		headers = append(headers, kgo.RecordHeader{Key: h.As("ce_"), Value: []byte(h.Value)})
	}
	value := r.Value
	if value == nil {
		value = []byte{}
	}
	return &kgo.Record{Topic: s.topic.Expand(r), Key: []byte(r.Key), Value: value, Headers: headers}
}

// batch returns how many of the first records go out at once, and their size. All of them that are
// for one partition are one batch of Kafka's, which is stored as a whole or not at all. That holds
// up to the limit, within a topic for each key, and where the client knows the topic's partitions: it
// does after the first record, which goes alone.
func (s *Sink) batch(records []*kgo.Record, limit int) (n, size int) {
	topics := make(map[string]string) // by key
	for _, r := range records {
		grown := size + room(r)
		topic, again := topics[string(r.Key)]
		if n > 0 && (grown > limit || again && topic != r.Topic || !s.known[r.Topic]) {
			break
		}
		topics[string(r.Key)] = r.Topic
		n, size = n+1, grown
		if !s.known[r.Topic] {
			break
		}
	}
	return n, size
}

// room is at least what a record takes of a batch: its lengths and numbers take 40 bytes at most,
// those of a header 10, and the batch itself 61.
func room(r *kgo.Record) int {
	size := 101 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += 10 + len(h.Key) + len(h.Value)
	}
	return size
}

// produce sends records and waits until the brokers have acked or refused each one. It returns those
// that are not acked, with their errors. When ctx ends it returns what it knows; the client may
// still send the others, in their order and before anything else.
func (s *Sink) produce(ctx context.Context, records []*kgo.Record) (failed []*kgo.Record, errs []error) {
	// What an earlier Send has left behind would be in a batch with these.
	err := s.client.Flush(ctx)
	if err != nil {
		return records, repeated(err, len(records))
	}
	// The client may have begun with the first records of a partition before it had the others, which
	// are another batch then. If the first one is refused the brokers refuse the other, too, because
	// a sequence number is missing; the client would send that anew, but not when its ctx has ended.
	sending, refuse := context.WithCancel(ctx)
	defer refuse()
	var mu sync.Mutex
	results, open, done := repeated(errOpen, len(records)), len(records), make(chan struct{})
	for i, r := range records {
		r.Context = nil // of an earlier attempt
		s.client.Produce(sending, r, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case errors.Is(err, context.Canceled) && ctx.Err() == nil:
				err = errBehind
				fallthrough
			default:
				refuse()
			}
			results[i] = err
			if open--; open == 0 {
				close(done)
			}
		})
	}
	if err = s.client.Flush(ctx); err == nil {
		select { // a record that the client itself refuses is none that Flush waits for
		case <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, result := range results {
		switch {
		case result == nil:
			s.known[records[i].Topic] = true
			continue
		case result == errOpen:
			result = fmt.Errorf("kafkasink: not acked in time: %w", err)
		case result == errBehind:
		default:
			result = fmt.Errorf("kafkasink: topic %s: %w", records[i].Topic, result)
		}
		failed, errs = append(failed, records[i]), append(errs, result)
	}
	return failed, errs
}

// errOpen stands for a result that is not there.
var errOpen = errors.New("kafkasink: no answer yet")

func repeated(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// isRefused is whether the brokers will not take what is in a batch, now or later.
func isRefused(err error) bool {
	for _, refused := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTopicException} {
		if errors.Is(err, refused) {
			return true
		}
	}
	return false
}

// onlyRefused is whether records have failed because a batch was refused, and for nothing else.
func onlyRefused(errs []error) bool {
	for _, err := range errs {
		if !isRefused(err) && err != errBehind {
			return false
		}
	}
	return true
}
