package sfstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

const (
	// oldestVersion is the first with replay ids.
	oldestVersion = 37.0

	// parkAfter is how long a session waits for room before it ends: less than the
	// 40 s after which Salesforce would end it.
	parkAfter = 30 * time.Second

	// disconnectTimeout bounds the goodbye, which frees one of the org's sessions.
	disconnectTimeout = time.Second

	// overtakeTime is how long the events of a subscribe reply wait for a connect
	// reply that may have older ones and be under way.
	overtakeTime = 5 * time.Second
)

// cometd is the transport over the Streaming API. All channels share a session.
type cometd struct {
	client  *http.Client
	version string // WithAPIVersion; empty: the newest

	mu       sync.Mutex
	instance string // whose newest version is known
	newest   string
}

func newCometd(cfg *config, client *http.Client) transport {
	return &cometd{client: client, version: cfg.apiVersion}
}

func (t *cometd) close() error {
	t.client.CloseIdleConnections() // those of the user's transport are shared, and open again
	return nil
}

var versionForm = regexp.MustCompile(`^[1-9]\d{1,2}\.0$`)

func checkAPIVersion(version string) error {
	if !versionForm.MatchString(version) {
		return fmt.Errorf("%w: API version %q: want a form such as 62.0", ErrInvalidOption, version)
	}
	if v, _ := strconv.ParseFloat(version, 64); v < oldestVersion {
		return fmt.Errorf("%w: API version %s: versions before %.1f have no replay ids and are retired", ErrInvalidOption, version, oldestVersion)
	}
	return nil
}

