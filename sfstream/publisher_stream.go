package sfstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

const (
	// maxUnderWay is how many requests are sent before the first of them is answered.
	maxUnderWay = 16

	// publisherIdle is how long a stream without events is kept. Salesforce ends it after 70
	// seconds, and what is sent at that moment would be in doubt: internal/eventbus/PROTOCOL.md,
	// "Publishing".
	publisherIdle = time.Minute

	// answerTimeout is how long the answer to a request of a stream may take.
	answerTimeout = 2 * time.Minute

	// largeRequest is a request that a proxy may refuse for its size by a reset.
	largeRequest = 256 << 10
)

// A Publisher publishes events of one channel at high rates, over a stream of the Pub/Sub API that
// carries many requests at once. Any number of goroutines may use it. It connects with the first
// event, and again whenever that is needed: after an idle time, a cut, the end of a token. See
// [Client.Publisher].
type Publisher struct {
	*services
	bus     *pubsub
	channel string
	opts    publisherConfig

	ctx       context.Context // ends with Close, with the client and with what no retry cures
	cancel    context.CancelCauseFunc
	done      chan struct{} // closed when run has ended
	wake      chan struct{} // capacity 1: there is something to look at, for who sends next
	encoding  atomic.Pointer[encoding]
	preparing chan struct{} // a lock: whoever asks for the topic has put something in (capacity 1)

	mu    sync.Mutex
	queue publisherQueue
	tally publisherTally
}

// publisherQueue is what a publisher knows of its events. Publisher.mu guards it.
type publisherQueue struct {
	box      outbox.Box[*Publisher]
	room     outbox.Room
	line     []*Receipt      // not resolved, in the order of Publish
	resolved int             // of line, from its head
	slab     []Receipt       // for the next ones
	ids      []string        // likewise
	given    map[string]bool // the program's own ids of what is in line

	due     time.Time        // when what waits is sent, though it does not fill a request
	hurry   int              // calls of Flush and Close that wait: nothing lingers
	held    []*queuedEvent   // refused for a reason that may pass; sent again at until
	until   time.Time        // heldTill
	pause   time.Time        // nothing is sent before
	flushes []publisherFlush // in the order of their calls
	spare   [][]*queuedEvent // requests to be used again
}

// publisherTally says whether a publisher takes events, and counts them. Publisher.mu guards it.
type publisherTally struct {
	begun    bool  // run was started
	closed   error // why no more events are taken; nil: they are
	added    int64 // events taken
	finished int64 // events whose receipts are resolved
	failed   int64 // since the last Flush, events that were not published
	first    error // of the first of these
}

// queuedEvent is an event of a publisher.
type queuedEvent = outbox.Event[*Publisher]

// A publisherFlush waits until so many events are resolved.
type publisherFlush struct {
	after int64
	done  chan struct{}
}

// A Receipt tells what becomes of an event that a [Publisher] has taken. Receipts are resolved in
// the order of Publish: when one is, all before it are.
type Receipt struct {
	event    queuedEvent
	room     int           // bytes
	resolved bool          // Publisher.mu guards it; event does not change any more then
	done     chan struct{} // nil: nobody has asked yet
}

type publisherConfig struct {
	linger time.Duration
	batch  int
	events int // on their way at most
	bytes  int
}

// publisherRun is what only the goroutine of run knows.
type publisherRun struct {
	backOff  backoff.BackOff // of the stream; reset by an answer
	refusals backoff.BackOff // of events; reset when one is published
	refused  *token          // the last token refused; nil: none since an answer
	failing  bool            // the last session has failed: the next failures are told at Debug only
	since    time.Time       // when it was last well
	worked   bool            // Salesforce has published an event of it

	published bool      // the last answer has published an event
	denied    time.Time // since when it is denied; zero: it is not
	rush      int       // sessions in a row that ended at once
}

