package sfstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
)

const (
	subscribeTimeout = 30 * time.Second // how long Subscribe retries what may pass
	loginTimeout     = 30 * time.Second // of one login while reconnecting
	closeTimeout     = 5 * time.Second  // of Close in all

	// At most loginBudget tokens may be refused within loginPeriod before the
	// client ends: logging in over and over locks accounts.
	loginBudget = 5
	loginPeriod = 10 * time.Minute
)

// A Client follows channels of one Salesforce org and hands their events to a
// loop. All its methods may be called from any goroutine, and from inside the
// loop. Use New to make one, Open to log in, and Close to end it.
type Client struct {
	cfg       config
	log       *slog.Logger
	clock     serverClock
	login     authenticator.Login
	cache     *authenticator.Cache
	transport transport
	delivery  *delivery
	plans     plans

	life   context.Context // of everything the client starts; Close and fail cancel it
	cancel context.CancelFunc
	ended  chan struct{} // closed when a terminal error is set: consumers finish what waits
	closed chan struct{} // closed by Close: consumers end at once
	turn   chan struct{} // capacity 1: held by the consumer whose turn it is

	crowded sync.Once // the warning of a consumer that waits for its turn

	running   sync.WaitGroup // links and feeders; nothing is added once state is closed
	closeOnce sync.Once
	closeErr  error

	mu       sync.Mutex
	state    clientState
	orgID    string           // since Open
	links    map[string]*link // by channel
	err      error            // terminal
	refusals []refusal        // within loginPeriod
}

type clientState int

const (
	clientNew clientState = iota
	clientOpen
	clientClosed
)

// New makes a client that logs in with auth. It does no I/O; call Open next. A
// *authenticator.Cache is used as it is, so that several clients and REST calls
// can share one login. The error is ErrInvalidOption.
func New(auth authenticator.Authenticator, opts ...Option) (*Client, error) {
	if auth == nil {
		return nil, fmt.Errorf("%w: New: no authenticator", ErrInvalidOption)
	}
	cfg := defaultConfig()
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return nil, err
		}
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg:    cfg,
		log:    cfg.log,
		ended:  make(chan struct{}),
		closed: make(chan struct{}),
		turn:   make(chan struct{}, 1),
		links:  make(map[string]*link),
	}
	c.login = authenticator.Login{URL: cfg.loginURL, HTTPClient: c.clock.watch(cfg.httpClient)}
	c.cache = authenticator.NewCache(auth)
	c.plans = plans{new(sync.Map)}
	c.transport = newPubsub(&c.cfg)
	c.life, c.cancel = context.WithCancel(context.Background())
	c.delivery = &delivery{prefetch: cfg.prefetch, ackWith: cfg.ack, ready: make(chan struct{}, 1)}
	c.delivery.saver = newSaver(c.delivery, cfg.store, cfg.log, c.fail)
	return c, nil
}

// Open logs in, with one attempt. ctx bounds the login, not the client's life.
// The error is an *AuthError; Open may be called again then. Opening an open
// client does nothing.
func (c *Client) Open(ctx context.Context) error {
	c.mu.Lock()
	state := c.state
	c.mu.Unlock()
	switch state {
	case clientOpen:
		return nil
	case clientClosed:
		return ErrClosed
	}
	creds, err := c.credentials(ctx, "")
	if err != nil {
		return err
	}
	c.mu.Lock()
	state = c.state
	if state == clientNew {
		c.state, c.orgID = clientOpen, creds.OrgID
	}
	c.mu.Unlock()
	switch {
	case state == clientClosed:
		return ErrClosed
	case state == clientNew && c.cfg.volatile:
		c.log.Warn("replay markers are kept in memory only: a restart forgets where it was; see WithReplayStore")
	}
	return nil
}

// credentials returns a token that has not been refused yet, after a login if
// need be. All links share one login.
func (c *Client) credentials(ctx context.Context, channel string) (*authenticator.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	creds, err := c.cache.Get(ctx, c.login)
	switch {
	case err != nil:
	case creds.OrgID == "" || creds.InstanceURL == "" || creds.AccessToken == "":
		err = fmt.Errorf("%w: the authenticator's credentials lack an access token, instance URL or org id", ErrInvalidOption)
	default:
		return creds, nil
	}
	return nil, &AuthError{LoginURL: c.login.URL, Channel: channel, err: err}
}

