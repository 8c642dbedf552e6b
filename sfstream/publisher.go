package sfstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// errPending is the error of a receipt that is not resolved.
var errPending = errors.New("sfstream: it is not known yet what has become of the event: wait for Receipt.Done")

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done returns a channel that is closed when it is known what has become of the event.
func (r *Receipt) Done() <-chan struct{} {
	p := r.event.Of
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.resolved:
		return closedChannel
	case r.done == nil:
		r.done = make(chan struct{})
	}
	return r.done
}

// Err returns nil if the event is published, else why it is not or why that is not known. Before
// Done is closed it returns an error that says so.
func (r *Receipt) Err() error { return r.Result().Err }

// Result returns what has become of the event. Before Done is closed the event is [InDoubt].
func (r *Receipt) Result() PublishResult {
	p := r.event.Of
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &r.event
	if !r.resolved {
		return PublishResult{ID: e.ID, Outcome: InDoubt, Err: errPending}
	}
	return PublishResult{ID: e.ID, ReplayID: e.ReplayID, Outcome: Outcome(e.Outcome), Err: e.Err}
}

// A PublisherOption configures a [Publisher].
type PublisherOption func(*publisherConfig) error

// WithLinger sets how long an event waits at most for others that go into the same request. The
// default is 10 ms; 0 sends as soon as the stream is free. A full request never waits, nor does
// anything while Flush, Close or a Publish without room does.
func WithLinger(d time.Duration) PublisherOption {
	return func(c *publisherConfig) error {
		if d < 0 || d > time.Minute {
			return fmt.Errorf("%w: WithLinger: %v is not between 0 and a minute", ErrInvalidOption, d)
		}
		c.linger = d
		return nil
	}
}

// WithBatchSize sets how many events a request has at most. The default is 200, which is also the
// most that Salesforce recommends. A request has at most 3 MB in any case.
func WithBatchSize(n int) PublisherOption {
	return func(c *publisherConfig) error {
		if n < 1 || n > outbox.MaxEvents {
			return fmt.Errorf("%w: WithBatchSize: %d is not between 1 and %d", ErrInvalidOption, n, outbox.MaxEvents)
		}
		c.batch = n
		return nil
	}
}

// WithInFlight sets how many events, and how many bytes of payloads, a publisher holds at most
// whose receipts are not resolved. At either bound Publish waits. The default is 5,000 events and
// 32 MiB. An event that is larger than the bound goes alone.
func WithInFlight(events, bytes int) PublisherOption {
	return func(c *publisherConfig) error {
		if events < 1 || bytes < 1 {
			return fmt.Errorf("%w: WithInFlight: %d events, %d bytes", ErrInvalidOption, events, bytes)
		}
		c.events, c.bytes = events, bytes
		return nil
	}
}

// Publisher returns a publisher of a channel /event/…, which nothing else shares. It does no I/O:
// the first Publish connects. Close it; [Client.Close] ends it too, but waits for nothing.
//
// Events of which no answer says what has become of them are sent again with the same ids, or
// reported, as [WithInDoubt] says. So are those that Salesforce refuses for a reason that may pass,
// such as a limit, for as long as the client and the publisher live: [WithBackOff] says how often,
// [WithReconnectTimeout] for how long an outage is borne. What is sent again may come after later
// events. A channel that is gone, or that the user may not publish on, ends the publisher.
//
// The error is [ErrInvalidOption], [ErrNotOpen], [ErrClosed] or that of a client that has ended.
func (c *Client) Publisher(channel string, opts ...PublisherOption) (*Publisher, error) {
	api, err := c.cfg.publishAPI(channel)
	if err != nil {
		return nil, err
	}
	if api != apiPubSub {
		return nil, fmt.Errorf("%w: Publisher: channel %q: there are streams over the Pub/Sub API only, use Publish", ErrInvalidOption, channel)
	}
	cfg := publisherConfig{linger: 10 * time.Millisecond, batch: outbox.MaxEvents, events: 5000, bytes: 32 << 20}
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return nil, err
		}
	}
	if err := c.life.usable(); err != nil {
		return nil, err
	}
	p := &Publisher{
		services: c.services, bus: c.roster.pubsub, channel: channel, opts: cfg,
		done: make(chan struct{}), wake: make(chan struct{}, 1), preparing: make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancelCause(c.life.ctx)
	p.queue.box = outbox.Box[*Publisher]{Resend: c.cfg.inDoubt == Resend, Most: cfg.batch}
	p.queue.room = outbox.Room{Events: cfg.events, Bytes: cfg.bytes}
	return p, nil
}