// run is the loop of the publisher: wait for events, open a stream, take answers, open the next
// one. Nothing else of it sleeps but send.
func (p *Publisher) run() {
	defer p.life.running.Done()
	defer close(p.done)
	r := &publisherRun{backOff: p.cfg.newBackOff(), refusals: p.cfg.newBackOff()}
	for p.await() {
		if !r.failing {
			r.since = time.Now()
		}
		began := time.Now()
		s, err := p.open(r)
		if err == nil {
			err = s.receive(r)
		}
		if p.ctx.Err() != nil {
			s.end(setback{Setback: outbox.Setback{Outcome: outbox.InDoubt}}, p.unanswered())
			break
		}
		wait, fatal := p.judge(r, s, err)
		if wait > 0 || time.Since(began) >= time.Second {
			r.rush = 0
		} else {
			r.rush++
			wait = pace(r.rush)
		}
		if fatal == nil && wait > 0 {
			fatal = p.sleep(r, wait, err)
		}
		if fatal != nil {
			p.cancel(fatal)
		}
	}
	p.finish()
}

// await waits until there is something to send. It reports false at the end of the publisher.
func (p *Publisher) await() bool {
	for {
		p.mu.Lock()
		wait := p.queue.readyLocked(time.Now())
		p.mu.Unlock()
		if p.ctx.Err() != nil || wait == 0 {
			return p.ctx.Err() == nil
		}
		p.waitFor(p.ctx, wait)
	}
}

// waitFor waits until wake, ctx or the time wants a look; a negative wait has no time.
func (p *Publisher) waitFor(ctx context.Context, wait time.Duration) {
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
	case <-p.wake:
	case <-ctx.Done():
	}
}

// readyLocked says how long it is until something may be sent: negative, if there is nothing. What
// is held is put back when its time has come.
func (q *publisherQueue) readyLocked(now time.Time) time.Duration {
	if len(q.held) > 0 && !now.Before(q.until) {
		q.box.Return(q.held)
		q.held, q.due = nil, now
	}
	switch {
	case q.box.Len() == 0 && len(q.held) == 0:
		return -1
	case q.box.Len() == 0:
		return q.until.Sub(now)
	}
	return max(q.pause.Sub(now), 0)
}