// apiVersion is the configured version, else the newest that the org has.
func (t *cometd) apiVersion(ctx context.Context, instance string) (string, error) {
	if t.version != "" {
		return t.version, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock() // one link at a time asks
	if t.instance == instance {
		return t.newest, nil
	}
	newest, err := t.askVersion(ctx, instance)
	if err == nil {
		t.instance, t.newest = instance, newest
	}
	return newest, err
}

func (t *cometd) askVersion(ctx context.Context, instance string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, instance+"/services/data/", nil) // needs no login
	if err != nil {
		return "", fmt.Errorf("%w: instance URL %q: %w", ErrInvalidOption, instance, err)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return "", translateCometD("", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", translateCometD("", err)
	}
	var versions []struct {
		Version string `json:"version"`
	}
	err = json.Unmarshal(text, &versions)
	newest, number := "", 0.0
	for _, v := range versions {
		if n, err := strconv.ParseFloat(v.Version, 64); err == nil && n > number && checkAPIVersion(v.Version) == nil {
			newest, number = v.Version, n
		}
	}
	if resp.StatusCode != http.StatusOK || err != nil || newest == "" {
		e := translateCometD("", &bayeux.StatusError{Status: resp.StatusCode, Start: string(text[:min(len(text), 200)])})
		e.Message = "GET /services/data/ does not tell the org's API versions (WithAPIVersion makes it unnecessary): " + e.Message
		return "", e
	}
	return newest, nil
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
	if err := b.Handshake(ctx); err != nil {
		return nil, translateCometD("", err)
	}
	s := &cometdSession{
		bayeux: b, life: ctx, channels: make(map[string]*cometdChannel), dropped: make(map[string]int),
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
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
	bayeux *bayeux.Session
	life   context.Context // of the link
	ctx    context.Context // of requests; cancelled by close and by the first error
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ready  chan struct{} // wakes recv (capacity 1)
	room   chan struct{} // wakes a poll that waits for room (capacity 1)

	mu       sync.Mutex
	channels map[string]*cometdChannel // by bare name
	queue    []batch
	alive    bool  // a connect was held, or brought something
	idle     bool  // the link has taken in all that came
	err      error // why the session ended; recv returns it after the queue
	wanted   []call
	calling  bool           // calls runs
	inFlight int            // requests of calls, and of poll before its first connect
	connects int            // finished so far
	polling  bool           // a connect is under way
	dropped  map[string]int // by bare name: how many connects must have finished before nothing of it can come
	quietAt  time.Time      // when quiet channels were last told so
}

// cometdChannel is a channel of the session.
type cometdChannel struct {
	sub      *subscription
	accepted bool

	held  []Message
	rode  bool // events of it came with the replies of the calls under way
	after int  // its events are held until so many connects have finished

	caughtUp bool // the server has had nothing more to send since the subscription
	busy     bool // an event of it came with the present connect
}

// call is something to do on the second connection.
type call struct {
	add  []request
	drop []*subscription
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
	for first := true; ; first = false {
		if !s.awaitRoom() {
			s.fail(io.EOF)
			return
		}
		s.mu.Lock()
		s.polling = true
		s.mu.Unlock()
		advice, err := s.bayeux.Connect(s.ctx, first, s.deliver)
		if err == nil {
			s.connected(first)
		}
		if err == nil && advice.Reconnect != "" && advice.Reconnect != "retry" {
			err = errAdvised
		}
		if err != nil {
			s.fail(translateCometD("", err))
			return
		}
		// The server's own pacing, not a retry.
		select {
		case <-time.After(s.bayeux.Interval()):
		case <-s.ctx.Done():
			return
		}
	}
}

// connected takes in that a connect has finished. The first one is not held.
func (s *cometdSession) connected(first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects++
	s.polling = false
	empty := true
	for _, c := range s.channels {
		s.releaseLocked(c)
		empty = empty && !c.busy
	}
	if !s.alive && !(first && empty) {
		s.alive = true
		s.pushLocked(batch{kind: batchAlive})
	}
	now := time.Now()
	good := !first && s.inFlight == 0
	tell := good && (empty || now.Sub(s.quietAt) >= settled)
	for _, c := range s.channels {
		c.caughtUp = c.caughtUp || good && empty && c.accepted && len(c.held) == 0
		if tell && c.caughtUp && !c.busy && len(c.held) == 0 {
			s.pushLocked(batch{kind: batchQuiet, sub: c.sub})
			s.quietAt = now
		}
		c.busy = false
	}
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
	for _, c := range s.channels {
		subs = append(subs, c.sub)
	}
	s.mu.Unlock()
	room := true
	for _, sub := range subs {
		room = sub.hasRoom() && room // all that have none are to wake us
	}
	return room
}

// update hands what is to be done to calls, one thing after the other: a channel
// may be dropped and added again.
func (s *cometdSession) update(add []request, drop []*subscription) {
	notify(s.room)
	if len(add)+len(drop) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range drop {
		if c := s.channels[sub.key.Channel]; c != nil && c.sub == sub {
			delete(s.channels, sub.key.Channel)
			s.dropped[sub.key.Channel] = math.MaxInt
		}
	}
	for _, req := range add {
		// Events of the old subscription could not be told from those of the new one.
		if s.connects < s.dropped[req.sub.key.Channel] {
			s.failLocked(errReopen)
			return
		}
	}
	s.wanted = append(s.wanted, call{add, drop})
	if !s.calling {
		s.calling = true
		s.wg.Go(s.calls) // ends when nothing is wanted; close waits for it
	}
}

func (s *cometdSession) calls() {
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.wanted = nil
		s.calling = len(wanted) > 0
		s.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		for _, c := range wanted {
			err := s.unsubscribe(c.drop)
			if err == nil {
				err = s.subscribe(c.add)
			}
			if err != nil {
				s.fail(err)
				return
			}
		}
	}
}

func (s *cometdSession) unsubscribe(subs []*subscription) error {
	var channels []string
	for _, sub := range subs {
		channels = append(channels, sub.channel)
	}
	s.begin()
	if err := s.bayeux.Unsubscribe(s.ctx, channels, s.deliverCall); err != nil {
		return translateCometD("", err) // what is held is not let go: it comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked()
	for _, sub := range subs {
		// What the server had queued comes with the connect that is under way, or
		// with the next one.
		s.dropped[sub.key.Channel] = s.connects + 2
	}
	return nil
}

// subscribe asks for channels and reports what the server says to each. The
// error is one of the whole session.
func (s *cometdSession) subscribe(reqs []request) error {
	var wanted []bayeux.Subscription
	s.mu.Lock()
	for _, req := range reqs {
		bare := req.sub.key.Channel
		s.channels[bare] = &cometdChannel{sub: req.sub}
		replay := "-2"
		switch {
		case len(req.position.id) > 0 && !isDecimal(req.position.id):
			s.answeredLocked(bare, &ServerError{API: apiCometD, Channel: req.sub.channel, Code: ReplayInvalid,
				Message: fmt.Sprintf("%x is not a replay id of the Streaming API", req.position.id)})
			continue
		case len(req.position.id) > 0:
			replay = string(req.position.id)
		case req.position.latest:
			replay = "-1"
		}
		wanted = append(wanted, bayeux.Subscription{Channel: req.sub.channel, Bare: bare, Replay: replay})
	}
	s.mu.Unlock()
	if len(wanted) == 0 {
		return nil
	}

	var ended error
	s.begin()
	err := s.bayeux.Subscribe(s.ctx, wanted, s.deliverCall, func(channel string, err error) {
		if refusal := translateCometD(channel, err); err != nil && concernsSession(refusal) {
			refusal.Channel = ""
			ended = refusal
			return
		} else if err != nil {
			s.answered(bareName(channel), refusal)
			return
		}
		s.answered(bareName(channel), nil)
	})
	if err != nil {
		return translateCometD("", err)
	}
	if ended == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finishLocked()
	}
	return ended
}

// begin notes that a call is under way.
func (s *cometdSession) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
}

