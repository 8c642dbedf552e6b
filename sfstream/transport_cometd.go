package sfstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

const (
	// parkAfter is how long a session waits for room before it ends: less than the
	// 40 s after which Salesforce would end it.
	parkAfter = 30 * time.Second

	// disconnectTimeout bounds the goodbye, which frees one of the org's sessions.
	disconnectTimeout = time.Second
)

// cometd is the transport over the Streaming API. All channels share a session.
type cometd struct {
	client  *http.Client
	version string // WithAPIVersion; empty: the newest
	raw     func(channel string, message []byte)
	log     *slog.Logger
	codec   *codec    // of all events
	strange sync.Once // tells of events under another name than the subscribed one

	mu       sync.Mutex
	instance string // whose newest version is known
	newest   string
}

func newCometd(cfg *config, client *http.Client) transport {
	return &cometd{client: client, version: cfg.apiVersion, raw: cfg.hooks.OnRaw, log: cfg.log, codec: &codec{prefs: &cfg.prefs}}
}

func (t *cometd) close() {
	t.client.CloseIdleConnections() // those of the user's transport are shared, and open again
}

func (t *cometd) open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error) {
	instance := strings.TrimSuffix(creds.InstanceURL, "/")
	if !secureURL(instance) {
		return nil, fmt.Errorf("%w: instance URL %q is not an https URL (http is for loopback only)", ErrInvalidOption, instance)
	}
	version, err := t.apiVersion(ctx, instance)
	if err != nil {
		return nil, err
	}
	b := bayeux.NewSession(t.client, instance+"/cometd/"+version, creds.AccessToken)
	b.Raw = t.raw
	if err := b.Handshake(ctx); err != nil {
		return nil, translateCometD("", err)
	}
	s := &cometdSession{
		bayeux: b, life: ctx, channels: make(map[string]*cometdChannel), dropped: make(map[string]int),
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), strange: t.warnStrange, codec: t.codec,
	}
	// Not of ctx: the goodbye comes before the end of the poll.
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() { s.poll(reqs) }) // close waits for it
	return s, nil
}

// cometdSession is one Bayeux session. poll receives on one connection; on
// another, calls adds and drops channels. Events come on both, each in the
// server's order, but not together: the server writes what it has into whichever
// reply goes first, and that may arrive later, or not at all. So while a call is
// under way all events are held, and then queued by replay id.
type cometdSession struct {
	bayeux  *bayeux.Session
	life    context.Context // of the link
	ctx     context.Context // of requests; cancelled by close and by the first error
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	ready   chan struct{} // wakes recv (capacity 1)
	strange func(subscribed, named string)
	codec   *codec        // of all events
	room    chan struct{} // wakes a poll that waits for room (capacity 1)

	mu       sync.Mutex
	channels map[string]*cometdChannel // by bare name
	queue    []batch
	alive    bool  // a connect after the first one was answered
	idle     bool  // the link has taken in all that came
	err      error // why the session ended; recv returns it after the queue
	wanted   []call
	calling  bool           // calls runs
	inFlight int            // requests of calls, and of poll before its first connect
	made     int            // such requests so far
	connects int            // finished so far
	polling  bool           // a connect is under way
	brought  bool           // something came with the present connect, or beside it
	dropped  map[string]int // by bare name, until nothing of it can come: the first connect that began without it
	quietAt  time.Time      // when quiet channels were last told so
	saidAt   time.Time      // when it was last said that channels are followed
}

// cometdChannel is a channel of the session.
type cometdChannel struct {
	sub      *subscription
	accepted bool

	since int // the call that it was accepted in
	held  []Message
	rode  bool // events of it came with the replies of the calls under way
	after int  // its events are held until so many connects have finished
	fresh bool // the call that brought them has subscribed to it
	early bool // some were let go before the connect under way has ended

	caughtUp bool // the server has had nothing more to send since the subscription
	busy     bool // an event of it came with the present connect
}

func (s *cometdSession) recv(changed <-chan struct{}) (batch, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			b := s.queue[0]
			s.queue[0] = batch{}
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return b, nil
		}
		err := s.err
		s.idle = true
		s.mu.Unlock()
		notify(s.room)
		if err != nil {
			return batch{}, err
		}
		select {
		case <-s.ready:
		case <-changed:
			return batch{kind: batchChanged}, nil
		case <-s.life.Done():
			return batch{}, s.life.Err()
		}
	}
}

func (s *cometdSession) pushLocked(b batch) {
	s.queue = append(s.queue, b)
	s.idle = false
	notify(s.ready)
}

// fail ends the session with its first error.
func (s *cometdSession) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *cometdSession) failLocked(err error) {
	if s.err == nil {
		s.err = err
		for _, c := range s.channels {
			if len(c.held) > 0 {
				s.pushLocked(batch{kind: batchUndeliverable, sub: c.sub, latest: inOrder(c.held)[0].ReplayID})
			}
		}
	}
	s.cancel()
	notify(s.ready)
}

// close ends the session at the server, too, unless that knows nothing of it.
func (s *cometdSession) close() {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if !refused(err) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), disconnectTimeout)
		_ = s.bayeux.Disconnect(ctx) // the server would notice in 40 s
		cancel()
	}
	s.cancel()
	s.wg.Wait()
}