// cutLocked takes a request's worth of events. Where there is none, wait says when to look again.
func (p *Publisher) cutLocked(now time.Time) (request []*queuedEvent, wait time.Duration) {
	q := &p.queue
	if wait = q.readyLocked(now); wait != 0 {
		return nil, wait
	}
	if !q.box.Full() && q.hurry == 0 && !q.room.Crowded() && now.Before(q.due) {
		return nil, q.due.Sub(now)
	}
	if n := len(q.spare); n > 0 {
		request, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	request = q.box.Cut(request[:0])
	q.due = now.Add(p.opts.linger)
	return request, 0
}

// A publishSession is one stream. Its sender is a goroutine of its own, its receiver that of run.
type publishSession struct {
	p        *Publisher
	conn     *connection
	creds    *authenticator.Credentials
	ctx      context.Context
	cancel   context.CancelFunc
	stream   eventbus.RequestStream
	sending  chan struct{} // closed when send has ended; nil: it was not started
	counted  bool          // conn.streams includes the stream
	watchdog *time.Timer   // runs giveUp while an answer or the opening is due
	silent   atomic.Bool   // giveUp has ended the stream
	idle     atomic.Bool   // send has ended it, because there was nothing to send
	answered bool          // Salesforce has answered on it; Publisher.mu guards it

	echoes bool             // the server's keys are the events' ids; likewise
	flight [][]*queuedEvent // requests that are not answered, in their order; Publisher.mu guards it
}

// open makes one attempt to have a stream.
func (p *Publisher) open(r *publisherRun) (*publishSession, error) {
	s := &publishSession{p: p}
	var err error
	if s.creds, err = p.logins.token(p.ctx, tokenRequest{channel: p.channel}); err != nil {
		return s, err
	}
	if s.conn, err = p.bus.conns.acquire(); err != nil {
		return s, err
	}
	s.ctx, s.cancel = context.WithCancel(p.ctx)
	s.watchdog = time.AfterFunc(openTimeout, s.giveUp)
	s.stream, err = eventbus.Client{Conn: s.conn}.PublishRequests(outgoing(s.ctx, s.creds))
	switch {
	case !s.watchdog.Stop():
		if s.conn.GetState() == connectivity.Ready {
			p.bus.conns.crowded(s.conn)
		}
		return s, s.silentError(openTimeout)
	case err != nil:
		return s, s.translate(err)
	}
	s.counted = true
	p.bus.conns.counted(s.conn, 1)
	s.sending = make(chan struct{})
	// send ends with the stream's context; leave cancels that and waits.
	go s.send()
	return s, nil
}

// giveUp ends a stream of which an answer is due for too long.
func (s *publishSession) giveUp() {
	s.silent.Store(true)
	s.cancel()
}

func (s *publishSession) silentError(after time.Duration) error {
	s.p.bus.conns.retire(s.conn)
	return &ServerError{API: apiPubSub, Channel: s.p.channel, Code: Unavailable, err: errSilent, request: publishRequest,
		Message: fmt.Sprintf("nothing came for %s", after)}
}

func (s *publishSession) translate(err error) *ServerError {
	var trailer metadata.MD
	if s.stream.ClientStream != nil {
		trailer = s.stream.Trailer()
	}
	failed := s.p.bus.translate(s.conn, s.creds, s.p.channel, err, trailer)
	failed.request = publishRequest
	return failed
}

// leave ends the stream and its sender.
func (s *publishSession) leave() {
	if s.conn == nil {
		return
	}
	s.cancel()
	if s.sending != nil {
		<-s.sending
	}
	s.watchdog.Stop()
	if s.counted {
		s.p.bus.conns.counted(s.conn, -1)
	}
	s.p.bus.conns.release(s.conn)
	s.conn = nil
}

// send sends requests until the stream ends.
func (s *publishSession) send() {
	defer close(s.sending)
	p := s.p
	for s.ctx.Err() == nil {
		p.mu.Lock()
		var request []*queuedEvent
		wait := time.Duration(-1)
		if len(s.flight) < s.windowLocked() {
			request, wait = p.cutLocked(time.Now())
		}
		if len(request) > 0 {
			if s.flight = append(s.flight, request); len(s.flight) == 1 {
				s.watchdog.Reset(answerTimeout)
			}
		}
		rests := len(s.flight) == 0
		p.mu.Unlock()
		switch {
		case len(request) == 0 && rests && wait < 0:
			if !s.rest() {
				return
			}
			continue
		case len(request) == 0:
			p.waitFor(s.ctx, wait)
			continue
		}
		if s.post(request) != nil { // the request has not left; receive gets the reason
			p.mu.Lock()
			if n := len(s.flight) - 1; n >= 0 && s.flight[n][0] == request[0] { // else it is answered all the same
				s.flight = s.flight[:n]
				p.queue.box.Return(request)
			}
			p.mu.Unlock()
			return
		}
	}
}

// windowLocked is how many requests may be under way. The first one of a stream goes alone: if
// Salesforce refuses the stream, for its token or a limit, nothing is in doubt.
func (s *publishSession) windowLocked() int {
	if !s.answered {
		return 1
	}
	return maxUnderWay
}

// post sends a request.
func (s *publishSession) post(request []*queuedEvent) error {
	var frame eventbus.Request
	defer frame.Free()
	frame.Begin(s.p.channel, size(request))
	for _, e := range request {
		frame.Append(e.ID, e.Schema, e.Payload)
	}
	return s.stream.Send(&frame)
}

// rest waits for something to send, and ends the stream where nothing comes for long. It reports
// whether to go on.
func (s *publishSession) rest() bool {
	timer := time.NewTimer(publisherIdle)
	defer timer.Stop()
	select {
	case <-s.p.wake:
		return true
	case <-s.ctx.Done():
	case <-timer.C:
		s.idle.Store(true)
		s.cancel()
	}
	return false
}

// receive takes answers until the stream ends. The error is io.EOF where that was polite.
func (s *publishSession) receive(r *publisherRun) error {
	var results eventbus.Results
	defer results.Free()
	for {
		err := s.stream.Recv(&results)
		switch {
		case err == nil:
		case s.idle.Load():
			return io.EOF
		case s.silent.Load():
			return s.silentError(answerTimeout)
		case errors.Is(err, io.EOF):
			return io.EOF
		default:
			failed := s.translate(err)
			if strings.HasSuffix(failed.Reason, "publish.stream.sweeper.timeout") {
				return io.EOF
			}
			return failed
		}
		if len(results.Results) == 0 {
			continue // a keepalive
		}
		if err := s.take(r, &results); err != nil {
			return err
		}
	}
}

// askedLocked finds the request that an answer is for: by its first key, because what is left of an
// earlier answer must not pass for that to the next request. An answer without keys, or of a server
// that has keys of its own, is for the first; but where that is a whim of a server that else echoes
// ids, nobody can tell for which of several it is. It is negative where there is none.
func (s *publishSession) askedLocked(results *eventbus.Results) int {
	for i := range results.Results {
		key := results.Bytes(results.Results[i].CorrelationKey)
		if len(key) == 0 {
			continue
		}
		at := slices.IndexFunc(s.flight, func(request []*queuedEvent) bool {
			return slices.ContainsFunc(request, func(e *queuedEvent) bool { return e.ID == string(key) })
		})
		if s.echoes = s.echoes || at >= 0; s.echoes {
			return at
		}
		break
	}
	if s.echoes && len(s.flight) > 1 {
		return -1
	}
	return min(len(s.flight), 1) - 1
}

// take does what an answer says.
func (s *publishSession) take(r *publisherRun, results *eventbus.Results) error {
	p := s.p
	p.mu.Lock()
	at := s.askedLocked(results)
	if at < 0 {
		p.mu.Unlock()
		return s.unclear("the server answers what was not asked")
	}
	request := s.flight[at]
	s.flight = slices.Delete(s.flight, at, at+1)
	if len(s.flight) == 0 {
		s.watchdog.Stop()
	} else {
		s.watchdog.Reset(answerTimeout)
	}
	s.answered = true
	stale := s.settleLocked(r, request, results)
	p.mu.Unlock()

	p.follow(s.creds, results.Bytes(results.SchemaID), len(stale) > 0)
	p.mu.Lock()
	for _, e := range stale {
		p.encodeAgainLocked(e)
	}
	var again []*queuedEvent
	for _, e := range request {
		if !e.Done {
			again = append(again, e)
		}
	}
	if len(p.queue.spare) < maxUnderWay {
		p.queue.spare = append(p.queue.spare, request)
	}
	p.resolveLocked()
	p.mu.Unlock()
	p.answered(r)
	if len(again) > 0 {
		p.hold(r, again)
	}
	p.notify()
	return nil
}

// follow notes which schema of the channel an answer names. Where that is another one the next
// Publish asks for it; stale says that events are to be encoded by it now.
func (p *Publisher) follow(creds *authenticator.Credentials, schemaID []byte, stale bool) {
	e := p.encoding.Load()
	switch {
	case stale && e == nil:
		_ = p.learn(p.ctx, creds, nil) // if it fails the refusal stands
	case stale:
		_ = p.learn(p.ctx, creds, e.topic) // likewise
	case e != nil && len(schemaID) > 0 && string(schemaID) != e.schemaID:
		p.bus.topics.forget(e.topic)
		p.encoding.CompareAndSwap(e, nil)
	}
}

// settleLocked notes what an answer says of each event of a request. It returns those that are
// refused because of their schema.
func (s *publishSession) settleLocked(r *publisherRun, request []*queuedEvent, results *eventbus.Results) (stale []*queuedEvent) {
	box := &s.p.queue.box
	box.Answered()
	ids := results.ReplayIDs()
	each := func(e *queuedEvent, result *eventbus.Result) {
		switch {
		case result == nil:
			box.Fail(e, outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.AFewMore}, s.unclear("the answer does not say what has become of the event"))
		case result.Failed:
			text := string(results.Bytes(result.Message))
			err := eventRefused(s.creds, s.p.channel, text, string(results.Bytes(results.RPCID)))
			_, back := judgeEvent("", text)
			if e.Err = err; back.cure == cureEncode {
				stale = append(stale, e)
				return
			}
			box.Fail(e, back.Setback, err)
		case result.ReplayID.Len() == 0:
			box.Fail(e, outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.AFewMore}, s.unclear(errNoPlace.Error()))
		default:
			if result.ReplayID.Len() > len(ids) { // events with one id have one result
				ids = make([]byte, result.ReplayID.Len())
			}
			n := copy(ids, results.Bytes(result.ReplayID)) // they may be in another order
			e.Publish(ids[:n:n])
			ids, r.published = ids[n:], true
		}
	}
	r.published = false
	if s.inPlace(request, results) {
		for i, e := range request {
			each(e, &results.Results[i])
		}
		return stale
	}
	list := make([]outbox.Result, len(results.Results))
	places := make(map[*outbox.Result]*eventbus.Result, len(list))
	for i := range list {
		list[i].Key = string(results.Bytes(results.Results[i].CorrelationKey))
		places[&list[i]] = &results.Results[i]
	}
	outbox.Match(request, list, func(e *queuedEvent, result *outbox.Result) { each(e, places[result]) })
	return stale
}

