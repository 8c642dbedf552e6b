package sfstream

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

var (
	// ErrClosed is returned by calls on a client after Close.
	ErrClosed = errors.New("sfstream: the client is closed")

	// ErrNotOpen is returned by calls on a client before Open has succeeded.
	ErrNotOpen = errors.New("sfstream: the client is not open: call Open first")

	// ErrAlreadySubscribed is returned by Subscribe for a channel that the client already follows.
	// With another filter or transport it is still the same channel.
	ErrAlreadySubscribed = errors.New("sfstream: already subscribed")

	// ErrNotSubscribed is returned by Unsubscribe for a channel that the client does not follow.
	ErrNotSubscribed = errors.New("sfstream: not subscribed")

	// ErrUnsubscribed is wrapped by the error of Subscribe if Unsubscribe was called for the
	// channel before Salesforce answered.
	ErrUnsubscribed = errors.New("sfstream: unsubscribed while subscribing")

	// ErrInvalidOption is wrapped by the errors of New, Subscribe, Run and Serve for an option or a
	// channel name that cannot work, and by those of Do, Query, Refetch and Publish for what cannot
	// be meant. The message names it. Nothing was sent.
	ErrInvalidOption = errors.New("sfstream: invalid option")
)

// Code says what kind of refusal a server's error is, whichever API it came from.
type Code int

const (
	// Internal is a fault of the server. The client retries.
	Internal Code = iota
	// Unavailable is a server or a network that does not answer now. The client retries.
	Unavailable
	// Unauthenticated is a token that Salesforce does not accept (any more). The client logs in
	// again.
	Unauthenticated
	// PermissionDenied means that the user may not do this.
	PermissionDenied
	// NotFound is a channel, a schema or an API that does not exist (for this user).
	NotFound
	// ReplayInvalid is a replay id that Salesforce does not know (any more).
	ReplayInvalid
	// LimitExceeded is an allocation of the org or the user that is used up. The client retries
	// slowly.
	LimitExceeded
	// Invalid is a request that can never succeed.
	Invalid
)

// String returns the name of the code, as in "NotFound".
func (c Code) String() string {
	names := [...]string{"Internal", "Unavailable", "Unauthenticated", "PermissionDenied", "NotFound", "ReplayInvalid", "LimitExceeded", "Invalid"}
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("Code(%d)", int(c))
	}
	return names[c]
}

// A ServerError is what Salesforce, or something on the way to it, answered. It unwraps to the gRPC
// status, or to the error of the HTTP request.
type ServerError struct {
	API     string // "pubsub", "cometd" or "rest"
	Channel string // empty for REST
	Code    Code
	// Reason is the server's own code if it gives one, such as
	// "sfdc.platform.eventbus.grpc.topic.not.found", "403::Unknown client" or
	// "REQUIRED_FIELD_MISSING".
	Reason  string
	Message string
	Fields  []string // the fields of a record that it is about; REST alone says so
	// RPCID identifies the call; Salesforce's support asks for it. Answers of proxies have none.
	RPCID string
	// RetryAfter is how long the client waits before it tries again, if that is longer than its own
	// backoff; else zero. For REST it is how long Salesforce wants the program to wait.
	RetryAfter time.Duration

	session  bool // Streaming API: it concerns the whole session, whichever message it answers
	restOnly bool // with Unauthenticated: the token was a JWT
	unknown  unknown
	oversize bool       // the response is larger than the client accepts
	moved    *relocated // the org's instance is not at the URL that we ask; nil: nothing says so
	request  string     // REST: the method and the path, without the query; else publishRequest where it is of publishing
	err      error
}

// publishRequest is ServerError.request of publishing over the Pub/Sub API.
const publishRequest = "publish"

// relocated says where the org's instance is now: its URL without path, empty where nobody says.
type relocated struct{ to string }

// unknown says whether we understand the server's answer. An answer that nobody knows may pass or
// be final, so the client retries for a while before it believes it.
type unknown int

