package sfstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// An Event is an event to publish that has an id of the program's own. Where none is wanted, the
// value alone will do.
type Event struct {
	// ID is what subscribers get as [Message.ID], at most 36 characters; make it a UUID, because
	// [Message.Key] counts no other. Where it is empty the client makes one. Over REST no id can be
	// set.
	ID string
	// Value is a struct or a map. [Client.Publish] says how it becomes an event.
	Value any
}

// An Outcome says what is known of an event that was to be published.
type Outcome int

const (
	// NotSent: it has not left the program. It is not on the event bus.
	NotSent = Outcome(outbox.NotSent)
	// Published: Salesforce has confirmed it.
	Published = Outcome(outbox.Published)
	// Refused: Salesforce does not take it, and Err says why. It is not on the event bus.
	Refused = Outcome(outbox.Refused)
	// InDoubt: it was sent, and no answer says what has become of it: it may be there. Publishing
	// it again with the same id is safe where subscribers deduplicate on [Message.Key].
	InDoubt = Outcome(outbox.InDoubt)
)

// String returns the name of the outcome, as in "Published".
func (o Outcome) String() string {
	names := [...]string{"NotSent", "Published", "Refused", "InDoubt"}
	if o < 0 || int(o) >= len(names) {
		return fmt.Sprintf("Outcome(%d)", int(o))
	}
	return names[o]
}

// A PublishResult is what has become of one event.
type PublishResult struct {
	// ID is the id with which the event was sent and which subscribers get. Over REST Salesforce
	// makes it, and it is empty unless the event was published; /u channels have none.
	ID string
	// ReplayID is the event's place on its channel, as subscribers get it. REST tells none.
	ReplayID []byte
	Outcome  Outcome
	// Err says why the event was not published, or why that is not known: a *[ServerError], an
	// *[AuthError], an *[EncodeError], or the error that has ended the call. It is nil where
	// Outcome is Published.
	Err error
	// Enqueued says that Salesforce has promised to publish the event and has not done it yet. That
	// is all that REST tells of a platform event: a later failure reaches nobody.
	Enqueued bool
}

// A DoubtPolicy says what becomes of an event that was sent and not answered.
type DoubtPolicy int

const (
	// Resend sends it again with the same id, until an answer comes: it is published at least once,
	// and [Message.Key] tells a second one. It is the default. Over REST, where no id can be set,
	// nothing is ever sent again that is in doubt.
	Resend DoubtPolicy = iota
	// Report makes its Outcome [InDoubt]: it is published at most once, unless the program itself
	// publishes it again.
	Report
)

// WithInDoubt sets what [Client.Publish] and a Publisher do with events that were sent and not
// answered, as where a connection breaks. The default is [Resend].
func WithInDoubt(p DoubtPolicy) Option {
	return func(c *config) error {
		if p < Resend || p > Report {
			return fmt.Errorf("%w: WithInDoubt: %d", ErrInvalidOption, p)
		}
		c.inDoubt = p
		return nil
	}
}

// Publish publishes events on a channel, and returns what has become of each, in their order. An
// event is a struct or a map, or an [Event] that gives one an id:
//
//	results, err := client.Publish(ctx, "/event/Order__e",
//		Order{Number: "A-17", Total: 99.5},
//		map[string]any{"Number__c": "A-18"},
//		sfstream.Event{ID: id, Value: order},
//	)
//
// Fields are named as for [Message.Decode]: by the tag sf, else json, else the Go name; an
// [Optional] that is unchanged, and a field that is not there, become null. What [Message.Decode]
// and [Message.Fields] give is what Publish takes. A field that the channel does not have, a value
// of another type or one that would lose something, and a missing field that the schema requires
// are an *[EncodeError] that names the field. All events are encoded before the first one is sent:
// where one cannot be, none is. CreatedDate and CreatedById are filled in, as this moment and the
// user of the login.
//
// Requests have at most 200 events and 3 MB, and go one after the other. An event of more than 1 MB
// is refused by itself. Events that Salesforce refuses for a reason that may pass (a limit, a
// fault) are sent again with the same ids until ctx ends, with waits as [WithBackOff] says, so give
// ctx a deadline. So are, unless [WithInDoubt] says otherwise, events of which no answer says what
// has become of them: they may be on the channel twice then, with one [Message.Key]. Events are
// published in order, but for those that are sent again: they may come after later ones of their
// request.
//
// A channel /u/… takes texts of at most 3,000 characters, or values that become such a text as
// JSON. All subscribers get them; Generic.Push of package channels is for certain users, and tells
// who is online. They go over REST, and with [WithTransport] CometD platform events do, too, 200 in
// a request. There Salesforce sets the ids, an [Event] with one is an error, and nothing is sent
// again that is in doubt. A platform event that is Published over REST is but Enqueued
// ([PublishResult]). Unknown fields and wrong types are refused by Salesforce itself, event by
// event. Times are sent as DateTime; write a date or a time of day as a text. CreatedDate and
// CreatedById, which Salesforce sets itself, are left out.
//
// There is one result for each event, whatever the error. The error is nil if all are published.
// Else it is a *[PublishError], also where ctx or [Client.Close] has ended the call; or, before
// anything is sent, [ErrInvalidOption], [ErrNotOpen], [ErrClosed] or that of a client that has
// ended.
func (c *Client) Publish(ctx context.Context, channel string, events ...any) ([]PublishResult, error) {
	p := &publication{services: c.services, channel: channel, parent: ctx}
	api, err := c.cfg.publishAPI(channel)
	if err == nil {
		err = c.life.usable()
	}
	if err == nil {
		err = p.take(c.roster.pubsub, api, events)
	}
	if err == nil {
		err = c.life.start()
	}
	if err != nil {
		results := make([]PublishResult, len(events))
		for i := range results {
			results[i].Err = err
		}
		return results, err
	}
	defer c.life.running.Done()
	return p.publish()
}