// Publish takes an event, which is what [Client.Publish] takes, and returns at once while there is
// room; else it waits until ctx ends. The event is encoded before Publish returns: the program may
// change its value afterwards. The first Publish asks for the channel's schema, and tries until ctx
// ends where that may help. An [Event] is refused while another one with its ID is not resolved.
//
// An error says that the event was not taken and that nothing of it was or will be sent: an
// *[EncodeError], a *[ServerError], an *[AuthError], [ErrInvalidOption], [ErrClosed] after Close, or
// the error of ctx. What becomes of an event that was taken is told by its receipt alone.
func (p *Publisher) Publish(ctx context.Context, event any) (*Receipt, error) {
	id, value, err := p.take(event)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sfstream: %s: %w", p.channel, err)
	}
	e := p.encoding.Load()
	if e == nil {
		if e, err = p.prepare(ctx); err != nil {
			return nil, err
		}
	}
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	own := *e
	own.system.CreatedDate, own.room = time.Now(), (*buffer)[:0]
	payload, err := own.encode(ctx, value)
	switch {
	case err != nil && (ctx.Err() != nil || p.ctx.Err() != nil): // the question for the user may have ended
		return nil, p.over(ctx)
	case err != nil:
		return nil, err
	case len(payload) > outbox.MaxEvent:
		return nil, &EncodeError{Channel: p.channel, SchemaID: e.schemaID, err: fmt.Errorf("it takes %d bytes, and Salesforce takes %d", len(payload), outbox.MaxEvent)}
	}
	return p.add(ctx, id, e.schemaID, payload)
}

// scratch has memory in which events are encoded before there is room for them.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// take checks an argument of Publish, and returns its parts.
func (p *Publisher) take(event any) (id string, value any, err error) {
	value = event
	switch given := event.(type) {
	case *Event:
		if given != nil {
			id, value = given.ID, given.Value
		}
	case Event:
		id, value = given.ID, given.Value
	}
	if err = checkValue(value); err == nil && id != "" {
		err = checkEventID(id, apiPubSub, p.channel)
	}
	switch {
	case errors.Is(err, errSlice):
		return "", nil, fmt.Errorf("%w: Publish: %w: call Publish for each", ErrInvalidOption, err)
	case err != nil:
		return "", nil, fmt.Errorf("%w: Publish: %w", ErrInvalidOption, err)
	}
	return id, value, nil
}

// prepare asks for the channel's topic, with retries until ctx ends.
func (p *Publisher) prepare(ctx context.Context) (*encoding, error) {
	joined, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	select {
	case p.preparing <- struct{}{}:
	case <-joined.Done():
		return nil, p.over(ctx)
	}
	defer func() { <-p.preparing }()
	var policy backoff.BackOff
	for renewed := false; ; {
		if e := p.encoding.Load(); e != nil {
			return e, nil
		}
		creds, err := p.logins.token(joined, tokenRequest{channel: p.channel})
		if err == nil {
			if err = p.learn(joined, creds, nil); err == nil {
				continue
			}
		}
		s := judgePublish(err, false)
		switch {
		case joined.Err() != nil:
			return nil, p.over(ctx)
		case s.cure == cureLogin && !renewed && p.logins.replace(creds):
			renewed = true
			continue
		case s.Next == outbox.GiveUp || s.cure == cureLogin:
			return nil, err
		case policy == nil:
			policy = p.cfg.newBackOff()
		}
		wait := policy.NextBackOff()
		if wait == backoff.Stop {
			return nil, err
		}
		select {
		case <-time.After(max(wait, retryAfter(err), 1)):
		case <-joined.Done():
			return nil, fmt.Errorf("%w, after: %w", p.over(ctx), err)
		}
	}
}

// over is why a call ends: its context, or the end of the publisher.
func (p *Publisher) over(ctx context.Context) error {
	if p.ctx.Err() != nil {
		return p.ending()
	}
	return fmt.Errorf("sfstream: %s: %w", p.channel, ctx.Err())
}

// add queues an event as soon as there is room.
func (p *Publisher) add(ctx context.Context, id, schemaID string, payload []byte) (*Receipt, error) {
	bytes := len(payload) + roomOfEvent
	p.mu.Lock()
	if err := p.beginLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if w := p.queue.room.Take(bytes); w != nil {
		p.mu.Unlock()
		p.notify() // what waits does not linger then
		var ended error
		select {
		case <-w.Granted:
		case <-ctx.Done():
			ended = ctx.Err()
		case <-p.ctx.Done():
		}
		p.mu.Lock()
		if ended == nil && p.tally.closed == nil && p.ctx.Err() == nil {
			defer p.mu.Unlock()
			return p.addLocked(id, schemaID, payload, bytes)
		}
		p.queue.room.Leave(w)
		closed := p.tally.closed
		p.mu.Unlock()
		if closed != nil {
			return nil, closed
		}
		return nil, p.over(ctx)
	}
	defer p.mu.Unlock()
	return p.addLocked(id, schemaID, payload, bytes)
}