func (s *publishSession) unclear(text string) error {
	return &ServerError{API: apiPubSub, Channel: s.p.channel, Code: Internal, Message: text, request: publishRequest}
}

// inPlace reports whether every result is that of the event at its place.
func (s *publishSession) inPlace(request []*queuedEvent, results *eventbus.Results) bool {
	if len(request) != len(results.Results) {
		return false
	}
	for i, e := range request {
		if key := results.Bytes(results.Results[i].CorrelationKey); len(key) > 0 && string(key) != e.ID {
			return false
		}
	}
	return true
}

// encodeAgainLocked encodes an event, which is refused because of its schema, by the present one.
// The program's value is not kept, because the program may have changed it: the payload is decoded
// by the schema with which it was encoded.
func (p *Publisher) encodeAgainLocked(e *queuedEvent) {
	next := outbox.GiveUp
	if now := p.encoding.Load(); now != nil && now.schemaID != e.Schema {
		if payload, err := p.transcode(e, now); err != nil {
			e.Err = err
		} else {
			e.Schema, e.Payload, next = now.schemaID, payload, outbox.Again
		}
	}
	p.queue.box.Fail(e, outbox.Setback{Outcome: outbox.Refused, Next: next}, e.Err)
}

// transcode returns the payload of an event by another schema.
func (p *Publisher) transcode(e *queuedEvent, now *encoding) ([]byte, error) {
	before, err := p.bus.schemas.Get(p.ctx, e.Schema, func(context.Context, string) (string, error) { return "", errNoSchemaID })
	if err != nil {
		return nil, err // never: it was encoded by this schema
	}
	value, _, err := before.Decode(e.Payload)
	if err != nil {
		return nil, err
	}
	own := *now
	own.room = nil
	return own.encode(p.ctx, value)
}

