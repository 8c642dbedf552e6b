package sfstream

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// A Handler handles a message. [Client.Run] says what its return means, and when its ctx ends.
type Handler func(context.Context, *Message) error

// A Mux says which handlers get the messages of which channels, and what is to be done before:
//
//	mux := sfstream.NewMux()
//	mux.Use(sfstream.LogHandled(log), sfstream.Recover())
//	mux.Handle("/topic/Accounts", accounts)
//	sfstream.On(mux, "/event/Order__e", func(ctx context.Context, order Order, msg *sfstream.Message) error {
//		…
//	})
//	err := client.Serve(ctx, mux)
//
// Its methods may be called from any goroutine, and return no errors: [Client.Serve] tells all
// mistakes before it does anything. It takes the mux as it is then: what is called later is for the
// next Serve. Several clients may serve one mux.
type Mux struct {
	mu         sync.Mutex
	channels   []*muxChannel
	fallback   Handler // nil: there is none
	middleware []func(Handler) Handler
	starts     []func(context.Context, *Client) error
	mistakes   []error
	shared     map[string]any // of OnStartOnce: what is said of what
}

// muxChannel is a channel of a Mux with its handlers.
type muxChannel struct {
	channel  string // with its filter
	handlers []Handler
	opts     []SubscribeOption
	cfg      subscribeConfig // what opts say
}

// NewMux makes a Mux without handlers.
func NewMux() *Mux { return new(Mux) }

// Handle adds a handler of a channel's messages: of /event/Name__e, /data/NameChangeEvent,
// /topic/Name (with a filter or without) or /u/Name. The options are those of [Client.Subscribe].
//
// A channel may have several handlers. Each message goes to all of them, one after the other in the
// order of Handle, and what one returns does not keep it from the others. It is handled when all
// have returned nil; Ack in one of them settles it for all. Where some have failed [Retry] calls
// these alone again, and not those that return a *backoff.PermanentError. A message that comes
// again in another Serve goes to all.
//
// The options of a channel are those of all its Handle calls. They must not contradict each other,
// nor must the filters, because a client follows a channel once.
func (x *Mux) Handle(channel string, h Handler, opts ...SubscribeOption) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if h == nil {
		x.mistakeLocked("Handle %s: no handler", channel)
		return
	}
	i := slices.IndexFunc(x.channels, func(r *muxChannel) bool { return bareName(r.channel) == bareName(channel) })
	if i < 0 {
		i = len(x.channels)
		x.channels = append(x.channels, &muxChannel{channel: channel})
	}
	r := x.channels[i]
	if r.channel != channel {
		x.mistakeLocked("Handle %s: there are handlers of %s, and a client follows a channel once: handle the same filter", channel, r.channel)
		return
	}
	r.handlers = append(r.handlers, h)
	for _, opt := range opts {
		x.addLocked(r, opt)
	}
}

// addLocked adds an option to a channel.
func (x *Mux) addLocked(r *muxChannel, opt SubscribeOption) {
	if opt == nil {
		x.mistakeLocked("Handle %s: an option is nil", r.channel)
		return
	}
	var cfg subscribeConfig
	if err := opt(&cfg); err != nil {
		x.mistakes = append(x.mistakes, fmt.Errorf("%w (Handle %s)", err, r.channel))
		return
	}
	switch {
	case cfg.fromSet && r.cfg.fromSet && cfg.from != r.cfg.from:
		x.mistakeLocked("Handle %s: From: another handler of the channel begins elsewhere (%v and %v)", r.channel, r.cfg.from, cfg.from)
	case cfg.via != Auto && r.cfg.via != Auto && cfg.via != r.cfg.via:
		x.mistakeLocked("Handle %s: Via: another handler of the channel has another API (%v and %v)", r.channel, r.cfg.via, cfg.via)
	default:
		r.opts = append(r.opts, opt)
		_ = opt(&r.cfg)
	}
}

