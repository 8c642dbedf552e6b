package sfstream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// A Client follows channels of one Salesforce org and hands their events to a
// loop. All its methods may be called from any goroutine, and from inside the
// loop. Use New to make one, Open to log in, and Close to end it.
type Client struct {
	cfg    config
	log    *slog.Logger
	clock  serverclock.Clock
	logins logins
	pubsub transport
	cometd transport
	inbox  *inbox.Inbox[Message]

	life   context.Context // of everything the client starts; Close and fail cancel it
	cancel context.CancelFunc
	ended  chan struct{} // closed when a terminal error is set: consumers finish what waits
	closed chan struct{} // closed by Close: consumers end at once
	turn   chan struct{} // capacity 1: held by the consumer whose turn it is

	crowded sync.Once // the warning of a consumer that waits for its turn

	running   sync.WaitGroup // links and feeders; nothing is added once state is closed
	closeOnce sync.Once
	closeErr  error

	mu        sync.Mutex
	state     clientState
	orgID     string           // since Open
	feeds     map[string]*feed // by channel
	streaming *link            // of all channels of the Streaming API; nil: there are none
	err       error            // terminal
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
		feeds:  make(map[string]*feed),
	}
	httpClient := c.clock.Watch(probing(cfg.httpClient), cfg.loginURL)
	c.logins.cache, c.logins.cfg, c.logins.clock = authenticator.NewCache(auth), &c.cfg, &c.clock
	c.logins.fixed = isStatic(auth)
	c.logins.login = authenticator.Login{URL: cfg.loginURL, HTTPClient: httpClient}
	c.pubsub = newPubsub(&c.cfg)
	c.cometd = newCometd(&c.cfg, httpClient)
	c.life, c.cancel = context.WithCancel(context.Background())
	c.inbox = newInbox(&c.cfg, c.fail)
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)() // Close waits for no login
	creds, err := c.logins.token(ctx, tokenRequest{open: true})
	if err != nil && c.life.Err() != nil {
		return ErrClosed
	}
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
	case state == clientOpen:
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

func (c *Client) snapshot() []*feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.feeds))
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
func (c *Client) Pending() int { return c.inbox.Pending() }