// hold sets events aside that are to be sent again. Where none of their request is published
// nothing else is sent meanwhile.
func (p *Publisher) hold(r *publisherRun, again []*queuedEvent) {
	q, err := &p.queue, again[0].Err
	p.mu.Lock()
	waits := len(q.held) > 0
	p.mu.Unlock()
	var wait time.Duration
	if renew := !waits || !r.published; renew {
		if wait = r.refusals.NextBackOff(); wait != backoff.Stop {
			wait = max(wait, retryAfter(err), 1)
		}
		p.log.Debug("events are sent again", "channel", p.channel, "events", len(again), "wait", wait, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	q.held = append(q.held, again...)
	switch {
	case wait == backoff.Stop:
		for _, e := range q.held {
			e.End(err)
		}
		q.held = nil
		p.resolveLocked()
	case wait > 0:
		q.until = time.Now().Add(wait)
		if !r.published {
			q.pause = q.until
		}
	}
}

// answered notes that Salesforce has answered.
func (p *Publisher) answered(r *publisherRun) {
	r.backOff.Reset()
	r.refused, r.denied, r.since = nil, time.Time{}, time.Now()
	if r.published {
		r.worked = true
		r.refusals.Reset()
	}
	if r.failing {
		r.failing = false
		p.log.Info("publishing again", "channel", p.channel)
	}
}

// resolveLocked resolves the receipts of events that are done, up to the first one that is not.
func (p *Publisher) resolveLocked() {
	q, l := &p.queue, &p.tally
	events, bytes := 0, 0
	for ; q.resolved < len(q.line); q.resolved++ {
		r := q.line[q.resolved]
		if !r.event.Done {
			break
		}
		if r.event.Outcome != outbox.Published {
			if l.failed++; l.first == nil {
				l.first = r.event.Err
			}
		}
		r.event.Payload, r.resolved = nil, true
		delete(q.given, r.event.ID)
		if r.done != nil {
			close(r.done)
		}
		events, bytes = events+1, bytes+r.room
		q.line[q.resolved] = nil
	}
	if q.resolved > len(q.line)/2 {
		q.line, q.resolved = slices.Delete(q.line, 0, q.resolved), 0
	}
	if events == 0 {
		return
	}
	l.finished += int64(events)
	q.room.Give(events, bytes)
	n := 0
	for ; n < len(q.flushes) && q.flushes[n].after <= l.finished; n++ {
		close(q.flushes[n].done)
	}
	q.flushes = slices.Delete(q.flushes, 0, n)
}

// end ends a session, and notes what that means for the requests that are not answered. The first
// of them may be at fault.
func (s *publishSession) end(back setback, err error) {
	s.leave()
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	box := &p.queue.box
	for i, request := range slices.Backward(s.flight) {
		one := back.Setback
		if i > 0 && !back.all {
			one.Next = outbox.Again
		}
		if one.Next == outbox.Smaller && size(request) < largeRequest {
			one.Next = outbox.Again
		}
		box.FailAll(request, one, err)
		box.Return(request)
	}
	s.flight = nil
	p.queue.due = time.Now()
	p.resolveLocked()
}

// judge says what follows from the end of a session: after which wait the next one is opened, or
// why there is none.
func (p *Publisher) judge(r *publisherRun, s *publishSession, err error) (wait time.Duration, fatal error) {
	if err == io.EOF {
		s.end(setback{Setback: outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.Again}}, p.unanswered())
		return 0, nil
	}
	explain(err, s.creds)
	p.tell(r, err)
	p.mu.Lock()
	sent := len(s.flight) > 0
	p.mu.Unlock()
	back := judgePublish(err, sent)
	denied := back.Next == outbox.GiveUp && back.all
	if denied && r.worked && p.deniedOf(r, err) {
		back.Next, wait = outbox.Again, deniedEvery
		back.all, denied = false, false
	}
	if s.answered && back.Outcome == outbox.Refused {
		back.Outcome = outbox.InDoubt // several may be under way: which is refused nobody says
	}
	if back.cure == cureEncode {
		if e := p.encoding.Load(); e != nil && p.learn(p.ctx, s.creds, e.topic) == nil {
			s.encodeAgain()
		}
		back.cure = cureNone
	}
	s.end(back, err)
	switch {
	case denied:
		return 0, err
	case back.cure == cureLogin:
		first := r.refused == nil
		if r.refused, wait, fatal = p.logins.refuse(s.creds, r.refused, p.channel, err); fatal != nil || first {
			return wait, fatal
		}
	}
	next := r.backOff.NextBackOff()
	if next == backoff.Stop {
		return 0, &TimeoutError{Channel: p.channel, Down: time.Since(r.since), err: err}
	}
	return max(wait, next, retryAfter(err), 1), nil
}

// encodeAgain encodes what is not answered by the present schema.
func (s *publishSession) encodeAgain() {
	s.leave()
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.encoding.Load()
	for _, request := range s.flight {
		for _, e := range request {
			if e.Schema == now.schemaID {
				continue
			}
			if payload, err := p.transcode(e, now); err == nil {
				e.Schema, e.Payload = now.schemaID, payload
			}
		}
	}
}

// deniedOf reports whether a channel on which the publisher has published is still to be tried,
// though it is denied: changes of permissions and releases pass.
func (p *Publisher) deniedOf(r *publisherRun, err error) bool {
	var server *ServerError
	if !errors.As(err, &server) || server.Code != PermissionDenied && server.Code != NotFound {
		return false
	}
	if r.denied.IsZero() {
		r.denied = time.Now()
	}
	return time.Since(r.denied) < deniedFor
}

// tell tells the log and the hook of a failure.
func (p *Publisher) tell(r *publisherRun, err error) {
	level := slog.LevelInfo
	if r.failing {
		level = slog.LevelDebug
	}
	r.failing = true
	p.log.Log(p.ctx, level, "publisher disconnected", "channel", p.channel, "error", err)
	var server *ServerError
	if hook := p.cfg.hooks.OnLimit; hook != nil && errors.As(err, &server) && server.Code == LimitExceeded {
		hook(server)
	}
}

// sleep waits before the next session. The error is that WithReconnectTimeout has passed.
func (p *Publisher) sleep(r *publisherRun, wait time.Duration, cause error) error {
	limit := p.cfg.reconnectTimeout
	left := limit - time.Since(r.since)
	last := limit > 0 && wait >= left
	if last {
		wait = max(left, 0)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.ctx.Done():
		return nil
	case <-timer.C:
	}
	if last {
		return &TimeoutError{Channel: p.channel, Down: time.Since(r.since), err: cause}
	}
	return nil
}

// unanswered is the error of what was sent and not answered.
func (p *Publisher) unanswered() error {
	if p.ctx.Err() != nil {
		return fmt.Errorf("sfstream: %s: no answer came before the end: %w", p.channel, p.ending())
	}
	return &ServerError{API: apiPubSub, Channel: p.channel, Code: Unavailable, Message: "the stream ended without an answer", request: publishRequest}
}

// learn asks for the channel's topic where there is none but stale, and encodes by it from now on.
func (p *Publisher) learn(ctx context.Context, creds *authenticator.Credentials, stale *topic) error {
	topic, err := p.bus.topicOf(ctx, creds, p.channel, stale)
	if err != nil {
		return err
	}
	route := &pubsubRoute{services: p.services, bus: p.bus, channel: p.channel}
	p.encoding.Store(&encoding{
		topic: topic, binder: p.cfg.prefs.binder, system: avro.System{CreatedByID: creds.UserID},
		user: func(ctx context.Context) (string, error) {
			joined, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(p.ctx, cancel)()
			return route.userID(joined, creds)
		},
	})
	return nil
}

// ending is what has ended the publisher.
func (p *Publisher) ending() error {
	if ended := p.life.usable(); ended != nil {
		return ended
	}
	return context.Cause(p.ctx)
}

// notify tells who sends next to look.
func (p *Publisher) notify() { notify(p.wake) }

// finish resolves all receipts.
func (p *Publisher) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := p.ending()
	if p.tally.closed == nil {
		p.tally.closed = reason
	}
	for _, e := range p.queue.held {
		e.End(reason)
	}
	p.queue.held = nil
	p.queue.box.End(reason)
	p.resolveLocked()
}