// HandleDefault sets the handler of messages that come on a channel that the mux has no handler of:
// the program has subscribed it itself, or an earlier Serve has. So do those of a managed
// subscription whose topic the user may not read; see [Client.SubscribeManaged]. Without one such a
// message is an error, which [OnError] takes as a handler's that no retry cures.
func (x *Mux) HandleDefault(h Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case h == nil:
		x.mistakeLocked("HandleDefault: no handler")
	case x.fallback != nil:
		x.mistakeLocked("HandleDefault: there is one already")
	default:
		x.fallback = h
	}
}

// Use adds middleware: each handler of the mux, whether it is added before or after, is called
// through all of it, the first one outermost. A handler of several is wrapped by itself.
// [Recover], [LogHandled], [HandlerTimeout] and [DeadLetter] make some.
func (x *Mux) Use(middleware ...func(Handler) Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range middleware {
		if m == nil {
			x.mistakeLocked("Use: a middleware is nil, as LogHandled and DeadLetter are of nil, and HandlerTimeout of no time")
			continue
		}
		x.middleware = append(x.middleware, m)
	}
}

// OnStart adds a function that each [Client.Serve] calls when the client is open and before it
// subscribes anything, in the order of OnStart: to declare a PushTopic, or to subscribe what the
// mux cannot, such as a managed subscription. The first error ends Serve.
func (x *Mux) OnStart(f func(context.Context, *Client) error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f == nil {
		x.mistakeLocked("OnStart: nil")
		return
	}
	x.starts = append(x.starts, f)
}

// OnStartOnce is OnStart for what several handlers share, such as the PushTopic that they are of:
// the function is called once for all that say the same of it, as reflect.DeepEqual compares. To say
// something else of it is a mistake.
func (x *Mux) OnStartOnce(what string, said any, f func(context.Context, *Client) error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, again := x.shared[what]
	switch {
	case f == nil:
		x.mistakeLocked("OnStartOnce: nil")
	case again && !reflect.DeepEqual(before, said):
		x.mistakeLocked("%s: two handlers of the mux declare it, and not alike: let them say the same, or give one of them another name", what)
	case !again:
		if x.shared == nil {
			x.shared = make(map[string]any)
		}
		x.shared[what] = said
		x.starts = append(x.starts, f)
	}
}

// On adds a handler of a channel's messages that gets each decoded as a T: see [Message.Decode].
//
// A message that cannot be decoded is an error, the *[DecodeError], which [Retry] does not repeat.
// By default it ends [Client.Serve], and comes again in the next one: a service that is to outlive
// a bad event has OnError(Skip(…)) or OnError(Retry(…), Skip(…)), or a [DeadLetter].
//
// On a channel with events of several types, as /data/ChangeEvents, a T fits one of them:
// [Mux.Handle] with a switch over [Message.EventName] takes them apart.
func On[T any](x *Mux, channel string, h func(context.Context, T, *Message) error, opts ...SubscribeOption) {
	if h == nil {
		x.Handle(channel, nil, opts...)
		return
	}
	x.Handle(channel, func(ctx context.Context, m *Message) error {
		v, err := Decode[T](m)
		if err != nil {
			return backoff.Permanent(err)
		}
		return h(ctx, v, m)
	}, opts...)
}

// Mistake adds an error that [Client.Serve] tells as [ErrInvalidOption], with the others of the mux
// and before it does anything. It is for functions that add handlers of their own kind, such as
// those of PushTopics in package channels, and like Handle return no error.
func (x *Mux) Mistake(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.mistakeLocked("Mistake: nil")
		return
	}
	if !errors.Is(err, ErrInvalidOption) {
		err = fmt.Errorf("%w: %w", ErrInvalidOption, err)
	}
	x.mistakes = append(x.mistakes, err)
}

func (x *Mux) mistakeLocked(format string, args ...any) {
	x.mistakes = append(x.mistakes, fmt.Errorf("%w: "+format, append([]any{ErrInvalidOption}, args...)...))
}