const (
	known          unknown = iota
	unknownWords           // its words are not known, and its code does not say that our request is at fault
	unknownRefusal         // its code says that the server refuses what we asked for, but its words are not known
)

// Error returns a text with the channel (for REST the method and the path), the refusal, the rpc id
// and the next step.
func (e *ServerError) Error() string {
	var b strings.Builder
	about := e.Channel
	switch {
	case e.API == apiREST:
		about = e.request
	case about == "":
		about = "Streaming API"
	}
	fmt.Fprintf(&b, "sfstream: %s: %s: %s", about, e.Code, e.said())
	if remedy := e.Remedy(); remedy != "" {
		b.WriteString(": ")
		b.WriteString(remedy)
	}
	return oneline.Text(b.String())
}

// said returns what the server said, with its id of the call.
func (e *ServerError) said() string {
	said := e.Message
	if said == "" {
		said = "no reason given"
		if e.err != nil {
			said += ": " + e.err.Error()
		}
	}
	if e.RPCID != "" {
		said += " (rpc id " + e.RPCID + ")"
	}
	return said
}

// Unwrap returns the gRPC status, or the error of the HTTP request.
func (e *ServerError) Unwrap() error { return e.err }

// Remedy returns the next step, with which the text of [ServerError.Error] ends, for programs that
// show it apart from what happened or in words of their own. It names options as they are called in
// Go, and is empty if there is none to tell.
func (e *ServerError) Remedy() string {
	if e.moved != nil {
		to := "the org's present one (Setup, My Domain)"
		if e.moved.to != "" {
			to = e.moved.to
		}
		return "the org seems to have moved to another instance, which a new login names; authenticator.Static cannot log in: set its InstanceURL to " + to
	}
	if e.API == apiREST && e.Code != Unauthenticated {
		return e.remedyREST()
	}
	if remedy := managedRemedy(e.Reason); remedy != "" {
		return remedy
	}
	if remedy := e.channelRemedy(); remedy != "" {
		return remedy
	}
	if e.request == publishRequest {
		switch e.Code {
		case PermissionDenied:
			return "give the user Create on the event; Salesforce alone publishes most standard events"
		case Invalid, Internal:
			return ""
		}
	}
	switch e.Code {
	case NotFound:
		return "check the channel's spelling and case, that Change Data Capture is enabled for the object, and that the user may read it"
	case PermissionDenied:
		return "give the user Read on the event, or View All on the object"
	case Unauthenticated:
		if e.restOnly {
			return restOnlyAdvice
		}
		return "check that the access token has not ended, that its session is not locked to an IP address, and that the instance URL and org id are the token's own"
	case ReplayInvalid:
		return "choose WithReplayFallback, or start elsewhere with From"
	case Internal:
		if e.oversize {
			return "Salesforce splits responses at 3 MB, and the client takes 16 MB unless WithPubSubDialOptions sets another limit"
		}
		return ""
	case LimitExceeded:
		return "see the org's event allocations in Setup"
	case Unavailable:
		if e.API == apiCometD {
			return "check the instance URL, and that proxies let a request wait for two minutes"
		}
		return "check the endpoint (WithPubSubEndpoint) and that the network lets gRPC through to it"
	default:
		return ""
	}
}

// channelRemedy is Remedy for a channel that is not there, or not for the user, where its kind says
// more than the code.
func (e *ServerError) channelRemedy() string {
	if e.Code != NotFound && e.Code != PermissionDenied {
		return ""
	}
	switch {
	case strings.HasPrefix(e.Channel, "/topic/"):
		return "check the PushTopic's name and case, that it is active, and that the user may read its object and the fields of its query"
	case strings.HasPrefix(e.Channel, "/u/"):
		return "check the name and case of the StreamingChannel record and that the user may read it, or let the org create channels dynamically"
	case strings.HasSuffix(e.Channel, "__chn") && e.Code == NotFound:
		return "check the spelling and case of the custom channel, which begins with /data/ or /event/ as its ChannelType says, and that the user may see it"
	case strings.HasPrefix(e.Channel, "/event/") && e.Code == NotFound:
		return "check the channel's spelling and case, and that the user may see the event"
	}
	return ""
}