// refusal is a login whose token Salesforce refused.
type refusal struct {
	token  [sha256.Size]byte // its hash: what is printed of a client must hold no secret
	issued time.Time         // tells two logins that gave the same token apart; zero where the flow does not tell
	at     time.Time
}

func refusalOf(creds *authenticator.Credentials) refusal {
	return refusal{sha256.Sum256([]byte(creds.AccessToken)), creds.IssuedAt, time.Now()}
}

func (r refusal) same(other refusal) bool {
	return r.token == other.token && r.issued.Equal(other.issued)
}

// invalidate drops credentials that Salesforce refused. It reports whether the
// budget allows another login. Links that fail with one login count once; again
// says that the caller has logged in since and got no other token.
func (c *Client) invalidate(creds *authenticator.Credentials, again bool) bool {
	refused := refusalOf(creds)
	c.mu.Lock()
	c.refusals = slices.DeleteFunc(c.refusals, func(r refusal) bool { return refused.at.Sub(r.at) >= loginPeriod })
	if again || !slices.ContainsFunc(c.refusals, refused.same) {
		c.refusals = append(c.refusals, refused)
	}
	within := len(c.refusals) <= loginBudget
	c.mu.Unlock()
	c.cache.Invalidate(creds)
	return within
}

// Subscribe follows a channel, and returns when Salesforce has accepted that:
// on the Pub/Sub API, when the channel is known, the user may subscribe to it,
// and the first request is sent. What can pass is retried until ctx ends, at
// most 30 seconds. An error leaves no subscription and ends nothing: it is a
// *ServerError, *AuthError, *StoreError, ErrAlreadySubscribed, ErrNotOpen,
// ErrClosed or ErrInvalidOption.
//
// It starts at From; else at the stored marker; else at WithReplay. One loss is
// Salesforce's own: with ReplayNew the Pub/Sub API may miss what is published
// in the first seconds. From(ReplaySince(time.Now())) closes that.
func (c *Client) Subscribe(ctx context.Context, channel string, opts ...SubscribeOption) error {
	var cfg subscribeConfig
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return err
		}
	}
	if err := checkChannel(channel); err != nil {
		return err
	}
	if err := c.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)() // Close does not wait for a login or a store
	l, err := c.newLink(channel)
	if err != nil {
		return err
	}
	if err := l.start(ctx, cfg); err != nil {
		l.cancel()
		l.end(nil)
		if ended := c.usable(); ended != nil {
			return ended
		}
		return err
	}
	return l.awaitAccepted(ctx)
}

// usable returns why the client cannot be used, if so.
func (c *Client) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == clientNew:
		return ErrNotOpen
	case c.state == clientClosed:
		return ErrClosed
	}
	return c.err
}

// checkChannel refuses names that no channel has.
func checkChannel(channel string) error {
	switch {
	case strings.HasPrefix(channel, "/topic/"), strings.HasPrefix(channel, "/u/"):
		return fmt.Errorf("%w: channel %q is served by the Streaming API, which this version does not speak", ErrInvalidOption, channel)
	case !strings.HasPrefix(channel, "/event/") && !strings.HasPrefix(channel, "/data/"),
		strings.HasSuffix(channel, "/"):
		return fmt.Errorf("%w: channel %q: want /event/Name__e or /data/NameChangeEvent", ErrInvalidOption, channel)
	}
	return nil
}

// newLink reserves a channel and starts nothing yet.
func (c *Client) newLink(channel string) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := replaystore.Key{OrgID: c.orgID, API: apiPubSub, Channel: channel}.Canonical()
	switch {
	case c.state == clientClosed:
		return nil, ErrClosed
	case c.err != nil:
		return nil, c.err
	case c.links[key.Channel] != nil:
		return nil, fmt.Errorf("%w: %s", ErrAlreadySubscribed, channel)
	}
	l := &link{
		client: c, sub: newSubscription(c.delivery, channel, key),
		accepted: make(chan struct{}), done: make(chan struct{}),
		backOff: c.cfg.newBackOff(),
	}
	l.life, l.cancel = context.WithCancel(c.life)
	c.links[key.Channel] = l
	c.running.Add(1)
	return l, nil
}

