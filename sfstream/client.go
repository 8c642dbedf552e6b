package sfstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"github.com/sfstream/sfstream-go/sfstream/internal/probe"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// A Client follows channels of one Salesforce org and hands their events to a loop. All its methods
// may be called from any goroutine, and from inside the loop. Use [New] to make one, [Client.Open]
// to log in, and [Client.Close] to end it.
type Client struct {
	*services
	roster *roster

	turn    chan struct{} // capacity 1: held by the consumer whose turn it is, with AckManual by the Serve that subscribes
	waiting atomic.Int32  // consumers that wait for a message
	crowded sync.Once     // guards the warning that a consumer waits for its turn

	closeOnce sync.Once
	closeErr  error
}

// services is what a client shares with its links and channels. It is complete before the first of
// them exists and does not change afterwards.
type services struct {
	cfg    *config
	log    *slog.Logger
	clock  *serverclock.Clock
	logins *logins
	inbox  *inbox.Inbox[Message]
	life   *lifetime

	http    *http.Client // of all requests: its replies set the clock
	version *apiVersion
}

// newServices makes the services and the two transports of a client. It does no I/O.
func newServices(cfg *config, auth authenticator.Authenticator) (s *services, bus *pubsub, cometd transport) {
	clock, life := new(serverclock.Clock), newLifetime(cfg.log, cfg.store)
	httpClient := clock.Watch(probe.Client(cfg.httpClient), cfg.loginURL)
	version := &apiVersion{client: httpClient, configured: cfg.apiVersion}
	return &services{
		cfg: cfg, log: cfg.log, clock: clock, life: life, http: httpClient, version: version,
		logins: newLogins(cfg, auth, authenticator.Login{URL: cfg.loginURL, HTTPClient: httpClient}, clock),
		inbox:  newInbox(cfg, life.held, life.fail),
	}, newPubsub(cfg), newCometd(cfg, httpClient, version)
}

// New makes a client that logs in with auth. It does no I/O; call [Client.Open] next. A
// *[authenticator.Cache] is used as it is, so that several clients and REST calls
// can share one login. The error is [ErrInvalidOption].
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
	services, bus, cometd := newServices(&cfg, auth)
	return &Client{
		services: services, roster: newRoster(services, bus, cometd),
		turn: make(chan struct{}, 1),
	}, nil
}

// Open logs in, with one attempt. ctx bounds the login, not the client's life. The error is an
// *[AuthError]; Open may be called again then. Opening an open client does nothing.
func (c *Client) Open(ctx context.Context) error {
	switch c.life.now() {
	case clientOpen:
		return nil
	case clientClosed:
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life.ctx, cancel)() // Close waits for no login
	creds, err := c.logins.token(ctx, tokenRequest{open: true})
	if err != nil && c.life.ctx.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	switch c.life.open(creds.OrgID) {
	case clientClosed:
		return ErrClosed
	case clientOpen:
		return nil // another Open was faster
	}
	c.life.watch()
	if restOnly(creds.AccessToken) {
		c.log.Warn("the Pub/Sub API and the Streaming API will likely refuse this login: " + restOnlyAdvice)
	}
	if c.cfg.volatile {
		c.log.Warn("replay markers are kept in memory only: a restart forgets where it was; see WithReplayStore")
	}
	return nil
}

// Err returns why the client stopped: [ErrNotOpen] before [Client.Open], nil while it runs and
// after a [Client.Close] or the end of a ctx.
func (c *Client) Err() error { return c.life.reason() }

// Logger returns where the client logs, for packages that work with it. See [WithLogger].
func (c *Client) Logger() *slog.Logger { return c.log }

// OrgID returns the id of the org, of 18 characters; empty before [Client.Open].
func (c *Client) OrgID() string { return replaystore.Key{OrgID: c.life.org()}.Canonical().OrgID }

// AckPolicy returns when messages count as handled, for packages that consume them. See [WithAck].
func (c *Client) AckPolicy() AckPolicy { return c.cfg.ack }

// Held returns nil while the client may hand out messages: it asks a store that is a
// [replaystore.Fenced]. Packages that pass messages on later than they take them call it before. Any
// error is why the client has ended or ends now.
func (c *Client) Held() error {
	if c.life.holds() && !isClosed(c.life.held.Done()) {
		return nil
	}
	return c.stopped()
}

// stopped is why there are no more messages.
func (c *Client) stopped() error {
	if err := c.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// Pending returns how many messages are received and not yet handed out.
func (c *Client) Pending() int { return c.inbox.Pending() }

// Status returns a snapshot of the client and its channels.
func (c *Client) Status() Status {
	status := Status{At: time.Now(), Volatile: c.cfg.volatile, Waiting: int(c.waiting.Load())}
	status.EndedAt, status.Err = c.life.ending()
	status.StoreFailingSince, status.StoreError = c.inbox.Trouble()
	status.StoreError = notSaved(status.StoreError)
	silence := 2 * max(c.cfg.keepaliveTimeout, longestSilence)
	for _, ch := range c.roster.overview() {
		report := ch.status.snapshot()
		report.Channel, report.Retention = ch.sub.Name, retention(ch.sub.Name)
		if m := ch.managed.Load(); m != nil {
			report.Managed = m.snapshot()
		}
		report.fill(ch.sub.Status(), c.clock.Now())
		if ch.link != nil {
			report.LastHeard, report.Overdue = ch.link.pulse.read(status.At, silence)
		}
		status.Channels = append(status.Channels, report)
	}
	slices.SortFunc(status.Channels, func(a, b ChannelStatus) int { return strings.Compare(a.Channel, b.Channel) })
	return status
}

const (
	closeTimeout = 5 * time.Second // of Close in all
	lastCommits  = 2 * time.Second // of them, for the last commits of managed subscriptions
)

// Close ends all subscriptions and loops, saves markers, and returns when nothing that the client
// started is running: within 5 seconds, whatever the network and the store do. It works inside a
// loop body and does not wait for one: the message in it is saved when that loop ends, if the store
// is still open then, else it comes again. Close may be called more than once.
//
// The error is the terminal error of the client, if there was one, joined with what Close could not
// do.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Client) close() error {
	deadline := time.Now().Add(closeTimeout)
	// 0. The last commits, while their streams are open.
	c.inbox.FlushKept(context.Background(), lastCommits)

	// 1. Nothing new starts. Consumers, links and feeders end.
	terminal := c.life.stop()
	stopped := make(chan struct{})
	go func() { c.life.running.Wait(); close(stopped) }() // ends with what it waits for
	var errs []error
	timer := time.NewTimer(time.Until(deadline) - time.Second)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		errs = append(errs, errors.New("sfstream: close: a hook, a login or a store does not return"))
	}

	// 2. The last save, then the connections.
	var channels []*inbox.Channel[Message]
	for _, ch := range c.roster.snapshot() {
		if ch.isAccepted() {
			channels = append(channels, ch.sub)
		}
	}
	if err := c.inbox.Close(time.Until(deadline), channels...); err != nil {
		errs = append(errs, notSaved(err))
	}
	c.roster.pubsub.close()
	c.roster.cometd.close()
	if len(errs) == 0 {
		return terminal
	}
	return oneline.Join(append([]error{terminal}, errs...)...)
}