// managedReason begins what Salesforce gives as reason for managed subscriptions.
const managedReason = "managed.subscription."

// managedRemedy is ServerError.Remedy for a reason that is one of managed subscriptions.
func managedRemedy(reason string) string {
	_, what, _ := strings.Cut(reason, managedReason)
	switch what {
	case "already.active":
		return "another client follows the managed subscription, or has lost its connection: then Salesforce frees it after about 15 minutes"
	case "config.stopped":
		return "set the state of the managed subscription to RUN; what was committed is deleted, and it begins at its defaultReplay"
	case "config.deleted", "developer.name.not.found", "subscription.id.not.found":
		return "check the developer name or id in ManagedEventSubscription of the Tooling API, and that the login is of the same org"
	}
	return ""
}

const restOnlyAdvice = "the access token is a JWT, which Salesforce takes for REST only: turn off JWT-based access tokens in the app's settings"

// An AuthError says that a login failed. It unwraps to the *authenticator.Error, or to the
// *[ServerError] of a server that refused one fresh token after another.
type AuthError struct {
	LoginURL string
	// Channel is the channel whose subscription failed by this error; empty if none did.
	Channel string
	after   time.Duration // how long until the next login may be tried
	err     error
}

// Error returns a text with the login host, the channel and the cause.
func (e *AuthError) Error() string {
	if e.Channel != "" {
		return oneline.Text(fmt.Sprintf("sfstream: %s: login at %s: %v", e.Channel, e.LoginURL, e.err))
	}
	return oneline.Text(fmt.Sprintf("sfstream: login at %s: %v", e.LoginURL, e.err))
}

// Unwrap returns the cause.
func (e *AuthError) Unwrap() error { return e.err }

// A ReplayError says that the stored position of a channel is of no use any more: it is too old (72
// hours; 24 for /topic and /u), or replay ids have begun anew, as when a sandbox is refreshed or
// updated and when an org is moved. Events may have been missed. [WithReplayFallback] decides what
// happens in place of this error.
type ReplayError struct {
	Channel string
	Marker  replaystore.Marker // the position that Salesforce refused
	err     error
}

// Error returns a text with the channel, the position and the choices.
func (e *ReplayError) Error() string {
	at := ""
	if !e.Marker.Date.IsZero() {
		at = " of " + e.Marker.Date.UTC().Format(time.RFC3339)
	}
	said := fmt.Sprint(e.err)
	if server, ok := errors.AsType[*ServerError](e.err); ok {
		said = server.said() // the channel is named, and so is the next step
	}
	return oneline.Text(fmt.Sprintf("sfstream: %s: replay id %s%s is too old or not of this org (sandboxes begin replay ids anew when they are "+
		"refreshed or updated, orgs when they are moved): events may have been missed: %s: "+
		"resume with WithReplayFallback(FallbackAll), or give a start with From", e.Channel, replayid.Text(e.Marker.ReplayID), at, said))
}

// Unwrap returns the *[ServerError].
func (e *ReplayError) Unwrap() error { return e.err }

// A DecodeError says why a payload cannot be read. It concerns one message only: the stream goes
// on, and [Message.Raw] returns the bytes. Of a [Record] it has the Field alone.
type DecodeError struct {
	Channel  string
	SchemaID string
	ReplayID []byte
	Field    string // dotted path, as in "BillingAddress.City"; empty if it concerns the whole payload
	record   string // of Query and Refetch: the object and the id; empty: it is an event
	err      error
}