// linkEnded takes the end of a link in: that of a followed channel ends the
// client, unless a hook says that the channel alone is dropped.
func (c *Client) linkEnded(l *link, err error) {
	if err != nil && l.isAccepted() && !c.delivery.isRemoved(l.sub) {
		hook := c.cfg.hooks.OnSubscriptionError
		if hook != nil && hook(l.sub.channel, err) {
			c.log.Warn("subscription dropped", "channel", l.sub.channel, "error", err)
			c.delivery.remove(l.sub)
		} else {
			c.fail(err)
		}
	}
	c.mu.Lock()
	if !l.isAccepted() || c.delivery.isRemoved(l.sub) {
		delete(c.links, l.sub.key.Channel)
	}
	c.mu.Unlock()
	c.running.Done()
}

// fail ends the client with its terminal error. Consumers still get what waits.
func (c *Client) fail(err error) {
	c.mu.Lock()
	first := c.err == nil && c.state != clientClosed
	if first {
		c.err = err
		close(c.ended)
	}
	c.mu.Unlock()
	if first {
		c.log.Error("client ended", "error", err)
		c.cancel()
	}
}

// Unsubscribe stops following a channel. When it has returned, the channel hands
// out nothing more; what was waiting counts as never received, and the next
// Subscribe resumes after the last message that was handled. The error is
// ErrNotSubscribed, a *StoreError where the marker could not be saved, or ctx's.
func (c *Client) Unsubscribe(ctx context.Context, channel string) error {
	if err := c.usable(); err != nil {
		return err
	}
	name := replaystore.Key{Channel: channel}.Canonical().Channel
	c.mu.Lock()
	l := c.links[name]
	c.mu.Unlock()
	if l == nil || c.delivery.isRemoved(l.sub) {
		return fmt.Errorf("%w: %s", ErrNotSubscribed, channel)
	}
	c.delivery.remove(l.sub)
	l.cancel()
	select {
	case <-l.done:
	case <-ctx.Done():
		return ctx.Err() // the link ends by itself
	}
	l.sub.offers.Wait() // feeders let go as soon as they see the removal
	if !l.isAccepted() {
		return nil // its Subscribe fails, and the marker is as it was
	}
	return c.delivery.saver.flush(lastSaves, l.sub)
}

// Subscriptions returns the followed channels, sorted.
func (c *Client) Subscriptions() []string {
	var channels []string
	for _, l := range c.snapshot() {
		if l.isAccepted() && !c.delivery.isRemoved(l.sub) {
			channels = append(channels, l.sub.channel)
		}
	}
	slices.Sort(channels)
	return channels
}

func (c *Client) snapshot() []*link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.links))
}

// Err returns why the client stopped: ErrNotOpen before Open, nil while it runs
// and after a Close or the end of a ctx.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == clientNew {
		return ErrNotOpen
	}
	return c.err
}

// Pending returns how many messages are received and not yet handed out.
func (c *Client) Pending() int { return c.delivery.pending() }

// Close ends all subscriptions and loops, saves markers, and returns when
// nothing that the client started is running: within 5 seconds, whatever the
// network and the store do. It works inside a loop body and does not wait for
// one: the message in it is saved when that loop ends, if the store is still
// open then, else it comes again. Close may be called more than once.
//
// The error is the terminal error of the client, if there was one, joined with
// what Close could not do.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Client) close() error {
	deadline := time.Now().Add(closeTimeout)
	// 1. Nothing new starts, and consumers end.
	c.mu.Lock()
	terminal := c.err
	c.state = clientClosed
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	close(c.closed)

	// 2. Links and feeders end.
	c.cancel()
	stopped := make(chan struct{})
	go func() { c.running.Wait(); close(stopped) }() // ends with what it waits for
	var errs []error
	timer := time.NewTimer(closeTimeout - time.Second)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		errs = append(errs, errors.New("sfstream: close: a hook, a login or a store does not return"))
	}

	// 3. The last save, then the connection.
	var subs []*subscription
	for _, l := range links {
		if l.isAccepted() {
			subs = append(subs, l.sub)
		}
	}
	if err := c.delivery.saver.close(time.Until(deadline), subs); err != nil {
		errs = append(errs, err)
	}
	if err := c.transport.close(); err != nil {
		errs = append(errs, fmt.Errorf("sfstream: close: %w", err))
	}
	if len(errs) == 0 {
		return terminal
	}
	return errors.Join(append([]error{terminal}, errs...)...)
}
