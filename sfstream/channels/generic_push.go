package channels

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	wire "github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

const (
	// maxPayload is how many characters an event may have.
	maxPayload = 3000
	// maxPushed and maxPushedBytes bound a request. Salesforce documents no bound: these are what a
	// Publish keeps to.
	maxPushed      = 200
	maxPushedBytes = 3 << 20
)

// A PushEvent is a text to be pushed, and for whom.
type PushEvent struct {
	// Payload is what subscribers get, at most 3,000 characters. Salesforce counts single-byte
	// characters: a text that has others it may refuse earlier.
	Payload string
	// UserIDs are the users whose subscriptions get the event, by ids of 15 or 18 characters. Where
	// there are none, all subscribers get it.
	UserIDs []string
}

// A PushResult is what has become of a PushEvent.
type PushResult struct {
	Outcome sfstream.Outcome
	// FanoutCount is how many of the UserIDs have been reached, because they are online: they have a
	// subscription to the channel. It is -1 of an event that was for all, and 0 unless Outcome is
	// Published.
	FanoutCount int
	// Online says of each of the UserIDs, as they were written, whether it is online.
	Online map[string]bool
}

// Push pushes events on a channel, and returns what has become of each, in their order:
//
//	results, err := generic.Push(ctx, "/u/orders", channels.PushEvent{
//		Payload: "the order A-17 waits for you",
//		UserIDs: []string{"0058c00000ABCDEAAW"},
//	})
//
// This is for events that are for certain users, and for who wants to know whether they are there.
// Events that are for all are published as well by [sfstream.Client.Publish], which takes values,
// not texts alone, and waits where Salesforce is busy.
//
// Requests have at most 200 events and 3 MB, and go one after the other. Whatever the error, there
// is one result for each event. After the first request that fails no other is sent, and none is
// sent again of which Salesforce may have taken the events: where its answer is lost, as where the
// connection breaks, the events are InDoubt. They may have been received, and have no id by which a
// second one would be known. The error says which events it is about; it is [ErrNotFound] where
// there is no such channel.
func (g *Generic) Push(ctx context.Context, name string, events ...PushEvent) ([]PushResult, error) {
	requests, err := pushRequests(name, events)
	if err != nil {
		return nil, err
	}
	results := make([]PushResult, len(events))
	for _, r := range requests {
		of := results[r.from:r.to]
		if err := g.push(ctx, name, r, of); err != nil {
			return results, fmt.Errorf("channels: %s: %w", name, r.failed(of, len(events), err))
		}
	}
	return results, nil
}