// beginLocked starts the goroutine of the publisher with its first event.
func (p *Publisher) beginLocked() error {
	switch {
	case p.tally.closed != nil:
		return p.tally.closed
	case p.ctx.Err() != nil:
		return p.ending()
	case p.tally.begun:
		return nil
	}
	if err := p.life.start(); err != nil {
		return err
	}
	p.tally.begun = true
	// run ends with p.ctx; Close waits for it, and so does the client's.
	go p.run()
	return nil
}

// receiptSlab is how many receipts are made at once.
const receiptSlab = 64

// addLocked queues an event that has room. Two of one id are not under way at once, because answers
// name events by their ids.
func (p *Publisher) addLocked(id, schemaID string, payload []byte, bytes int) (*Receipt, error) {
	q := &p.queue
	if id != "" {
		if q.given[id] {
			q.room.Give(1, bytes)
			return nil, fmt.Errorf("%w: Publish: an event with the ID %q is under way: ids tell events apart", ErrInvalidOption, id)
		}
		if q.given == nil {
			q.given = make(map[string]bool)
		}
		q.given[id] = true
	}
	if len(q.slab) == 0 {
		q.slab = make([]Receipt, receiptSlab)
	}
	r := &q.slab[0]
	q.slab = q.slab[1:]
	if id == "" {
		if len(q.ids) == 0 {
			q.ids = outbox.IDs(receiptSlab)
		}
		id, q.ids = q.ids[0], q.ids[1:]
	}
	r.room = bytes
	r.event = queuedEvent{Of: p, ID: id, Schema: schemaID, Payload: append(make([]byte, 0, len(payload)), payload...)}
	q.line = append(q.line, r)
	p.tally.added++
	first := q.box.Len() == 0
	if first {
		q.due = time.Now().Add(p.opts.linger)
	}
	q.box.Add(&r.event)
	if first || q.box.Full() {
		p.notify()
	}
	return r, nil
}

// Flush sends what waits, and returns when the receipts of all events that were taken before are
// resolved. The error is that of ctx, or it tells how many events since the last Flush were not
// published, and why the first of them was not.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	if p.tally.finished == p.tally.added {
		defer p.mu.Unlock()
		return p.reportLocked()
	}
	f := publisherFlush{after: p.tally.added, done: make(chan struct{})}
	p.queue.flushes = append(p.queue.flushes, f)
	p.queue.hurry++
	p.mu.Unlock()
	p.notify()
	var err error
	select {
	case <-f.done:
	case <-ctx.Done():
		err = fmt.Errorf("sfstream: %s: not all events are published: %w", p.channel, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.hurry--
	if err != nil {
		p.queue.flushes = slices.DeleteFunc(p.queue.flushes, func(other publisherFlush) bool { return other.done == f.done })
		return err
	}
	return p.reportLocked()
}

// reportLocked returns the failures since the last report.
func (p *Publisher) reportLocked() error {
	n, first := p.tally.failed, p.tally.first
	p.tally.failed, p.tally.first = 0, nil
	if n == 0 {
		return nil
	}
	return fmt.Errorf("sfstream: %s: %d events not published, the first: %w", p.channel, n, first)
}

// A publisherClosed is the error of Publish after Close.
type publisherClosed struct{ channel string }

func (e *publisherClosed) Error() string {
	return "sfstream: the publisher of " + e.channel + " is closed"
}

func (e *publisherClosed) Unwrap() error { return ErrClosed }

// Close takes no more events, does what Flush does, and ends the publisher. When ctx ends before,
// the receipts of what is left are resolved: what has not left is [NotSent], what is not answered
// is [InDoubt]. When Close returns nothing of the publisher is running. It may be called more than
// once.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := &publisherClosed{p.channel}
	if p.tally.closed == nil {
		p.tally.closed = closed
	}
	begun := p.tally.begun
	p.mu.Unlock()
	err := p.Flush(ctx)
	if err != nil && ctx.Err() != nil {
		p.cancel(fmt.Errorf("sfstream: the publisher of %s was closed before its events were published: %w", p.channel, context.Cause(ctx)))
	}
	p.cancel(closed)
	if begun {
		<-p.done
	}
	return err
}
