package sfstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// A CheckOption says what [Status.Check] calls well.
type CheckOption func(*checkConfig) error

type checkConfig struct {
	disconnected, lag, store time.Duration // 0: not looked at
	marker                   float64       // 0: not looked at
}

// WithMaxDisconnected sets how long a channel may be disconnected. The default is 10 minutes; 0
// means for ever. Salesforce may be silent for 270 seconds after an outage of the Pub/Sub API, and
// [ChannelStatus].DisconnectedSince with it, so that less than 5 minutes may be too little for a
// quiet channel.
func WithMaxDisconnected(d time.Duration) CheckOption {
	return func(c *checkConfig) error {
		c.disconnected = d
		return notNegative("WithMaxDisconnected", d)
	}
}

// WithMaxLag sets how old the oldest event may be that is not handled. The default is 0, any age: a
// slow consumer is well until its marker grows too old, see [WithMaxMarkerAge].
func WithMaxLag(d time.Duration) CheckOption {
	return func(c *checkConfig) error {
		c.lag = d
		return notNegative("WithMaxLag", d)
	}
}

// WithMaxMarkerAge sets how old a marker may be, as a share of the time for which Salesforce keeps
// the channel's events: beyond that time a restart loses some. The default is 0.5, which is 36 of
// 72 hours, or 12 of 24 for /topic and /u; 0 means any age, and more than 1 is [ErrInvalidOption].
func WithMaxMarkerAge(share float64) CheckOption {
	return func(c *checkConfig) error {
		if !(share >= 0 && share <= 1) { // nor NaN
			return fmt.Errorf("%w: WithMaxMarkerAge: %v is not between 0 and 1", ErrInvalidOption, share)
		}
		c.marker = share
		return nil
	}
}

// WithMaxStoreFailure sets how long the replay store may fail. The default is one minute; 0 means
// for ever. A client whose store fails for five minutes ends.
func WithMaxStoreFailure(d time.Duration) CheckOption {
	return func(c *checkConfig) error {
		c.store = d
		return notNegative("WithMaxStoreFailure", d)
	}
}

func notNegative(option string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%w: %s: %v is negative", ErrInvalidOption, option, d)
	}
	return nil
}

// A Trouble is what kind of thing is not well.
type Trouble string

const (
	// TroubleEnded is a client that is not open or has stopped, or a channel that has ended.
	TroubleEnded Trouble = "ended"
	// TroubleRefused is a channel that Salesforce does not let the user follow, or not now: by a
	// denial, a name that it does not know, or an allocation that is used up.
	TroubleRefused Trouble = "refused"
	// TroubleDisconnected is a channel that is disconnected for longer than [WithMaxDisconnected].
	TroubleDisconnected Trouble = "disconnected"
	// TroubleLag is a channel of which an event is unhandled that is older than [WithMaxLag].
	TroubleLag Trouble = "lag"
	// TroubleMarker is a channel whose marker is older than [WithMaxMarkerAge].
	TroubleMarker Trouble = "marker"
	// TroubleStore is a replay store that fails for longer than [WithMaxStoreFailure].
	TroubleStore Trouble = "store"
)

// A Problem is one thing that is not well. It unwraps to its cause.
type Problem struct {
	Channel string // empty: it is about the client
	Trouble Trouble
	Since   time.Time // zero: not known
	Detail  string    // the trouble in words, with for how long, without the cause
	Err     error     // the cause; nil where there is none
}