// publishAPI says which API takes events of a channel.
func (c *config) publishAPI(channel string) (string, error) {
	api, err := c.apiOf(channel, Auto)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(channel, "/data/"):
		return "", fmt.Errorf("%w: channel %q: change events come of changes: change the record, by Client.Do", ErrInvalidOption, channel)
	case strings.HasPrefix(channel, "/topic/"):
		return "", fmt.Errorf("%w: channel %q: a PushTopic's events come of changes: change a record that its query finds, by Client.Do", ErrInvalidOption, channel)
	case strings.Contains(channel, "?"):
		return "", fmt.Errorf("%w: channel %q: a filter is for Subscribe", ErrInvalidOption, channel)
	case strings.HasPrefix(channel, "/event/") && strings.HasSuffix(channel, "__chn"):
		return "", fmt.Errorf("%w: channel %q: a custom channel carries the events of other channels: publish on theirs, as /event/Name__e", ErrInvalidOption, channel)
	}
	if strings.HasPrefix(channel, "/u/") || api == apiCometD {
		return apiREST, nil
	}
	return api, nil
}

// outgoingEvent is an event of a publication; it knows its place in the call.
type outgoingEvent = outbox.Event[int]

// A publication is one Publish. It belongs to the goroutine of that.
type publication struct {
	*services
	channel string
	api     string
	route   route
	events  []outgoingEvent

	parent  context.Context // the caller's
	ctx     context.Context // ends with it, and with the client
	box     outbox.Box[int]
	encoded bool

	request []*outgoingEvent // under way
	sent    bool             // the request may have left

	creds   *authenticator.Credentials
	renewed bool            // a new login was wanted, and no answer has come since but that
	backOff backoff.BackOff // nil: nothing was sent again since a request was answered
	ended   error           // what has ended it before its time
}

// A route is the API over which a publication goes.
type route interface {
	// encode fills in the payloads of all events. The error is for all of them; what is wrong with
	// one is its own.
	encode(ctx context.Context, creds *authenticator.Credentials, events []outgoingEvent) error
	// send sends a request. The error is for all its events; sent says that it may have left.
	send(ctx context.Context, creds *authenticator.Credentials, request []*outgoingEvent) (results []outbox.Result, sent bool, err error)
	// again encodes an event anew, after Salesforce has refused it for its schema. It reports false
	// where that is what it was before.
	again(ctx context.Context, creds *authenticator.Credentials, e *outgoingEvent) (changed bool, err error)
	// isOutdated reports whether Salesforce has said that the channel has another schema now.
	isOutdated() bool
}

// take checks the arguments of Publish.
func (p *publication) take(bus *pubsub, api string, events []any) error {
	p.api = api
	values := make([]any, len(events))
	p.events = make([]outgoingEvent, len(events))
	seen := make(map[string]int, len(events))
	for i, value := range events {
		e := &p.events[i]
		if given, ok := value.(*Event); ok && given != nil {
			value = *given
		}
		if given, ok := value.(Event); ok {
			e.ID, value = given.ID, given.Value
		}
		e.Of, values[i] = i, value
		switch err := checkValue(value); {
		case errors.Is(err, errSlice):
			return fmt.Errorf("%w: Publish: event %d: %w: put them into a []any and write Publish(ctx, channel, events...)", ErrInvalidOption, i, err)
		case err != nil:
			return fmt.Errorf("%w: Publish: event %d: %w", ErrInvalidOption, i, err)
		}
		if e.ID == "" {
			continue
		}
		if err := checkEventID(e.ID, api, p.channel); err != nil {
			return fmt.Errorf("%w: Publish: event %d: %w", ErrInvalidOption, i, err)
		}
		if first, ok := seen[e.ID]; ok {
			return fmt.Errorf("%w: Publish: events %d and %d have one ID, %q: ids tell events apart", ErrInvalidOption, first, i, e.ID)
		}
		seen[e.ID] = i
	}
	if api == apiREST {
		p.route = &restRoute{services: p.services, channel: p.channel, values: values, known: &bus.topics, enqueued: make(map[int]bool)}
		return nil
	}
	p.route = &pubsubRoute{services: p.services, bus: bus, channel: p.channel, values: values}
	p.box.Resend = p.cfg.inDoubt == Resend
	ids := outbox.IDs(len(events) - len(seen))
	for i := range p.events {
		if e := &p.events[i]; e.ID == "" {
			e.ID, ids = ids[0], ids[1:]
		}
	}
	return nil
}

