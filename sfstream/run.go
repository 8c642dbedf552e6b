package sfstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// A RunOption configures a [Client.Run] or a [Client.Serve].
type RunOption func(*runConfig) error

type runConfig struct {
	workers int
	key     func(*Message) string
	retry   func() backoff.BackOff // nil: do not
	skip    func(*Message, error)  // nil: stop
	drain   time.Duration
}

func newRunConfig(opts []RunOption) (runConfig, error) {
	cfg := runConfig{workers: 8, drain: 10 * time.Second}
	var mistakes []error
	for _, opt := range opts {
		mistakes = append(mistakes, opt(&cfg))
	}
	return cfg, oneline.Join(mistakes...)
}

// Workers sets how many handlers run at once. The default is 8, on any machine: handlers mostly
// wait for something else. More than [WithPrefetch] are of no use to one channel.
func Workers(n int) RunOption {
	return func(c *runConfig) error {
		if n < 1 {
			return fmt.Errorf("%w: Workers: %d is less than 1", ErrInvalidOption, n)
		}
		c.workers = n
		return nil
	}
}

// OrderBy sets what is handled in order: messages with the same key are handled one after the
// other, even if they come from several channels; messages with different keys are handled in
// parallel. [Client.Run] calls key once per message, on its own goroutine; key must not block.
//
// By default a change event is ordered by its channel and its records: it is handled after every
// earlier event of its channel that names one of them. A change event that names no records (a
// gap's wildcard, an overflow) and any other event is handled after all earlier events of its
// channel, and before all later ones.
func OrderBy(key func(*Message) string) RunOption {
	return func(c *runConfig) error {
		if key == nil {
			return fmt.Errorf("%w: OrderBy: nil", ErrInvalidOption)
		}
		c.key = key
		return nil
	}
}

// DrainTimeout sets how long running handlers may go on once [Client.Run] begins to end: their ctx
// is cancelled d after that. The default is 10 seconds; 0 cancels at once. Run waits for the
// handlers to return in any case.
func DrainTimeout(d time.Duration) RunOption {
	return func(c *runConfig) error {
		if d < 0 {
			return fmt.Errorf("%w: DrainTimeout: %v is negative", ErrInvalidOption, d)
		}
		c.drain = d
		return nil
	}
}

// An ErrorPolicy says what becomes of a message whose handler fails; see [OnError]. The zero value
// is [Stop].
type ErrorPolicy struct {
	retry func() backoff.BackOff
	skip  func(*Message, error)
	err   error
}

// Stop ends [Client.Run] with the handler's error. The message is not handled: it comes first in
// the next Run, loop or [Client.Receive], and again in a restarted program.
var Stop ErrorPolicy

// Retry calls the handler again, after the waits of a backoff policy. [Client.Run] calls policy
// once for each message that fails, for example
//
//	sfstream.Retry(func() backoff.BackOff { return backoff.NewExponentialBackOff() })
//
// which by default gives up after 15 minutes. Meanwhile messages of the same key wait and others
// are handled. The channel's marker waits too, so a restart repeats what was handled after the
// failing message; and once [WithPrefetch] messages of the channel wait, the client asks Salesforce
// for no more of them. Retries end when the policy returns backoff.Stop or the handler returns a
// *backoff.PermanentError: then the policy that follows this one in [OnError] decides.
func Retry(policy func() backoff.BackOff) ErrorPolicy {
	if policy == nil {
		return ErrorPolicy{err: fmt.Errorf("%w: Retry: nil", ErrInvalidOption)}
	}
	return ErrorPolicy{retry: policy}
}

// Skip calls report, which may keep the message elsewhere, and counts the message as handled when
// it returns.
func Skip(report func(*Message, error)) ErrorPolicy {
	if report == nil {
		return ErrorPolicy{err: fmt.Errorf("%w: Skip: nil", ErrInvalidOption)}
	}
	return ErrorPolicy{skip: report}
}

// OnError sets what happens when a handler returns an error: [Stop] (default), [Retry], or [Skip].
// Retry may be followed by what happens when it gives up, as in OnError(Retry(policy),
// Skip(deadLetter)); by default that is Stop.
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

