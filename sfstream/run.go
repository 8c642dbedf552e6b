package sfstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A RunOption configures a Run.
type RunOption func(*runConfig) error

type runConfig struct {
	workers int
	key     func(*Message) string
	retry   func() backoff.BackOff // nil: do not
	skip    func(*Message, error)  // nil: stop
	drain   time.Duration
}

// Workers sets how many handlers run at once. The default is 8, on any machine:
// handlers mostly wait for something else. More than WithPrefetch are of no use to
// one channel.
func Workers(n int) RunOption {
	return func(c *runConfig) error {
		if n < 1 {
			return fmt.Errorf("%w: Workers: %d is less than 1", ErrInvalidOption, n)
		}
		c.workers = n
		return nil
	}
}

// OrderBy sets what is handled in order: messages of one key one after the other,
// also where they come from several channels; different keys at once. The key is
// asked for once per message, on the goroutine of Run, and must not block.
//
// By default a change event is ordered by its channel and the records that it is
// about: behind all that was received before about any of them. A change event that
// names no records (a gap's wildcard, an overflow) and any other event is ordered
// against all events of its channel.
func OrderBy(key func(*Message) string) RunOption {
	return func(c *runConfig) error {
		if key == nil {
			return fmt.Errorf("%w: OrderBy: nil", ErrInvalidOption)
		}
		c.key = key
		return nil
	}
}

// DrainTimeout sets how long handlers may go on undisturbed once Run ends: their
// ctx is cancelled d after Run's has ended. The default is 10 seconds; 0 cancels
// at once. Run waits for them in any case.
func DrainTimeout(d time.Duration) RunOption {
	return func(c *runConfig) error {
		if d < 0 {
			return fmt.Errorf("%w: DrainTimeout: %v is negative", ErrInvalidOption, d)
		}
		c.drain = d
		return nil
	}
}

// An ErrorPolicy says what becomes of a message whose handler fails; see OnError.
// The zero value is Stop.
type ErrorPolicy struct {
	retry func() backoff.BackOff
	skip  func(*Message, error)
	err   error
}

// Stop ends Run with the handler's error. The message is not handled: it comes
// first in the next Run, loop or Receive, and again in a restarted program.
var Stop ErrorPolicy

// Retry calls the handler again after the waits of a policy that each failing
// message asks for anew, such as
//
//	sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() })
//
// which by its default gives up after 15 minutes. Messages of the same key wait meanwhile, others go on. The channel's marker
// waits too, so that a restart repeats what was handled behind it; and once
// WithPrefetch messages of a channel wait, the channel does. A policy that says
// backoff.Stop and an error that is a *backoff.PermanentError end the retries:
// then the policy after this one decides.
func Retry(policy func() backoff.BackOff) ErrorPolicy {
	if policy == nil {
		return ErrorPolicy{err: fmt.Errorf("%w: Retry: nil", ErrInvalidOption)}
	}
	return ErrorPolicy{retry: policy}
}

// Skip calls report, which may keep the message elsewhere, and counts the message
// as handled when it returns.
func Skip(report func(*Message, error)) ErrorPolicy {
	if report == nil {
		return ErrorPolicy{err: fmt.Errorf("%w: Skip: nil", ErrInvalidOption)}
	}
	return ErrorPolicy{skip: report}
}

// OnError sets what happens when a handler returns an error: Stop (default),
// Retry, or Skip. Retry may be followed by what happens when it gives up, as in
// OnError(Retry(policy), Skip(deadLetter)); by default that is Stop.
func OnError(policies ...ErrorPolicy) RunOption {
	return func(c *runConfig) error {
		c.retry, c.skip = nil, nil
		for i, p := range policies {
			switch {
			case p.err != nil:
				return p.err
			case p.retry == nil && i < len(policies)-1, p.retry != nil && i > 0:
				return fmt.Errorf("%w: OnError: only Retry has a policy after it, and comes once", ErrInvalidOption)
			case p.retry != nil:
				c.retry = p.retry
			default:
				c.skip = p.skip
			}
		}
		return nil
	}
}