// Error returns one line: the channel, what is wrong with it, since when, and the cause.
func (p *Problem) Error() string {
	about := p.Channel
	if about == "" {
		about = "client"
	}
	text := "sfstream: " + about + ": " + p.Detail
	if !p.Since.IsZero() {
		text += ", since " + p.Since.UTC().Format(time.RFC3339)
	}
	if p.Err != nil {
		cause := strings.TrimPrefix(p.Err.Error(), "sfstream: ")
		text += ": " + strings.TrimPrefix(cause, about+": ")
	}
	return oneline.Text(text)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// A HealthError says what is not well with a client. It unwraps to its problems, so that errors.As
// finds a *[Problem] and what Salesforce said.
type HealthError struct {
	Problems []Problem // at least one: those of the client first, then by channel
}

// Error returns one line for each problem.
func (e *HealthError) Error() string {
	lines := make([]string, len(e.Problems))
	for i := range e.Problems {
		lines[i] = e.Problems[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (e *HealthError) Unwrap() []error {
	all := make([]error, len(e.Problems))
	for i := range e.Problems {
		all[i] = &e.Problems[i]
	}
	return all
}

// Check returns nil if all is well, else a *[HealthError] that says which channel is not, since
// when and why; [ErrInvalidOption] for an option that means nothing. Not well are
//
//   - a client that is not open or has stopped, and a channel that has ended;
//   - a channel that is refused, or disconnected for longer than [WithMaxDisconnected];
//   - a channel whose oldest unhandled event is older than [WithMaxLag], if that is set;
//   - a channel whose marker is older than [WithMaxMarkerAge];
//   - a store that fails for longer than [WithMaxStoreFailure].
//
// A quiet channel, a slow consumer with its parked channels, and a client that follows no channel
// yet are well.
func (s Status) Check(opts ...CheckOption) error {
	c := checkConfig{disconnected: 10 * time.Minute, store: time.Minute, marker: 0.5}
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			return err
		}
	}
	if s.At.IsZero() {
		s.At = time.Now()
	}
	problems := s.problems(&c)
	if len(problems) == 0 {
		return nil
	}
	return &HealthError{Problems: problems}
}

func (s *Status) problems(c *checkConfig) (all []Problem) {
	if s.Err != nil {
		p := Problem{Channel: channelOf(s.Err), Trouble: TroubleEnded, Since: s.EndedAt, Detail: "the client has stopped", Err: s.Err}
		switch {
		case errors.Is(s.Err, ErrNotOpen):
			p.Detail, p.Err = "not open: Open has not succeeded", nil
		case errors.Is(s.Err, ErrClosed):
			p.Detail, p.Err = "closed", nil
		}
		return append(all, p) // its channels have ended with it
	}
	if failing := s.since(s.StoreFailingSince); c.store > 0 && failing > c.store {
		all = append(all, Problem{
			Trouble: TroubleStore, Since: s.StoreFailingSince, Err: s.StoreError,
			Detail: "no marker was saved for " + rounded(failing),
		})
	}
	for i := range s.Channels {
		all = append(all, s.channelProblems(&s.Channels[i], c)...)
	}
	return all
}

func (s *Status) channelProblems(ch *ChannelStatus, c *checkConfig) (all []Problem) {
	add := func(t Trouble, since time.Time, err error, detail string, args ...any) {
		all = append(all, Problem{Channel: ch.Channel, Trouble: t, Since: since, Detail: fmt.Sprintf(detail, args...), Err: err})
	}
	down := s.since(ch.DisconnectedSince)
	var failed error // of this outage
	if !ch.DisconnectedSince.IsZero() && !ch.LastErrorAt.Before(ch.DisconnectedSince) {
		failed = ch.LastError
	}
	switch {
	case ch.State == StateEnded:
		add(TroubleEnded, ch.StateSince, nil, "it has ended")
	case isRefusal(failed):
		add(TroubleRefused, ch.DisconnectedSince, failed, "refused for %s", rounded(down))
	case c.disconnected > 0 && down > c.disconnected:
		add(TroubleDisconnected, ch.DisconnectedSince, failed, "disconnected for %s", rounded(down))
	}
	if c.lag > 0 && ch.Lag > c.lag {
		add(TroubleLag, s.At.Add(-ch.Lag), nil, "the oldest unhandled event is %s old", rounded(ch.Lag))
	}
	if limit := time.Duration(c.marker * float64(ch.Retention)); limit > 0 && ch.MarkerAge > limit {
		add(TroubleMarker, s.At.Add(-ch.MarkerAge), nil,
			"its marker is %s old, and Salesforce keeps events for %s: a restart may lose some soon", rounded(ch.MarkerAge), rounded(ch.Retention))
	}
	return all
}

// channelOf returns the channel that a terminal error is about, empty where it is about none.
func channelOf(err error) string {
	if e, ok := errors.AsType[*ReplayError](err); ok {
		return e.Channel
	}
	if e, ok := errors.AsType[*TimeoutError](err); ok {
		return e.Channel
	}
	if e, ok := errors.AsType[*AuthError](err); ok {
		return e.Channel
	}
	if e, ok := errors.AsType[*ServerError](err); ok {
		return e.Channel
	}
	return ""
}

// since returns how long ago a moment was, 0 where it is not known.
func (s *Status) since(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return s.At.Sub(at)
}

func rounded(d time.Duration) string { return d.Round(time.Second).String() }

// isRefusal reports whether Salesforce has answered, and said no to what was asked for.
func isRefusal(err error) bool {
	var server *ServerError
	if !errors.As(err, &server) || server.unknown != known {
		return false
	}
	switch server.Code {
	case PermissionDenied, NotFound, LimitExceeded, Invalid:
		return true
	}
	return false
}