// Run calls handler for each message, several at once: in order of arrival within a key (see
// [OrderBy]), in parallel across keys. A message counts as handled when its handler has returned
// nil, whatever [WithAck] says; only under [AckOnReceive] it does so when the handler is called.
// msg.Ack in the handler settles it earlier. Markers stay contiguous: a restart resumes before the
// first message that is not handled, and repeats the messages after it that were. [OnError] sets
// what a handler's error does; the default is [Stop].
//
// Run ends when ctx ends, with [Client.Close], with a handler's error under Stop, and when the
// client has stopped for good and all waiting messages were tried. It then calls no further
// handler, waits for those that run, and saves markers. Messages that are not handled go back to
// the head of the queue, in order: the next Run, loop or [Client.Receive] gets them first.
//
// Handlers get the values of ctx but not its end: their own ctx is cancelled [DrainTimeout] after
// Run began to end, so that a shutdown does not interrupt work in flight. An error after that
// counts as an interruption: the message goes back. It is cancelled at once where another process
// has the client's channels (see [WithReplayStore]).
//
// The error is [ErrInvalidOption], the first handler's error, the terminal error of the client (see
// [Client.Err]), and nil where ctx ended or the client was closed.
//
// A Run is one consumer, like a loop, and waits its turn. Under [AckManual] several may run at
// once; each orders only the messages that it takes. A handler may call any method of the client. A
// handler that panics ends the program, as in any goroutine.
func (c *Client) Run(ctx context.Context, handler func(context.Context, *Message) error, opts ...RunOption) error {
	cfg, err := newRunConfig(opts)
	if err != nil {
		return err
	}
	if handler == nil {
		return fmt.Errorf("%w: Run: no handler", ErrInvalidOption)
	}
	return c.consume(ctx, nil, func(ctx context.Context, j *job) (permanent bool, err error) {
		err = handler(ctx, j.msg)
		return isPermanent(err), err
	}, cfg)
}

// An attempt calls the handlers of a job's message. permanent says that no retry cures the error.
type attempt func(ctx context.Context, j *job) (permanent bool, err error)