// Online returns the ids of the users who have a subscription to a channel, as Salesforce gives
// them.
func (g *Generic) Online(ctx context.Context, name string) ([]string, error) {
	if err := checkGenericName(name); err != nil {
		return nil, err
	}
	var answer struct{ OnlineUserIds []string }
	err := g.at(ctx, name, func(path string) error {
		_, err := g.rest.get(ctx, path, nil, &answer)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("channels: %s: %w", name, err)
	}
	return answer.OnlineUserIds, nil
}

// at calls a function with the path on which a channel's events are pushed. The id in it is
// remembered: where it leads nowhere, the channel may have been made anew, and it is looked for.
func (g *Generic) at(ctx context.Context, name string, call func(path string) error) error {
	const before, after = "sobjects/StreamingChannel/", "/push"
	if id := g.known(name); id != "" {
		if err := call(before + id + after); !errors.Is(err, ErrNotFound) {
			return err
		}
		g.know(name, "")
	}
	channel, err := g.find(ctx, name)
	if err != nil {
		return &notSent{err}
	}
	g.know(name, channel.ID)
	return call(before + channel.ID + after)
}

// notSent is the error of what comes before a request is sent.
type notSent struct{ err error }

func (e *notSent) Error() string { return e.err.Error() }
func (e *notSent) Unwrap() error { return e.err }

// push sends one request and fills in its results.
func (g *Generic) push(ctx context.Context, name string, r pushRequest, results []PushResult) error {
	var answer []struct {
		FanoutCount      *int
		UserOnlineStatus map[string]bool
	}
	err := g.rest.check()
	if err == nil {
		err = cmp.Or(ctx.Err(), g.rest.client.Status().Err)
	}
	if err != nil {
		err = &notSent{err}
	} else {
		err = g.at(ctx, name, func(path string) error { return g.rest.post(ctx, path, r.body, &answer) })
	}
	if err == nil && len(answer) != len(results) {
		err = fmt.Errorf("the answer has %d results", len(answer))
	}
	if err != nil {
		for i := range results {
			results[i].Outcome = outcomeOf(err)
		}
		return err
	}
	for i, a := range answer {
		if a.FanoutCount == nil {
			results[i].Outcome = sfstream.InDoubt
			err = errors.New("the answer does not say what has become of an event")
			continue
		}
		results[i] = PushResult{Outcome: sfstream.Published, FanoutCount: *a.FanoutCount, Online: make(map[string]bool)}
		for _, user := range r.users[i] {
			results[i].Online[user] = isOnline(a.UserOnlineStatus, user)
		}
	}
	return err
}

// isOnline looks a user up whose id may have 15 characters here and 18 there.
func isOnline(status map[string]bool, user string) bool {
	for id, online := range status {
		if short(id) == short(user) {
			return online
		}
	}
	return false
}

// outcomeOf says what is known of the events of a request that failed.
func outcomeOf(err error) sfstream.Outcome {
	server, refused := errors.AsType[*sfstream.ServerError](err)
	failure, failed := errors.AsType[*wire.Failure](err)
	switch {
	case errors.As(err, new(*notSent)), errors.As(err, new(*authenticator.Error)), errors.Is(err, sfstream.ErrInvalidOption), errors.Is(err, sfstream.ErrNotOpen):
		return sfstream.NotSent
	case failed && failure.Unsent:
		return sfstream.NotSent
	case !refused:
		return sfstream.InDoubt
	}
	switch server.Code {
	case sfstream.Unavailable, sfstream.Internal:
		if server.Reason != "UNABLE_TO_LOCK_ROW" { // which Salesforce has rolled back
			return sfstream.InDoubt
		}
	}
	return sfstream.Refused
}

// A pushRequest is the events from one to another, without that, in one request.
type pushRequest struct {
	from, to int
	body     pushBody
	payloads []string
	users    [][]string
}

type pushBody struct {
	PushEvents []json.RawMessage `json:"pushEvents"`
}

// failed is the error of a request after which no other is sent.
func (r *pushRequest) failed(results []PushResult, all int, err error) error {
	outcome, words := results[0].Outcome, "not sent"
	for _, result := range results {
		outcome = max(outcome, result.Outcome)
	}
	switch outcome {
	case sfstream.Refused:
		words = "refused"
	case sfstream.InDoubt:
		words = "in doubt, they may have been received"
	}
	text := fmt.Sprintf("events %d to %d of %d %s", r.from, r.to-1, all, words)
	if r.to-r.from == 1 {
		text = fmt.Sprintf("event %d of %d %s", r.from, all, words)
	}
	if r.to < all && outcome != sfstream.NotSent {
		text += ", and those after them not sent"
	}
	return &pushError{text + ": " + r.hidden(err.Error()), err}
}

// A pushError is the error of a request, and shows nothing of its payloads, whatever is quoted of
// them.
type pushError struct {
	text string
	err  error
}

// Error returns a text with the events that it is about, and the cause.
func (e *pushError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *pushError) Unwrap() error { return e.err }

// hidden returns a text without what it repeats of payloads, as they are or in JSON.
func (r *pushRequest) hidden(text string) string {
	for i, payload := range r.payloads {
		text = hidePieces(hidePieces(text, payload), string(r.body.PushEvents[i]))
	}
	return strings.ToValidUTF8(text, "…")
}

// A piece of leastPiece bytes tells something of a payload; a shorter payload is hidden as a whole
// from shortPayload on: what is still shorter may be any word.
const (
	leastPiece   = 16
	shortPayload = 6
)

// hidePieces replaces in a text what is a piece of another one. What is quoted may be cut.
func hidePieces(text, of string) string {
	least := min(leastPiece, len(of))
	if least < shortPayload {
		return text
	}
	var b strings.Builder
	for from := 0; from < len(text); {
		to := from + least
		if to > len(text) || !strings.Contains(of, text[from:to]) {
			b.WriteByte(text[from])
			from++
			continue
		}
		for to < len(text) && strings.Contains(of, text[from:to+1]) {
			to++
		}
		b.WriteString("…")
		from = to
	}
	return b.String()
}

// pushRequests checks the arguments of Push, and makes requests of them.
func pushRequests(name string, events []PushEvent) ([]pushRequest, error) {
	if err := checkGenericName(name); err != nil {
		return nil, err
	}
	var requests []pushRequest
	size := 0
	for i, e := range events {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("%w: generic channel %s: event %d: %w", sfstream.ErrInvalidOption, name, i, err)
		}
		text, err := json.Marshal(map[string]any{"payload": e.Payload, "userIds": append([]string{}, e.UserIDs...)})
		if err != nil {
			return nil, err
		}
		last := len(requests) - 1
		if last < 0 || i-requests[last].from == maxPushed || size+len(text) > maxPushedBytes {
			requests, size = append(requests, pushRequest{from: i}), 0
			last++
		}
		r := &requests[last]
		r.to, size = i+1, size+len(text)+len(",")
		r.body.PushEvents = append(r.body.PushEvents, text)
		r.payloads, r.users = append(r.payloads, e.Payload), append(r.users, e.UserIDs)
	}
	return requests, nil
}

// check says what is wrong with an event, and shows nothing of its payload.
func (e *PushEvent) check() error {
	if n := utf8.RuneCountInString(e.Payload); n > maxPayload {
		return fmt.Errorf("its payload has %d characters, and Salesforce takes %d", n, maxPayload)
	}
	if !utf8.ValidString(e.Payload) {
		return errors.New("its payload is not UTF-8")
	}
	for _, id := range e.UserIDs {
		if !recordID.MatchString(id) {
			return fmt.Errorf("user id %.50q: an id has 15 or 18 letters and digits", id)
		}
	}
	return nil
}