// poll subscribes and then keeps one connect with the server. Subscribing comes
// first: what it brings cannot overtake anything then.
func (s *cometdSession) poll(reqs []request) {
	if err := s.subscribe(reqs); err != nil {
		s.fail(err)
		return
	}
	rush := 0 // connects in a row that were answered at once, with nothing
	for first := true; ; first = false {
		if !s.awaitRoom() {
			s.fail(io.EOF)
			return
		}
		s.mu.Lock()
		s.polling = true
		s.mu.Unlock()
		began := time.Now()
		advice, err := s.bayeux.Connect(s.ctx, first, s.deliver)
		pause := s.bayeux.Interval()
		if errors.Is(err, bayeux.ErrDisconnected) {
			s.parted()
		}
		if err == nil {
			took := time.Since(began)
			if s.connected(first, took >= time.Second) && !first && took < time.Second {
				rush++
			} else {
				rush = 0
			}
			pause = max(pause, pace(rush))
		}
		if err == nil && pause > parkAfter {
			err = errPause // by then the server has forgotten the session
		}
		if err == nil && advice.Reconnect != "" && advice.Reconnect != "retry" {
			err = errAdvised
		}
		if err != nil {
			e := translateCometD("", err)
			if err == errPause {
				e.RetryAfter = pause
			}
			s.fail(e)
			return
		}
		// Pacing, not a retry.
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
	}
}

// connected takes in that a connect has finished, and reports whether it brought
// nothing. The first one is not held. That a channel gets nothing does not mean
// that there is nothing older to come: the server may be seeking through a backlog.
func (s *cometdSession) connected(first, held bool) (empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectEndedLocked()
	empty = !s.brought
	s.brought = false
	if empty {
		maps.DeleteFunc(s.dropped, func(_ string, began int) bool { return s.connects >= began })
	}
	if first {
		s.pushLocked(batch{kind: batchAnswered})
	} else if !s.alive {
		s.alive = true
		s.pushLocked(batch{kind: batchAnswered, proves: true})
	}
	now := time.Now()
	good := !first && s.inFlight == 0
	tell := good && (empty || now.Sub(s.quietAt) >= settled)
	say := good && now.Sub(s.saidAt) >= settled
	if say {
		s.saidAt = now
	}
	for _, c := range s.channels {
		if say && c.accepted {
			s.pushLocked(batch{kind: batchFollowed, sub: c.sub})
		}
		c.caughtUp = c.caughtUp || good && empty && c.accepted && len(c.held) == 0
		if tell && c.caughtUp && !c.busy && len(c.held) == 0 {
			s.pushLocked(batch{kind: batchQuiet, sub: c.sub, whole: empty && held})
			s.quietAt = now
		}
		c.busy = false
	}
	return empty
}

// connectEndedLocked lets go of what waited for the connect that has finished.
func (s *cometdSession) connectEndedLocked() {
	s.connects++
	s.polling = false
	for _, c := range s.channels {
		s.releaseLocked(c)
		if c.early {
			c.early = false
			s.pushLocked(batch{kind: batchConfirmed, sub: c.sub})
		}
	}
}

// parted takes in that the connect that the server's own disconnect came with has
// finished. What it brought counts; that it brought nothing means nothing: it was
// not held until the end.
func (s *cometdSession) parted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectEndedLocked()
}

// awaitRoom waits until the link has what came and no channel is full, but not so
// long that the server would miss us: false says that the session is to end.
func (s *cometdSession) awaitRoom() bool {
	if s.hasRoom() {
		return true
	}
	timer := time.NewTimer(parkAfter)
	defer timer.Stop()
	for {
		select {
		case <-s.room:
			if s.hasRoom() {
				return true
			}
		case <-timer.C:
			return false
		case <-s.ctx.Done():
			return true // Connect says so
		}
	}
}

func (s *cometdSession) hasRoom() bool {
	s.mu.Lock()
	if !s.idle {
		s.mu.Unlock()
		return false
	}
	var subs []*subscription
	var held []int
	for _, c := range s.channels {
		subs = append(subs, c.sub)
		held = append(held, len(c.held))
	}
	s.mu.Unlock()
	room := true
	for i, sub := range subs {
		room = sub.Room(held[i]) && room // all that have none are to wake us
	}
	return room
}

// deliver queues a slab of events, each for its channel.
func (s *cometdSession) deliver(events []bayeux.Event) {
	if subscribed, named := s.take(events); named != "" {
		s.strange(subscribed, named)
	}
}

// take is deliver. It returns a name that is almost one that is followed, if there
// was one.
func (s *cometdSession) take(events []bayeux.Event) (subscribed, named string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(events) > 0 {
		// Runs of one channel stay together: mostly that is all of them.
		n := 1
		for n < len(events) && events[n].Channel == events[0].Channel {
			n++
		}
		run := events[:n]
		events = events[n:]
		bare := bareName(run[0].Channel)
		c := s.channels[bare]
		s.brought = s.brought || c != nil || s.dropped[bare] > 0
		if c == nil {
			if almost := s.almostLocked(bare); almost != "" {
				subscribed, named = almost, bare
			}
			continue // dropped meanwhile, or nobody's
		}
		c.busy = true
		messages := make([]Message, n)
		for i := range run {
			s.codec.readEvent(&messages[i], c.sub.Name, run[i].Data)
		}
		if s.holdsLocked(c) {
			c.held = append(c.held, messages...)
		} else {
			s.pushLocked(batch{kind: batchMessages, sub: c.sub, messages: messages})
		}
	}
	return subscribed, named
}

// almostLocked is the channel that is followed by a name that differs from another
// only by case or slash; empty: none.
func (s *cometdSession) almostLocked(bare string) string {
	for name, c := range s.channels {
		if strings.EqualFold(strings.Trim(name, "/"), strings.Trim(bare, "/")) {
			return c.sub.Name
		}
	}
	return ""
}

func (t *cometd) warnStrange(subscribed, named string) {
	t.strange.Do(func() {
		t.log.Warn("events come under another name than the one that was subscribed, and are nobody's: subscribe by the name of the events",
			"channel", subscribed, "events", named)
	})
}

func bareName(channel string) string {
	bare, _, _ := strings.Cut(channel, "?")
	return bare
}
