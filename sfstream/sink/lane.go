package sink

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// A lane sends the records of its keys, one Send after the other.
type lane struct {
	f     *forwarder
	some  *sync.Cond // of f.mu: there is something to do
	queue []*item    // guarded by f.mu; only run takes records out, when they are settled

	backOff backoff.BackOff
	batch   []*item  // the head of the queue that is being sent
	records []Record // of batch
}

func newLane(f *forwarder) *lane {
	return &lane{f: f, some: sync.NewCond(&f.mu), backOff: f.backOff()}
}

// run is the loop of a lane's goroutine.
func (l *lane) run() {
	l.backOff.Reset()
	for l.next() {
		err := l.fill()
		if lost := l.f.client.Held(); lost != nil { // as it may be after any wait, or a pause of the process
			l.f.lose(lost)
			return
		}
		if err == nil {
			err = l.f.sink.Send(l.f.ctx, l.records)
		}
		if err, final := l.settle(err); err != nil && !l.again(err, final) {
			return
		}
	}
}

// next waits for records and takes the head of the queue as the batch. It reports false where
// nothing is to be sent any more.
func (l *lane) next() bool {
	f := l.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.phase != stopped {
		if len(l.queue) > 0 {
			l.batch = append(l.batch[:0], l.queue[:min(len(l.queue), f.config.records)]...)
			return true
		}
		if f.phase == finishing && f.open == 0 {
			return false
		}
		l.some.Wait()
	}
	return false
}

// fill gives the records of the batch their values, and cuts it where it has enough bytes. A record
// for which that fails is a batch of its own, with the error that a Send would have.
func (l *lane) fill() error {
	size := 0
	for n, i := range l.batch {
		if !i.filled {
			if err := l.f.envelope.fill(&i.record); err != nil && n > 0 {
				l.batch = l.batch[:n] // it is the first of the next batch
				break
			} else if err != nil {
				l.batch = l.batch[:1]
				return &PartialError{Failed: map[int]error{0: backoff.Permanent(err)}}
			}
			i.filled = true
		}
		if size += len(i.record.Value); n > 0 && size > l.f.bytes {
			l.batch = l.batch[:n]
			break
		}
	}
	l.records = l.records[:0]
	for _, i := range l.batch {
		l.records = append(l.records, i.record)
	}
	return nil
}

// settle acks what the queue has acked and takes it out of the lane's queue. It returns why the
// first of the others is not acked, and whether that is final.
func (l *lane) settle(sent error) (failed *RecordError, final bool) {
	clear(l.records)
	var kept []*item
	for n, i := range l.batch {
		err, ends := l.outcome(i, n, sent)
		if err == nil {
			i.record.Message.Ack()
			continue
		}
		if kept = append(kept, i); failed == nil || ends && !final {
			failed, final = &RecordError{Channel: i.record.Channel, ID: i.record.ID, err: err}, ends
		}
	}
	if len(kept) < len(l.batch) {
		l.backOff.Reset()
	}
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	done := len(l.batch) - len(kept)
	copy(l.queue[done:], kept)
	clear(l.queue[:done])
	l.queue = l.queue[done:]
	for _, i := range l.batch {
		if len(kept) > 0 && kept[0] == i {
			kept = kept[1:]
			continue
		}
		l.f.settledLocked(i)
	}
	clear(l.batch)
	return failed, final
}

// outcome is the error of one record, the n-th of its Send; nil: the queue has acked it, or it is a
// dead letter. final says that no repetition cures it.
func (l *lane) outcome(i *item, n int, sent error) (err error, final bool) {
	if sent == nil {
		return nil, false // without an allocation
	}
	var partial *PartialError
	if !errors.As(sent, &partial) || !partial.isOf(len(l.batch)) {
		return sent, isPermanent(sent)
	}
	if err = partial.Failed[n]; !isPermanent(err) || l.f.deadLetter == nil {
		return err, isPermanent(err)
	}
	if keep := l.f.deadLetter(l.f.ctx, i.record, err); keep != nil {
		return fmt.Errorf("dead letter: %w (of: %s)", keep, oneline.Text(err.Error())), false
	}
	return nil, false
}

// isOf reports whether the error can be that of a Send of n records. One that names a record without
// an error cannot: the record may not be acked, and to send it again loses nothing.
func (e *PartialError) isOf(n int) bool {
	if e == nil {
		return false
	}
	for i, err := range e.Failed {
		if i < 0 || i >= n || err == nil {
			return false
		}
	}
	return len(e.Failed) > 0
}

func isPermanent(err error) bool {
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}

// again waits before the next Send, after one that has failed. It reports false where there is to be
// none.
func (l *lane) again(err *RecordError, final bool) bool {
	select {
	case <-l.f.ending: // there is no time to wait
		l.f.stop()
		return false
	default:
	}
	wait := l.backOff.NextBackOff()
	if final || wait == backoff.Stop {
		l.f.fail(err)
		return false
	}
	l.f.client.Logger().Warn("queue has not acked, sending again", "channel", err.Channel, "id", err.ID,
		"error", err.err, "retry_in", wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.f.ending:
	}
	return true
}
