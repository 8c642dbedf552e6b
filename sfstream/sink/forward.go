package sink

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// Forward sends the events of a client to a queue, and acks each one when the queue has acked it. The
// client must be one with WithAck(AckManual), open, and with its channels subscribed; Forward is a
// consumer as a loop is, and takes what the client receives: a second consumer would take some of
// it, and its place in the order. What waits is sent at once, in batches ([WithBatch]);
// [sfstream.WithPrefetch] bounds, for each channel, what is on its way.
//
// A Send that fails is repeated, with growing waits, and the records of its lane wait meanwhile: an
// outage of the queue costs time only. See [Sink] for the order and [WithDeadLetter] for records that
// the queue never takes.
//
// Forward ends when ctx ends, with Close of the client, with an error that no repetition cures, and
// when the client has stopped for good and what it had received was tried. No Send begins after that,
// and one that runs has [WithDrainTimeout]; where the client has lost its store to another process,
// it has no time at all. What was sent is acked and its markers are saved; the rest goes back to
// the client, whose next consumer gets it first.
//
// The error is [sfstream.ErrInvalidOption], a *[RecordError], the terminal error of the client, and
// nil where ctx ended or the client was closed.
func Forward(ctx context.Context, client *sfstream.Client, to Sink, opts ...Option) error {
	cfg, err := newConfig(opts)
	switch {
	case err != nil:
		return err
	case client == nil || to == nil:
		return invalid("Forward: no client, or no sink")
	case client.AckPolicy() != sfstream.AckManual:
		return invalid("Forward: the client acks by %v: make it with WithAck(AckManual)", client.AckPolicy())
	}
	loop, leave := context.WithCancel(ctx)
	defer leave()
	f := newForwarder(ctx, client, to, cfg)
	f.leave = leave
	defer f.cancel(nil)
	for _, l := range f.lanes {
		if l.backOff == nil {
			return invalid("WithBackOff: the function returns nil")
		}
	}
	var running sync.WaitGroup
	for _, l := range f.lanes {
		running.Go(l.run) // ends when the forwarder stops; awaited below
	}
	defer running.Wait() // also when the function of WithKey panics
	defer f.stop()
	stop := context.AfterFunc(ctx, f.stop)
	for m := range client.Messages(loop) {
		f.add(m)
	}
	f.noMore()
	f.await(&running)
	stop()
	f.drained()
	for range client.Messages(f.ctx) { // f.ctx has ended: no message, but the save at a loop's end
	}
	switch {
	case f.err != nil:
		return f.err
	case ctx.Err() != nil:
		return nil
	}
	return client.Err()
}

// A RecordError is why [Forward] has given up: the first record that is not acked, and the reason.
type RecordError struct {
	Channel string
	ID      string // Record.ID
	err     error
}

// Error returns a text with the channel, the record and the reason.
func (e *RecordError) Error() string {
	return fmt.Sprintf("sink: %s: record %s is not acked: %v", e.Channel, e.ID, e.err)
}

// Unwrap returns the reason: what Send has returned, or why the event has no envelope.
func (e *RecordError) Unwrap() error { return e.err }

// forwarder is the state of one Forward. Its own goroutine adds what the client hands out, lanes
// send it.
type forwarder struct {
	config
	client *sfstream.Client
	sink   Sink
	maker  *maker
	lanes  []*lane

	ctx    context.Context // of Sends: it has the values of Forward's, and ends after the drain
	cancel context.CancelCauseFunc
	leave  context.CancelFunc // ends the loop over messages
	ending chan struct{}      // closed when phase is no more forwarding

	mu       sync.Mutex
	phase    phase
	drainEnd *time.Timer
	err      error // why Forward has given up; nil: it has not
	open     int   // records that are not settled
	channels map[string]*ordered
}

func newForwarder(ctx context.Context, client *sfstream.Client, to Sink, cfg config) *forwarder {
	f := &forwarder{
		config: cfg, client: client, sink: to, ending: make(chan struct{}),
		maker: newMaker(client.OrgID(), cfg.key), channels: make(map[string]*ordered),
	}
	f.ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	for range cfg.lanes {
		f.lanes = append(f.lanes, newLane(f))
	}
	return f
}