var (
	errNoValue  = errors.New("it is nil")
	errPointers = errors.New("it is a pointer to itself, or to too many others")
	errSlice    = errors.New("one event for each argument is wanted")
)

// maxPointers bounds the pointers before a value, which may go round.
const maxPointers = 100

func checkValue(value any) error {
	v := reflect.ValueOf(value)
	for depth := 0; v.Kind() == reflect.Pointer; depth++ {
		if depth == maxPointers {
			return errPointers
		}
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return errNoValue
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) && v.Type().Elem().Kind() != reflect.Uint8:
		return fmt.Errorf("it is a %T: %w", value, errSlice)
	}
	return nil
}

func checkEventID(id, api, channel string) error {
	switch {
	case strings.HasPrefix(channel, "/u/"):
		return errors.New("generic events have no ids: leave ID empty")
	case api == apiREST:
		return errors.New("over REST Salesforce makes the ids: leave ID empty, or publish over the Pub/Sub API")
	case utf8.RuneCountInString(id) > outbox.MaxID:
		return fmt.Errorf("ID %q has more than %d characters: use a UUID", id, outbox.MaxID)
	case !utf8.ValidString(id):
		return fmt.Errorf("ID %q is not UTF-8", id)
	}
	return nil
}

// publish sends the events, and says what has become of them.
func (p *publication) publish() ([]PublishResult, error) {
	ctx, cancel := context.WithCancel(p.parent)
	defer cancel()
	defer context.AfterFunc(p.life.ctx, cancel)() // Close ends it
	p.ctx = ctx
	if err := p.run(); err != nil {
		p.end(err)
	}
	results := make([]PublishResult, len(p.events))
	for i := range p.events {
		e := &p.events[i]
		results[i] = PublishResult{ID: e.ID, ReplayID: e.ReplayID, Outcome: Outcome(e.Outcome), Err: e.Err}
	}
	if rest, ok := p.route.(*restRoute); ok {
		rest.complete(results)
	}
	return results, publishError(p.channel, results, p.ended)
}