// Error returns a text with the channel, the replay id, the schema and the field, or with the
// record and the field.
func (e *DecodeError) Error() string {
	if e.record != "" {
		return oneline.Text(fmt.Sprintf("sfstream: %s: cannot decode %s: %v", e.record, cmp.Or(e.Field, "the record"), e.err))
	}
	field := ""
	if e.Field != "" {
		field = ", field " + e.Field
	}
	return oneline.Text(fmt.Sprintf("sfstream: %s: cannot decode event %s (schema %q%s): %v", e.Channel, replayid.Text(e.ReplayID), e.SchemaID, field, e.err))
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.err }

// A PublishError says that not all events of a call were published, which they are, and why. It
// unwraps to the errors of these events and, where the call was ended before its time, to what has
// ended it: the error of its context, or [ErrClosed].
type PublishError struct {
	Channel string
	// Failed are the indexes of the events that were not published, or of which that is not known,
	// in ascending order.
	Failed []int

	results []PublishResult
	ended   error // what has ended the call; nil: nothing
}

// shownFailures is how many events the text of a PublishError tells of.
const shownFailures = 5

// Error returns a text with the channel, how many events have which outcome, and the reasons of the
// first ones.
func (e *PublishError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sfstream: %s: %d of %d events not published", e.Channel, len(e.Failed), len(e.results))
	if doubt := e.count(InDoubt); doubt > 0 {
		fmt.Fprintf(&b, " (%d in doubt)", doubt)
	}
	if e.ended != nil {
		fmt.Fprintf(&b, ": %v", e.ended)
	}
	shown := 0
	for at := 0; at < len(e.Failed) && shown < shownFailures; shown++ {
		i, next := e.Failed[at], at+1
		r := e.results[i]
		for next < len(e.Failed) && sameError(e.results[e.Failed[next]].Err, r.Err) {
			next++ // one reason for many is told once
		}
		what := fmt.Sprintf("event %d", i)
		if next-at > 1 {
			what = fmt.Sprintf("events %d to %d", i, e.Failed[next-1])
		}
		if r.Err != nil && !sameError(r.Err, e.ended) {
			reason := strings.TrimPrefix(r.Err.Error(), "sfstream: "+e.Channel+": ")
			if _, ok := errors.AsType[*EncodeError](r.Err); !ok || r.Outcome != NotSent { // which says both
				reason = what + " " + outcomeWords[r.Outcome] + ": " + reason
			}
			b.WriteString(": " + reason)
		}
		at = next
		if shown == shownFailures-1 && at < len(e.Failed) {
			b.WriteString("; …")
		}
	}
	return oneline.Text(b.String())
}

var outcomeWords = map[Outcome]string{NotSent: "not sent", Refused: "refused", InDoubt: "in doubt"}

func (e *PublishError) count(o Outcome) (n int) {
	for _, i := range e.Failed {
		if e.results[i].Outcome == o {
			n++
		}
	}
	return n
}

// Unwrap returns what has ended the call, if anything has, and the error of each event that was not
// published; an error of several events once.
func (e *PublishError) Unwrap() []error {
	var errs []error
	if e.ended != nil {
		errs = append(errs, e.ended)
	}
	seen := map[error]bool{}
	for _, i := range e.Failed {
		err := e.results[i].Err
		if err == nil || sameError(err, e.ended) || reflect.ValueOf(err).Comparable() && seen[err] {
			continue
		}
		if errs = append(errs, err); reflect.ValueOf(err).Comparable() {
			seen[err] = true
		}
	}
	return errs
}

// sameError reports whether two errors are one.
func sameError(a, b error) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return !x.IsValid() && !y.IsValid() || x.IsValid() && y.IsValid() && x.Comparable() && y.Comparable() && a == b
}

// publishError returns the *PublishError of results, nil where all events are published.
func publishError(channel string, results []PublishResult, ended error) error {
	e := &PublishError{Channel: channel, results: results, ended: ended}
	for i := range results {
		if results[i].Outcome != Published {
			e.Failed = append(e.Failed, i)
		}
	}
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}