// finishLocked notes that a call has been answered, and lets go what is held,
// unless the connect that is under way may bring older events.
func (s *cometdSession) finishLocked() {
	if s.inFlight--; s.inFlight > 0 {
		return
	}
	for _, c := range s.channels {
		if c.rode && s.polling {
			after := s.connects + 1
			c.after = after
			// A connect that is held at the server brings none.
			time.AfterFunc(overtakeTime, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if c.after == after {
					c.after = 0
					s.releaseLocked(c)
				}
			})
		}
		c.rode = false
		s.releaseLocked(c)
	}
}

func bareName(channel string) string {
	bare, _, _ := strings.Cut(channel, "?")
	return bare
}

// answered takes in what the server says to a subscription.
func (s *cometdSession) answered(bare string, refusal *ServerError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answeredLocked(bare, refusal)
}

func (s *cometdSession) answeredLocked(bare string, refusal *ServerError) {
	c := s.channels[bare]
	switch {
	case c == nil: // dropped meanwhile
	case refusal != nil:
		delete(s.channels, bare)
		s.pushLocked(batch{kind: batchRefused, sub: c.sub, err: refusal})
	default:
		c.accepted = true
		s.pushLocked(batch{kind: batchAccepted, sub: c.sub})
	}
}

func (s *cometdSession) holdsLocked(c *cometdChannel) bool {
	return s.inFlight > 0 || !c.accepted || c.after > s.connects
}

// releaseLocked queues the events of a channel that need not be held any more.
func (s *cometdSession) releaseLocked(c *cometdChannel) {
	if len(c.held) > 0 && !s.holdsLocked(c) && s.err == nil {
		s.pushLocked(batch{kind: batchMessages, sub: c.sub, messages: inOrder(c.held)})
		c.held = nil
	}
}

// deliverCall is deliver for what comes with the reply to a call.
func (s *cometdSession) deliverCall(events []bayeux.Event) {
	s.mu.Lock()
	for _, e := range events {
		if c := s.channels[bareName(e.Channel)]; c != nil {
			c.rode = true
		}
	}
	s.mu.Unlock()
	s.deliver(events)
}

// deliver queues a slab of events, each for its channel.
func (s *cometdSession) deliver(events []bayeux.Event) {
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
		c := s.channels[bareName(run[0].Channel)]
		if c == nil {
			continue // dropped meanwhile
		}
		c.busy = true
		messages := make([]Message, n)
		for i := range run {
			readEvent(&messages[i], c.sub.channel, run[i].Data)
		}
		if s.holdsLocked(c) {
			c.held = append(c.held, messages...)
		} else {
			s.pushLocked(batch{kind: batchMessages, sub: c.sub, messages: messages})
		}
	}
}
