package sfstream

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A lifetime says whether a client is new, open or closed, and with which error it has stopped. It
// also counts the goroutines that Close waits for.
type lifetime struct {
	log *slog.Logger

	ctx     context.Context // parent of everything that the client starts; ended by stop and fail
	cancel  context.CancelFunc
	ended   chan struct{}  // closed by fail: consumers finish what waits in the inbox
	closed  chan struct{}  // closed by Close: consumers end at once
	running sync.WaitGroup // nothing is added once state is clientClosed

	mu    sync.Mutex
	state clientState
	orgID string    // empty until the client is open
	err   error     // the terminal error; nil: there is none
	over  time.Time // when the client failed or was closed; zero: it was not
}

type clientState int

const (
	clientNew clientState = iota
	clientOpen
	clientClosed
)

func newLifetime(log *slog.Logger) *lifetime {
	l := &lifetime{log: log, ended: make(chan struct{}), closed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// open makes a new client an open one. It returns the state before.
func (l *lifetime) open(orgID string) (before clientState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.state
	if before == clientNew {
		l.state, l.orgID = clientOpen, orgID
	}
	return before
}

func (l *lifetime) now() clientState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// usable returns why the client cannot be used: ErrNotOpen, ErrClosed or the terminal error. It
// returns nil if it can be.
func (l *lifetime) usable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.state {
	case clientNew:
		return ErrNotOpen
	case clientClosed:
		return ErrClosed
	}
	return l.err
}

// reason returns why the client has stopped: ErrNotOpen before Open, nil while it runs and where it
// was closed without an error.
func (l *lifetime) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == clientNew {
		return ErrNotOpen
	}
	return l.err
}

// ending returns when the client failed or was closed, and why it follows nothing.
func (l *lifetime) ending() (at time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.over, l.err
	case l.state == clientNew:
		return time.Time{}, ErrNotOpen
	case l.state == clientClosed:
		return l.over, ErrClosed
	}
	return time.Time{}, nil
}

// org returns the org's id.
func (l *lifetime) org() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.orgID
}

// start counts a goroutine for which Close waits. If the error is nil the caller starts it, and it
// calls running.Done at its end. The error is ErrNotOpen or ErrClosed; a client that has failed may
// still have goroutines, which hand out what waits.
func (l *lifetime) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.state {
	case clientNew:
		return ErrNotOpen
	case clientClosed:
		return ErrClosed
	}
	l.running.Add(1)
	return nil
}

// fail ends the client with its terminal error. Consumers still get what waits.
func (l *lifetime) fail(err error) {
	l.mu.Lock()
	first := l.err == nil && l.state != clientClosed
	if first {
		l.err, l.over = err, time.Now()
		close(l.ended)
	}
	l.mu.Unlock()
	if first {
		l.log.Error("client ended", "error", err)
		l.cancel()
	}
}

// stop closes the client for new calls, ends its consumers, links and feeders, and returns the
// terminal error, if there is one. It is called once, by Close.
func (l *lifetime) stop() (terminal error) {
	l.mu.Lock()
	terminal = l.err
	l.state = clientClosed
	if l.over.IsZero() {
		l.over = time.Now()
	}
	l.mu.Unlock()
	close(l.closed)
	l.cancel()
	return terminal
}