// run makes attempts until there is nothing to send. The error ends the events that are left.
func (p *publication) run() error {
	for len(p.events) > 0 && (!p.encoded || p.box.Len() > 0) {
		err := p.attempt()
		again, final := p.settle(err)
		if final != nil {
			return final
		}
		if again && (!p.encoded || p.box.Len() > 0) {
			if err := p.pause(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// attempt sends a request, the first time after all events are encoded.
func (p *publication) attempt() (err error) {
	p.request, p.sent = p.request[:0], false
	if p.creds, err = p.logins.token(p.ctx, tokenRequest{channel: p.channel}); err != nil {
		return err
	}
	if !p.encoded {
		if err := p.route.encode(p.ctx, p.creds, p.events); err != nil {
			return err
		}
		p.encoded = true
		return p.queue()
	}
	p.request = p.box.Cut(p.request)
	var results []outbox.Result
	if results, p.sent, err = p.route.send(p.ctx, p.creds, p.request); err != nil {
		return err
	}
	p.answered(results)
	return nil
}

// queue puts the events into the box if all of them are encoded.
func (p *publication) queue() error {
	for i := range p.events {
		e := &p.events[i]
		if e.Err != nil {
			return errNotEncoded
		}
		if len(e.Payload) > outbox.MaxEvent {
			e.Err = &EncodeError{Channel: p.channel, SchemaID: e.Schema, Index: e.Of, err: fmt.Errorf("it takes %d bytes, and Salesforce takes %d", len(e.Payload), outbox.MaxEvent)}
			e.Outcome, e.Done = outbox.Refused, true
		}
	}
	for i := range p.events {
		if !p.events[i].Done {
			p.box.Add(&p.events[i])
		}
	}
	return nil
}

var errNotEncoded = errors.New("nothing was sent")

// answered does what the results of a request say.
func (p *publication) answered(results []outbox.Result) {
	p.box.Answered()
	outbox.Match(p.request, results, func(e *outgoingEvent, r *outbox.Result) {
		switch {
		case r == nil:
			p.box.Fail(e, outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.AFewMore}, p.noResult())
		case r.Err == nil:
			e.Publish(r.ReplayID)
			p.backOff = nil
		default:
			p.refused(e, r.Err)
		}
	})
}

func (p *publication) noResult() error {
	return &ServerError{API: p.api, Channel: p.channel, Code: Internal, Message: "the answer does not say what has become of the event", request: publishRequest}
}

// refused notes that Salesforce has refused an event of a request.
func (p *publication) refused(e *outgoingEvent, err error) {
	server, ok := errors.AsType[*ServerError](err)
	if !ok {
		p.box.Fail(e, outbox.Setback{Outcome: outbox.InDoubt, Next: outbox.AFewMore}, p.noResult())
		return
	}
	_, s := judgeEvent(server.Reason, server.Message)
	if p.route.isOutdated() && s.Next != outbox.Again {
		s.cure = cureEncode // it may be for the schema
	}
	p.fail(e, s, err)
}

// fail notes the failure of an event, and cures it where it was refused for its schema.
func (p *publication) fail(e *outgoingEvent, s setback, err error) {
	if s.cure == cureEncode {
		switch changed, bad := p.route.again(p.ctx, p.creds, e); {
		case bad != nil:
			s.Next, err = outbox.GiveUp, bad
		case changed:
			s.Next = outbox.Again
		case s.Next == outbox.Again:
			s.Next = outbox.GiveUp // it is the schema that it was refused for
		}
	}
	p.box.Fail(e, s.Setback, err)
}

// settle does what the error of an attempt means for the events of its request. again says that
// there is something to send again, which is to wait; final ends all events.
func (p *publication) settle(err error) (again bool, final error) {
	if ended := p.over(err); ended != nil {
		return false, ended
	}
	if err == nil {
		p.renewed = false
		p.box.Return(p.request)
		for _, e := range p.request {
			again = again || !e.Done
		}
		return again, nil
	}
	if err == errNotEncoded {
		p.ended = err
		return false, err
	}
	s, immediately := judgePublish(err, p.sent), false
	p.renewed = p.renewed && s.cure == cureLogin
	switch s.cure {
	case cureLogin:
		immediately = !p.renewed && p.logins.replace(p.creds)
		if p.renewed = true; !immediately {
			s.Next, s.all = outbox.GiveUp, true
		}
	case cureEncode:
		immediately = true
		for _, e := range p.request {
			p.fail(e, s, err)
		}
	}
	if s.cure != cureEncode {
		p.box.FailAll(p.request, s.Setback, err)
	}
	p.box.Return(p.request)
	if s.Next == outbox.GiveUp && (s.all || len(p.request) == 0) {
		return false, err
	}
	if s.Next == outbox.Smaller && s.Outcome != outbox.InDoubt {
		immediately = true
	}
	return !immediately && s.Next != outbox.GiveUp, nil
}

// over returns what has ended the call: the context of the caller or the end of the client. The
// events of a request that was under way may be there.
func (p *publication) over(err error) error {
	ended := p.parent.Err()
	if p.life.ctx.Err() != nil {
		ended = cmp.Or(p.life.usable(), ErrClosed)
	}
	if ended == nil {
		return nil
	}
	if err != nil {
		s := judgePublish(err, p.sent)
		s.Next = outbox.GiveUp
		if s.Outcome == outbox.InDoubt {
			err = fmt.Errorf("sfstream: %s: no answer came before the call ended: %w", p.channel, ended)
		}
		p.box.FailAll(p.request, s.Setback, err)
	}
	p.ended = ended
	return ended
}

// end gives up what is left of the events.
func (p *publication) end(err error) {
	for i := range p.events {
		p.events[i].End(err)
	}
}

// pause waits before the next attempt. The error is that of the attempt where there is no other
// one, and what has ended the call meanwhile.
func (p *publication) pause(err error) error {
	level := slog.LevelDebug
	if p.backOff == nil {
		p.backOff, level = p.cfg.newBackOff(), slog.LevelInfo
	}
	wait := p.backOff.NextBackOff()
	if wait == backoff.Stop {
		return cmp.Or(err, p.reason())
	}
	wait = max(wait, retryAfter(err), 1)
	p.log.Log(p.ctx, level, "events are sent again", "channel", p.channel, "events", p.box.Len(), "wait", wait, "error", cmp.Or(err, p.reason()))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return p.over(nil)
	}
}

// reason is why an event of the last request is sent again.
func (p *publication) reason() error {
	for _, e := range p.request {
		if e.Err != nil {
			return e.Err
		}
	}
	return nil
}