// consume is Run once it is known how its messages are handled. begin, unless it is nil, is called
// when it is this consumer's turn, and says whether to take it.
func (c *Client) consume(ctx context.Context, begin func() bool, handle attempt, cfg runConfig) error {
	switch {
	case !c.enter(ctx):
	case begin != nil && !begin():
		c.exit()
	default:
		if err := c.run(ctx, handle, cfg); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.Err()
}

// run is consume once this consumer has its turn.
func (c *Client) run(ctx context.Context, handle attempt, cfg runConfig) (err error) {
	defer c.leave()
	c.inbox.SettleCurrent() // as asking for the next message does
	r := &runner{
		client: c, runConfig: cfg, handle: handle,
		order: order{key: cfg.key, scopes: make(map[string]*scope)},
		todo:  make(chan *job, cfg.workers),
		done:  make(chan *job, cfg.workers),
	}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer context.AfterFunc(c.life.held, func() { r.cancel(c.Err()) })()
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

// runner is the state of one Run. The dispatcher, which is the goroutine that called Run, owns all
// of it; a worker owns a job from its receive on todo to its send on done.
//
// Invariant: each job in held is in free, in later, at a worker, or waits for a job that is.
type runner struct {
	client *Client
	runConfig
	handle attempt
	ctx    context.Context // of handlers
	cancel context.CancelCauseFunc

	order order
	held  []*job // every job that was taken from the queue and is not settled
	free  []*job // those of held that can be handed out now
	later []*job // those of held that are to be retried, by time

	busy       int       // jobs at workers: at most one for each worker
	todo, done chan *job // sending never blocks: the capacity is the number of workers
	running    sync.WaitGroup
}

// dispatch hands messages to workers until Run is to end.
func (r *runner) dispatch(ctx context.Context) error {
	c := r.client
	retry := time.NewTimer(0)
	defer retry.Stop()
	for !c.ends(ctx) {
		ended := c.life.ended
		if isClosed(ended) { // read before the queue: what waits when the client ends is still handled
			ended = nil
		}
		r.retryDue()
		r.take()
		r.handOut()
		if r.busy == 0 {
			c.inbox.Idle()
			if ended == nil {
				return nil
			}
		}
		if len(r.later) > 0 {
			retry.Reset(time.Until(r.later[0].retryAt))
		}
		waits := len(r.held) == 0
		if waits {
			c.waiting.Add(1)
		}
		err := r.await(ctx, retry.C, ended)
		if waits {
			c.waiting.Add(-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits until there is something to do.
func (r *runner) await(ctx context.Context, retry <-chan time.Time, ended <-chan struct{}) error {
	c := r.client
	select {
	case j := <-r.done:
		return r.receive(j)
	case <-c.inbox.Ready():
	case <-retry:
	case <-ended:
	case <-c.life.closed:
	case <-ctx.Done():
	}
	return nil
}

// take takes all waiting messages from the queue. WithPrefetch bounds their number.
func (r *runner) take() {
	for m := r.client.inbox.Hold(); m != nil; m = r.client.inbox.Hold() {
		j := &job{msg: m, at: len(r.held)}
		r.held = append(r.held, j)
		if r.order.add(j) {
			r.free = append(r.free, j)
		}
	}
}

// handOut gives free jobs to idle workers, in the order in which they became free.
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

// start reports whether the handler is still to be called for a job. A first attempt marks the
// message as handed out in the queue. A retry needs only that its channel is still subscribed:
// under AckOnReceive its message counts as handled already, and is retried all the same.
func (r *runner) start(j *job) bool {
	if j.retryAt.IsZero() {
		return j.msg.slot.Start()
	}
	return !isClosed(j.msg.slot.Channel().Removed())
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

// retryDue frees the jobs whose time to retry has come. It also frees the jobs of channels that
// were unsubscribed, because jobs of other channels may wait for them.
func (r *runner) retryDue() {
	now := time.Now()
	r.later = slices.DeleteFunc(r.later, func(j *job) bool {
		due := !j.retryAt.After(now) || isClosed(j.msg.slot.Channel().Removed())
		if due {
			r.free = append(r.free, j)
		}
		return due
	})
}

// end waits for the handlers that run and puts the messages that are not settled back into the
// queue. It returns the first of the workers' errors that end Run.
func (r *runner) end() (err error) {
	interrupt := time.AfterFunc(r.drain, func() { r.cancel(errDrained) })
	close(r.todo)
	r.running.Wait()
	interrupt.Stop()
	r.cancel(nil)
	for len(r.done) > 0 {
		if j := <-r.done; err == nil {
			err = j.err
		}
	}
	unsettled := make([]slot, len(r.held))
	for i, j := range r.held {
		unsettled[i] = j.msg.slot
	}
	r.client.inbox.PutBack(unsettled) // it skips those that were handled meanwhile
	return err
}

// errDrained is the cause of the end of the handlers' ctx: by it a handler's error is known for an
// interruption.
var errDrained = errors.New("sfstream: Run ends, and its DrainTimeout is over")

var errGoexit = errors.New("sfstream: a handler ended its goroutine (runtime.Goexit)")

// work is the loop of one worker goroutine.
func (r *runner) work() {
	var j *job
	defer func() {
		if j != nil { // the handler called runtime.Goexit, as testing's FailNow does: Run must not wait for ever
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
	if !r.client.life.holds() {
		j.retryAt = time.Now() // the message goes back into the queue
		return
	}
	permanent, err := r.handle(r.ctx, j)
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		j.retryAt = time.Now() // interrupted by the end of Run: the message goes back into the queue
		return
	case !permanent && r.retries(j, err):
		return
	case r.skip == nil:
		j.err = err
		return
	default:
		r.skip(j.msg, err)
	}
	j.msg.slot.Ack()
}

// isPermanent reports whether an error says that no retry cures it.
func isPermanent(err error) bool {
	if err == nil {
		return false // without an allocation
	}
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}

// retries reports whether a failed job is to be tried again, and when.
func (r *runner) retries(j *job, err error) bool {
	if r.retry == nil {
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
		"replay_id", replayid.Text(j.msg.ReplayID), "error", err, "retry_in", wait)
	return true
}
