package sfstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sfstream/sfstream-go/authenticator"
)

// A Client follows channels of one Salesforce org and hands their events to a loop. All its methods
// may be called from any goroutine, and from inside the loop. Use [New] to make one, [Client.Open]
// to log in, and [Client.Close] to end it.
type Client struct {
	*services
	roster *roster

	turn    chan struct{} // capacity 1: held by the consumer whose turn it is
	crowded sync.Once     // guards the warning that a consumer waits for its turn

	closeOnce sync.Once
	closeErr  error
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
	services, pubsub, cometd := newServices(&cfg, auth)
	return &Client{
		services: services, roster: newRoster(services, pubsub, cometd),
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

// Pending returns how many messages are received and not yet handed out.
func (c *Client) Pending() int { return c.inbox.Pending() }

// Status returns a snapshot of the client and its channels.
func (c *Client) Status() Status {
	status := Status{Volatile: c.cfg.volatile}
	for _, ch := range c.roster.snapshot() {
		report := ch.status.snapshot()
		report.Channel = ch.sub.Name
		report.fill(ch.sub.Status(), c.clock.Now())
		status.Channels = append(status.Channels, report)
	}
	slices.SortFunc(status.Channels, func(a, b ChannelStatus) int { return strings.Compare(a.Channel, b.Channel) })
	return status
}
