package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
)

// An Option configures a [Forward].
type Option func(*config) error

type config struct {
	envelope       Envelope
	key            func(*sfstream.Message) string // nil: by kind of event
	lanes          int
	records, bytes int // of a Send, at most
	backOff        func() backoff.BackOff
	deadLetter     func(context.Context, Record, error) error // nil: stop
	drain          time.Duration
}

func newConfig(opts []Option) (config, error) {
	cfg := config{
		envelope: JSON, lanes: 1, records: 500, bytes: 1 << 20, drain: 10 * time.Second,
		backOff: func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
				backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
		},
	}
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{sfstream.ErrInvalidOption}, args...)...)
}

// WithEnvelope sets the form of [Record].Value. The default is [JSON].
func WithEnvelope(e Envelope) Option {
	return func(c *config) error {
		if e < JSON || e > CloudEventsBinary {
			return invalid("WithEnvelope: %v", e)
		}
		c.envelope = e
		return nil
	}
}

// WithKey sets what is kept in order: records with the same key, also those of several channels. An
// empty key stands for the channel. It replaces the keys that the package's documentation names,
// and there are no barriers then. [Forward] calls key once per message; it must not block.
func WithKey(key func(*sfstream.Message) string) Option {
	return func(c *config) error {
		if key == nil {
			return invalid("WithKey: nil")
		}
		c.key = key
		return nil
	}
}

// WithLanes sets how many calls of [Sink.Send] may run at once. The default is 1. Each lane has its
// keys, by their hash, so that order is kept.
func WithLanes(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return invalid("WithLanes: %d is less than 1", n)
		}
		c.lanes = n
		return nil
	}
}

// WithBatch sets how many records a [Sink.Send] gets at most, and how many bytes of values; a
// larger value goes alone. The defaults are 500 and 1 MiB. Nothing waits for a batch to be full,
// and [sfstream.WithPrefetch], by default 200, bounds what there is of one channel at all.
func WithBatch(records, bytes int) Option {
	return func(c *config) error {
		if records < 1 || bytes < 1 {
			return invalid("WithBatch: %d records, %d bytes: less than 1", records, bytes)
		}
		c.records, c.bytes = records, bytes
		return nil
	}
}

// WithBackOff sets the waits between repetitions of a [Sink.Send] that has failed. [Forward] calls
// policy once per lane. When it returns backoff.Stop Forward ends with the error. By default the
// waits grow from 100 ms to 10 s, without end.
func WithBackOff(policy func() backoff.BackOff) Option {
	return func(c *config) error {
		if policy == nil {
			return invalid("WithBackOff: nil")
		}
		c.backOff = policy
		return nil
	}
}

// WithDeadLetter sets what becomes of a record that the queue will never take (its error in a
// *[PartialError] is a *backoff.PermanentError), and of an event that cannot be put into its
// envelope, whose record then has no Value. keep stores it elsewhere and returns nil: then it is
// acked, and the records behind it go on. If keep fails the record is tried again. By default such
// a record ends [Forward] with a *[RecordError].
func WithDeadLetter(keep func(ctx context.Context, record Record, err error) error) Option {
	return func(c *config) error {
		if keep == nil {
			return invalid("WithDeadLetter: nil")
		}
		c.deadLetter = keep
		return nil
	}
}

// WithDrainTimeout sets how long a [Sink.Send] that runs when [Forward] begins to end may go on: its
// ctx is cancelled d after that. The default is 10 seconds; 0 cancels at once.
func WithDrainTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return invalid("WithDrainTimeout: %v is negative", d)
		}
		c.drain = d
		return nil
	}
}
