package sfstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// A lifetime says whether a client is new, open or closed, and with which error it has stopped. It
// also counts the goroutines that Close waits for.
type lifetime struct {
	log   *slog.Logger
	fence replaystore.Fenced // the client's store; nil: it cannot be lost

	ctx     context.Context // parent of everything that the client starts; ended by stop, fail and lose
	cancel  context.CancelFunc
	held    context.Context // ended by lose: another process has the channels, or may have them
	depose  context.CancelFunc
	ended   chan struct{}  // closed by fail: consumers finish what waits in the inbox
	closed  chan struct{}  // closed by Close and lose: consumers end at once
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

func newLifetime(log *slog.Logger, store replaystore.Store) *lifetime {
	l := &lifetime{log: log, ended: make(chan struct{}), closed: make(chan struct{})}
	l.fence, _ = store.(replaystore.Fenced)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.held, l.depose = context.WithCancel(context.Background())
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

// fail ends the client with its terminal error. Consumers still get what waits, unless the error
// says that another process has the channels.
func (l *lifetime) fail(err error) {
	if errors.Is(err, replaystore.ErrConflict) {
		l.lose(err)
		return
	}
	l.end(err, false)
}

// lose is fail where another process has the channels, or may have them: consumers get nothing more,
// the contexts of handlers end, and nothing is saved.
func (l *lifetime) lose(err error) {
	l.end(err, true)
	l.depose()
}

func (l *lifetime) end(err error, atOnce bool) {
	l.mu.Lock()
	first := l.err == nil && l.state != clientClosed
	if first {
		l.err, l.over = err, time.Now()
		close(l.ended)
	}
	if atOnce && !isClosed(l.closed) {
		close(l.closed)
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
	if !isClosed(l.closed) {
		close(l.closed)
	}
	l.mu.Unlock()
	l.cancel()
	return terminal
}

// holds reports whether this process alone may hand out messages. It is asked right before each
// one, because a process that was stopped runs on before a timer of it fires. Where a Fenced store
// says no the client ends.
func (l *lifetime) holds() bool {
	if l.fence == nil {
		return true
	}
	err := storeHeld(l.fence)
	if err != nil {
		l.lose(err)
	}
	return err == nil
}

// watch ends the client when its Fenced store is lost, also while no message is handed out.
func (l *lifetime) watch() {
	if l.fence == nil || l.start() != nil {
		return
	}
	go l.awaitLoss(l.fence.Lost()) // ends with the client; Close waits for it
}

func (l *lifetime) awaitLoss(lost <-chan struct{}) {
	defer l.running.Done()
	select {
	case <-lost:
		if l.holds() {
			l.lose(errLost)
		}
	case <-l.closed:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