// Serve runs a mux: it opens the client if it is not open, calls the functions of [Mux.OnStart],
// waits its turn, subscribes the mux's channels, and is [Client.Run] with the mux's handlers, its
// options, order, error policies and end. A channel that the client follows already is kept as it
// is, whoever has subscribed it, a managed subscription of that topic too; only another filter than
// the mux's is an error. Serve closes nothing: the next one goes on where it ended. Several at once,
// as [AckManual] allows, share all messages of the client: each is to handle the channels of all.
//
// Mistakes in the mux or the options are told all at once, as [ErrInvalidOption], before anything
// is done. Else the error is that of [Client.Open], of a function of OnStart, of [Client.Subscribe]
// or of Run. Where Serve fails or ctx ends before it runs, it unsubscribes what it has subscribed;
// what OnStart did is the program's own. Open tries once and Subscribe for 30 seconds: a service that
// starts while Salesforce is away has that error, and calls Serve again, or is started again.
func (c *Client) Serve(ctx context.Context, mux *Mux, opts ...RunOption) error {
	cfg, err := newRunConfig(opts)
	s, mistakes := mux.serving()
	if err := oneline.Join(append([]error{err}, mistakes...)...); err != nil {
		return err
	}
	if err := c.Open(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if err := s.start(ctx, c); err != nil {
		return c.notStarted(ctx, err)
	}
	// Subscribed before its turn, the channels would bring messages to whoever has it.
	var failed error
	err = c.consume(ctx, func() bool {
		if !isClosed(c.life.ended) { // else what waits is still to be handled, and nothing to be subscribed
			failed = c.followAll(ctx, s.channels)
		}
		return failed == nil
	}, s.handle, cfg)
	if failed != nil {
		return c.notStarted(ctx, failed)
	}
	return err
}

// notStarted returns what Serve returns for an error of its start: as Run, no error where the client
// was closed.
func (c *Client) notStarted(ctx context.Context, err error) error {
	if errors.Is(err, ErrClosed) && isClosed(c.life.closed) {
		return c.Err()
	}
	return interrupted(ctx, err)
}

// interrupted returns nil in place of an error that says no more than that ctx has ended.
func interrupted(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && (errors.Is(err, end) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

// start calls the functions of OnStart.
func (s *serving) start(ctx context.Context, c *Client) error {
	for i, f := range s.starts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f(ctx, c); err != nil {
			return fmt.Errorf("sfstream: OnStart (function %d of %d): %w", i+1, len(s.starts), err)
		}
	}
	return nil
}

// followAll subscribes the channels of a mux that the client does not follow. Where it fails it
// leaves none of them.
func (c *Client) followAll(ctx context.Context, channels []muxChannel) (err error) {
	if c.cfg.ack == AckManual {
		// One Serve at a time: what this one unsubscribes no other has taken for subscribed.
		select {
		case c.turn <- struct{}{}:
			defer func() { <-c.turn }()
		case <-ctx.Done():
			return ctx.Err()
		case <-c.life.closed:
			return ErrClosed
		}
	}
	var own []*channel
	defer func() {
		if err == nil {
			return
		}
		for _, ch := range slices.Backward(own) {
			if c.roster.find(ch.sub.Name) != ch {
				continue // unsubscribed since; one that is there now is somebody else's
			}
			if left := c.Unsubscribe(context.WithoutCancel(ctx), ch.sub.Name); left != nil && c.life.usable() == nil {
				c.log.Warn("Serve has not unsubscribed what it had subscribed", "channel", ch.sub.Name, "error", left)
			}
		}
	}()
	for _, r := range channels {
		subscribed, err := c.follow(ctx, r)
		if err != nil {
			return err
		}
		if ch := c.roster.find(r.channel); subscribed && ch != nil {
			own = append(own, ch)
		}
	}
	return ctx.Err()
}

// follow subscribes a channel of a mux. It reports false where the client follows it already. What
// somebody else is subscribing, or unsubscribing, it waits for.
func (c *Client) follow(ctx context.Context, r muxChannel) (subscribed bool, err error) {
	for _, ch := range c.roster.snapshot() {
		if m := ch.managed.Load(); m != nil && m.topic == r.channel && ch.follows() {
			return false, nil
		}
	}
	for {
		err := c.Subscribe(ctx, r.channel, r.opts...)
		if !errors.Is(err, ErrAlreadySubscribed) {
			return err == nil, err
		}
		ch := c.roster.find(r.channel)
		switch {
		case ch == nil: // it has ended since
			continue
		case ch.sub.Name != r.channel:
			return false, fmt.Errorf("%w: %s, where the mux has %s: Unsubscribe it before Serve", ErrAlreadySubscribed, ch.sub.Name, r.channel)
		case ch.follows():
			return false, nil
		}
		accepted := ch.sub.Accepted()
		if isClosed(accepted) {
			accepted = nil // it is being unsubscribed
		}
		select {
		case <-accepted:
		case <-ch.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// follows reports whether a channel is subscribed.
func (ch *channel) follows() bool { return ch.isAccepted() && !isClosed(ch.sub.Removed()) }

// serving is what a Serve has of its mux: what is called on the mux later does not change it.
type serving struct {
	channels []muxChannel         // in the order of Handle
	handlers map[string][]Handler // by bare channel, with their middleware
	fallback []Handler            // one
	starts   []func(context.Context, *Client) error
}

// serving returns what a mux has now, or all that is wrong with it. Middleware is called without the
// lock: it is the program's own.
func (x *Mux) serving() (*serving, []error) {
	if x == nil {
		return nil, []error{fmt.Errorf("%w: Serve: no mux", ErrInvalidOption)}
	}
	s := &serving{handlers: make(map[string][]Handler)}
	x.mu.Lock()
	mistakes, middleware, fallback := slices.Clone(x.mistakes), slices.Clone(x.middleware), x.fallback
	s.starts = slices.Clone(x.starts)
	for _, ch := range x.channels {
		s.channels = append(s.channels, *ch) // its slices only grow
	}
	x.mu.Unlock()

	wrap := func(h Handler) Handler {
		for _, m := range slices.Backward(middleware) {
			if h = m(h); h == nil {
				mistakes = append(mistakes, fmt.Errorf("%w: Use: a middleware returns no handler", ErrInvalidOption))
				return nil
			}
		}
		return h
	}
	for _, ch := range s.channels {
		if _, err := new(config).apiOf(ch.channel, ch.cfg.via); err != nil {
			mistakes = append(mistakes, err)
		}
		for _, h := range ch.handlers {
			s.handlers[bareName(ch.channel)] = append(s.handlers[bareName(ch.channel)], wrap(h))
		}
	}
	s.fallback = []Handler{unhandled}
	if fallback != nil {
		s.fallback[0] = wrap(fallback)
	}
	if len(s.channels) == 0 && fallback == nil && len(mistakes) == 0 {
		mistakes = append(mistakes, fmt.Errorf("%w: Serve: the mux has no handlers", ErrInvalidOption))
	}
	return s, mistakes
}

// unhandled is the default handler of a mux that has none.
func unhandled(_ context.Context, m *Message) error {
	return backoff.Permanent(fmt.Errorf("%w: Serve: the mux has no handler of %s, whose messages come: Handle it, or HandleDefault", ErrInvalidOption, m.Channel))
}

// handle calls the handlers of a message: an attempt of Run.
func (s *serving) handle(ctx context.Context, j *job) (permanent bool, err error) {
	handlers, ok := s.handlers[bareName(j.msg.Channel)]
	if !ok {
		handlers = s.fallback
	}
	if len(handlers) > 1 {
		return j.handleAll(ctx, handlers)
	}
	err = handlers[0](ctx, j.msg)
	return isPermanent(err), err
}

// handleAll calls those of several handlers of a message that have not succeeded yet, and that a
// retry may cure. The end of ctx interrupts the message between two of them, unless it is settled:
// then it does not come again, and those that are left get it now, as a single handler would.
func (j *job) handleAll(ctx context.Context, handlers []Handler) (permanent bool, err error) {
	again := j.failures != nil
	for i, h := range handlers {
		if again && (j.failures[i] == nil || isPermanent(j.failures[i])) {
			continue
		}
		if ctx.Err() != nil && !j.msg.slot.IsHandled() {
			return false, context.Cause(ctx)
		}
		err := h(ctx, j.msg)
		if err != nil && j.failures == nil {
			j.failures = make([]error, len(handlers))
		}
		if j.failures != nil {
			j.failures[i] = err
		}
	}
	permanent = true
	for _, err := range j.failures {
		permanent = permanent && (err == nil || isPermanent(err))
	}
	return permanent, oneline.Join(j.failures...)
}