// An EncodeError says why a value cannot be published. It is found before anything is sent.
type EncodeError struct {
	Channel  string
	SchemaID string // empty over REST
	Field    string // dotted path, as in "Address__c.City"; empty if it concerns the whole event
	Index    int    // of the event in the call
	err      error
}

// Error returns a text with the channel, the event's index, the schema and the field.
func (e *EncodeError) Error() string {
	about := fmt.Sprintf("event %d", e.Index)
	if e.SchemaID != "" {
		about += fmt.Sprintf(" (schema %q)", e.SchemaID)
	}
	if e.Field != "" {
		about += ": field " + e.Field
	}
	return oneline.Text(fmt.Sprintf("sfstream: %s: cannot encode %s: %v", e.Channel, about, e.err))
}

// Unwrap returns the cause.
func (e *EncodeError) Unwrap() error { return e.err }

// A StoreError says that the replay store failed. A client ends with it after five minutes in which
// it could save no marker, and at once where the store says that another process has the channels.
type StoreError struct {
	Op      string // "load", "save", "hold" or "advance"
	Channel string // empty if several are concerned
	err     error
}

// Error returns a text with the operation, the channel and the cause.
func (e *StoreError) Error() string {
	if e.Channel == "" {
		return oneline.Text(fmt.Sprintf("sfstream: replay store: %s: %v", e.Op, e.err))
	}
	return oneline.Text(fmt.Sprintf("sfstream: %s: replay store: %s: %v", e.Channel, e.Op, e.err))
}

// Unwrap returns the store's error.
func (e *StoreError) Unwrap() error { return e.err }

// A TimeoutError ends a client that could not reconnect within [WithReconnectTimeout], or whose
// [WithBackOff] policy returned backoff.Stop.
type TimeoutError struct {
	Channel string
	Down    time.Duration // how long the channel was disconnected
	err     error
}

// Error returns a text with the channel, the time and the last failure.
func (e *TimeoutError) Error() string {
	return oneline.Text(fmt.Sprintf("sfstream: %s: disconnected for %s, giving up: %v", e.Channel, e.Down.Round(time.Millisecond), e.err))
}

// Unwrap returns the last failure.
func (e *TimeoutError) Unwrap() error { return e.err }

// Timeout returns true, as a net.Error does for a timeout.
func (e *TimeoutError) Timeout() bool { return true }

// The types below are printed by name, not by number, in logs and in JSON.

// MarshalText returns the name that String returns.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (s *State) UnmarshalText(text []byte) error { return fromName(s, text) }

// MarshalText returns the name that String returns.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (c *Code) UnmarshalText(text []byte) error { return fromName(c, text) }

// MarshalText returns the name that String returns.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (t *Transport) UnmarshalText(text []byte) error { return fromName(t, text) }

// MarshalText returns the name that String returns.
func (f Fallback) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (f *Fallback) UnmarshalText(text []byte) error { return fromName(f, text) }

// MarshalText returns the name that String returns.
func (e TransactionEnd) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (e *TransactionEnd) UnmarshalText(text []byte) error { return fromName(e, text) }

// MarshalText returns the name that String returns.
func (p AckPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (p *AckPolicy) UnmarshalText(text []byte) error { return fromName(p, text) }

// String names the policy, as in "AckManual".
func (p AckPolicy) String() string {
	names := [...]string{"AckAuto", "AckOnReceive", "AckManual"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("AckPolicy(%d)", int(p))
	}
	return names[p]
}

// fromName sets into to the constant of that name. No type here has sixteen constants.
func fromName[T interface {
	~int
	fmt.Stringer
}](into *T, text []byte) error {
	for value := T(0); value < 16; value++ {
		if name := value.String(); name == string(text) && !strings.Contains(name, "(") {
			*into = value
			return nil
		}
	}
	return fmt.Errorf("sfstream: no %T is called %.40q", *into, text)
}