// Run calls handler for each message, several at once: in order of arrival within
// a key (see OrderBy), in parallel across keys. A message is handled when its
// handler has returned nil, whatever WithAck says, but for AckOnReceive, where it
// is when the handler is called; msg.Ack in the handler settles it earlier. Markers
// stay contiguous: a restart resumes after the last message before which all were
// handled, and repeats what was handled behind it. A handler's error does what
// OnError says, by default Stop.
//
// Run ends when ctx does, with Close, with a handler's error under Stop, and when
// the client stops for good and what waited was tried. It then calls no handler any
// more, waits for those that run, and saves markers. What is not handled goes back to
// the head of the queue, in order: the next Run, loop or Receive gets it first.
//
// Handlers get the values of ctx but not its end: their own ctx is cancelled
// DrainTimeout after Run began to end, so that a shutdown does not break what is in
// flight. An error after that counts as an interruption, not as the message's fault.
//
// The error is ErrInvalidOption, the first handler's error, the terminal error of
// the client (see Err), and nil where ctx ended or the client was closed.
//
// A Run is one consumer, as a loop is, and waits its turn; under AckManual there
// may be several, and each keeps an order of its own. A handler may call any method
// of the client. One that panics ends the program, as in any goroutine.
func (c *Client) Run(ctx context.Context, handler func(context.Context, *Message) error, opts ...RunOption) error {
	cfg := runConfig{workers: 8, drain: 10 * time.Second}
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return err
		}
	}
	if handler == nil {
		return fmt.Errorf("%w: Run: no handler", ErrInvalidOption)
	}
	if c.enter(ctx) {
		if err := c.run(ctx, handler, cfg); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.Err()
}