// phase is how far a Forward is. It only grows.
type phase int

const (
	forwarding phase = iota
	finishing        // nothing more comes: what is here is sent, and nothing is repeated
	stopped          // no Send begins
)

// errDrained is the cause of the end of a Send's ctx.
var errDrained = errors.New("sink: Forward ends, and its drain timeout is over")

// add brings a message on its way. It never blocks, so that the end of the client is noticed:
// WithPrefetch bounds what the client hands out.
func (f *forwarder) add(m *sfstream.Message) {
	i := new(item)
	i.record, i.barrier = f.maker.record(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	channel := f.channels[m.Channel]
	if channel == nil {
		channel = new(ordered)
		f.channels[m.Channel] = channel
	}
	i.channel = channel
	f.open++
	if channel.add(i) {
		f.sendLocked(i)
	}
}

func (f *forwarder) sendLocked(i *item) {
	lane := f.lanes[0]
	if len(f.lanes) > 1 {
		lane = f.lanes[crc32.ChecksumIEEE([]byte(i.record.Key))%uint32(len(f.lanes))]
	}
	lane.queue = append(lane.queue, i)
	lane.some.Signal()
}

// settled says that a record is acked: those that waited for it go to their lanes.
func (f *forwarder) settledLocked(i *item) {
	f.open--
	for _, next := range i.channel.settle() {
		f.sendLocked(next)
	}
	if f.open == 0 && f.phase == finishing {
		f.wakeLocked()
	}
}

func (f *forwarder) wakeLocked() {
	for _, l := range f.lanes {
		l.some.Signal()
	}
}

// enterLocked goes on to a later phase.
func (f *forwarder) enterLocked(p phase) {
	if p <= f.phase {
		return
	}
	if f.phase == forwarding {
		close(f.ending)
	}
	f.phase = p
	if p == stopped {
		f.drainEnd = time.AfterFunc(f.drain, func() { f.cancel(errDrained) })
	}
	f.wakeLocked()
}

// stop lets no Send begin any more.
func (f *forwarder) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enterLocked(stopped)
}

// fail ends Forward with an error.
func (f *forwarder) fail(err error) {
	f.mu.Lock()
	if f.err == nil {
		f.err = err
	}
	f.enterLocked(stopped)
	f.mu.Unlock()
	f.leave()
}

// lose ends Forward where the client may not hand out any more: not even a Send that runs may go on.
func (f *forwarder) lose(err error) {
	f.stop()
	f.cancel(err)
	f.leave()
}

// noMore says that the client hands out nothing more.
func (f *forwarder) noMore() {
	if lost := f.client.Held(); lost != nil {
		f.lose(lost)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client.Err() != nil {
		f.enterLocked(finishing)
	} else { // ctx ended, the client was closed, or a lane has failed
		f.enterLocked(stopped)
	}
}

// heldEvery is how often the client is asked whether it may hand out, while what was sent last is
// awaited.
const heldEvery = 100 * time.Millisecond

// await waits for the lanes. The loop over messages has ended, which would be told that the client has
// lost its store.
func (f *forwarder) await(lanes *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { // ends with the lanes; awaited below
		lanes.Wait()
		close(done)
	}()
	ask := time.NewTicker(heldEvery)
	defer ask.Stop()
	for {
		select {
		case <-done:
			return
		case <-ask.C:
			if lost := f.client.Held(); lost != nil {
				f.lose(lost)
			}
		}
	}
}

// drained gives back what is not acked. No lane runs any more.
func (f *forwarder) drained() {
	f.stop() // ctx may end at this moment, too: now there is one timer, and it is here
	f.cancel(nil)
	f.mu.Lock()
	f.drainEnd.Stop()
	f.mu.Unlock()
	for _, l := range f.lanes {
		giveBack(l.queue)
	}
	for _, channel := range f.channels {
		giveBack(channel.waiting)
	}
}

func giveBack(items []*item) {
	for _, i := range items {
		i.record.Message.Nack()
	}
}