// run is a Run whose turn it is.
func (c *Client) run(ctx context.Context, handler func(context.Context, *Message) error, cfg runConfig) (err error) {
	defer c.leave()
	c.delivery.settleCurrent() // as asking for the next message does
	r := &runner{
		client: c, runConfig: cfg, handler: handler,
		order: order{key: cfg.key, scopes: make(map[string]*scope)},
		todo:  make(chan *job, cfg.workers),
		done:  make(chan *job, cfg.workers),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range cfg.workers {
		r.running.Go(r.work) // ends when end closes todo; end waits for it
	}
	defer func() { // also when OrderBy's function panics
		if last := r.end(); err == nil {
			err = last
		}
	}()
	return r.dispatch(ctx)
}

// runner is a Run. Its dispatcher, the caller's goroutine, owns all that is here;
// a job belongs to a worker from todo to done.
//
// Invariant: a job in held is free, later, at a worker, or waits for one that is.
type runner struct {
	client *Client
	runConfig
	handler func(context.Context, *Message) error
	ctx     context.Context // of handlers
	cancel  context.CancelFunc

	order order
	held  []*job // all that is taken and not settled
	free  []*job // of them, those that can be handed out
	later []*job // of them, those to try again, by time

	busy       int       // jobs at workers; at most as many as there are
	todo, done chan *job // never block: their capacity is the number of workers
	running    sync.WaitGroup
}

// outcome is what a worker says of a job: it is settled, to be tried again, or has
// failed.
type outcome struct {
	retryAt time.Time // zero: do not
	err     error     // of Run
	backOff backoff.BackOff
}

// dispatch hands out what comes until Run is to end.
func (r *runner) dispatch(ctx context.Context) error {
	c := r.client
	retry := time.NewTimer(0)
	defer retry.Stop()
	for ctx.Err() == nil && !isClosed(c.closed) {
		ended := c.ended
		if isClosed(ended) { // read first: what waits then is still handled
			ended = nil
		}
		r.retryDue()
		r.take()
		r.handOut()
		if r.busy == 0 {
			c.delivery.idle()
			if ended == nil {
				return nil
			}
		}
		if len(r.later) > 0 {
			retry.Reset(time.Until(r.later[0].retryAt))
		}
		select {
		case j := <-r.done:
			if err := r.receive(j); err != nil {
				return err
			}
		case <-c.delivery.ready:
		case <-retry.C:
		case <-ended:
		case <-c.closed:
		case <-ctx.Done():
		}
	}
	return nil
}

// take takes all that waits: WithPrefetch bounds it.
func (r *runner) take() {
	for m := r.client.delivery.hold(); m != nil; m = r.client.delivery.hold() {
		j := &job{msg: m, at: len(r.held)}
		r.held = append(r.held, j)
		if r.order.add(j) {
			r.free = append(r.free, j)
		}
	}
}

// handOut gives free jobs to idle workers, the one that waited longest first.
func (r *runner) handOut() {
	for len(r.free) > 0 && r.busy < r.workers {
		j := r.free[0]
		r.free[0] = nil
		r.free = r.free[1:]
		if !r.start(j) {
			r.settled(j)
			continue
		}
		r.busy++
		r.todo <- j
	}
}

// start reports whether a job is still to be handed out. Tried again it is unless
// its channel was unsubscribed, also where its message counts as handled
// (AckOnReceive).
func (r *runner) start(j *job) bool {
	if j.retryAt.IsZero() {
		return r.client.delivery.start(j.msg)
	}
	return !r.client.delivery.isRemoved(j.msg.run.sub)
}

// receive takes a job back from its worker.
func (r *runner) receive(j *job) error {
	r.busy--
	switch {
	case j.err != nil:
		return j.err
	case j.retryAt.IsZero():
		r.settled(j)
	default:
		i := len(r.later)
		for i > 0 && r.later[i-1].retryAt.After(j.retryAt) {
			i--
		}
		r.later = slices.Insert(r.later, i, j)
	}
	return nil
}

// settled forgets a job and frees those that waited for it.
func (r *runner) settled(j *job) {
	r.free = j.remove(r.free)
	end := len(r.held) - 1
	last := r.held[end]
	last.at, r.held[j.at], r.held[end] = j.at, last, nil
	r.held = r.held[:end]
}

// retryDue frees the jobs whose time has come, and those of channels that were
// unsubscribed: others may wait for them.
func (r *runner) retryDue() {
	now := time.Now()
	r.later = slices.DeleteFunc(r.later, func(j *job) bool {
		due := !j.retryAt.After(now) || isClosed(j.msg.run.sub.gone)
		if due {
			r.free = append(r.free, j)
		}
		return due
	})
}

// end waits for the handlers that run and puts back what is not settled. It
// returns the first of the errors that would have ended Run.
func (r *runner) end() (err error) {
	interrupt := time.AfterFunc(r.drain, r.cancel)
	close(r.todo)
	r.running.Wait()
	interrupt.Stop()
	r.cancel()
	for len(r.done) > 0 {
		if j := <-r.done; err == nil {
			err = j.err
		}
	}
	unsettled := make([]*Message, len(r.held))
	for i, j := range r.held {
		unsettled[i] = j.msg
	}
	r.client.delivery.putBack(unsettled) // passes over those that were settled at last
	return err
}

var errGoexit = errors.New("sfstream: a handler ended its goroutine (runtime.Goexit)")

// work is a worker.
func (r *runner) work() {
	var j *job
	defer func() {
		if j != nil { // runtime.Goexit, as by testing's FailNow: Run must not wait for it
			j.err = errGoexit
			r.done <- j
		}
	}()
	for j = range r.todo {
		r.attempt(j)
		r.done <- j
		j = nil
	}
}

// attempt calls the handler and decides what becomes of the message.
func (r *runner) attempt(j *job) {
	j.retryAt = time.Time{}
	err := r.handler(r.ctx, j.msg)
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		j.retryAt = time.Now() // interrupted: no fault of the message, which goes back
		return
	case r.retries(j, err):
		return
	case r.skip == nil:
		j.err = err
		return
	default:
		r.skip(j.msg, err)
	}
	r.client.delivery.ack(j.msg)
}

// retries reports whether a failed job is to be tried again, and when.
func (r *runner) retries(j *job, err error) bool {
	var permanent *backoff.PermanentError
	if r.retry == nil || errors.As(err, &permanent) {
		return false
	}
	if j.backOff == nil {
		j.backOff = r.retry()
		j.backOff.Reset()
	}
	wait := j.backOff.NextBackOff()
	if wait == backoff.Stop {
		return false
	}
	j.retryAt = time.Now().Add(wait)
	r.client.log.Warn("handler failed, trying again", "channel", j.msg.Channel,
		"replay_id", idText(j.msg.ReplayID), "error", err, "retry_in", wait)
	return true
}
