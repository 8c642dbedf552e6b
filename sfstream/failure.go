package sfstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
)

// This file judges failures: what an error calls for, and what follows from it for a channel.
// Nothing here waits, logs, calls a hook or takes a lock. carryout.go judges the end of a session,
// and does what a verdict says.

const (
	// deniedFor is how long the client tries on where a channel that Salesforce has accepted before
	// is denied: changes of permissions and channels take Salesforce 10 minutes.
	deniedFor = 10 * time.Minute

	// deniedEvery is the pause between two attempts meanwhile.
	deniedEvery = 30 * time.Second

	// fallBackEvery is how often a channel may fall back without a pause.
	fallBackEvery = time.Minute

	// repeatsTried is how often a stream is opened again at a position at which the server says
	// that replay ids repeat.
	repeatsTried = 3

	// managedLag is how long a managed subscription may be unknown: Salesforce may know it only
	// some time after it was made.
	managedLag = 15 * time.Second

	// managedLagEvery is the pause between two attempts meanwhile.
	managedLagEvery = 2 * time.Second

	// firstPossibleGap is the pause before a channel resumes after its second possible gap within
	// the retention.
	firstPossibleGap = time.Minute

	// longestWait bounds every wait that a server asks for, because a mistake of the server must
	// not silence a client for ever.
	longestWait = time.Hour
)

// An action is what an error calls for.
type action int

const (
	actionRetry        action = iota // back off, then open again from the position
	actionResume                     // the server ended an idle stream politely: open again when there is room
	actionReauthorize                // Salesforce does not take the token any more: log in again
	actionFallback                   // Salesforce does not know the replay id: the fallback policy decides
	actionRelocate                   // the instance is not there any more: a new login names another one
	actionDenied                     // the user may not follow the channel, or it does not exist: may pass
	actionRetryUnknown               // words that nobody knows: may pass, and are believed when nothing else is said for long
	actionGiveUp                     // no retry cures it
)

// String names the action for log lines and tests.
func (a action) String() string {
	return [...]string{"retry", "resume", "reauthorize", "fallback", "relocate", "denied", "retry the unknown", "give up"}[a]
}

// classify says what an error of either transport calls for. Nothing else decides by codes.
func classify(err error) action {
	if err == errReopen {
		return actionResume
	}
	if err == io.EOF { // not within: a torn connection says EOF too
		return actionResume // status OK: 60 s without demand, not an end of the channel
	}
	if errors.Is(err, errSessionGone) {
		return actionResume // a load balancer's cookie ran out: three hours are normal
	}
	var server *ServerError
	if errors.As(err, &server) {
		if server.moved != nil {
			return actionRelocate
		}
		if server.unknown != known {
			return actionRetryUnknown
		}
		switch server.Code {
		case Unauthenticated:
			return actionReauthorize
		case ReplayInvalid:
			return actionFallback
		case PermissionDenied, NotFound:
			if strings.HasSuffix(server.Reason, "managed.subscription.config.deleted") {
				return actionGiveUp
			}
			return actionDenied // permission and channel changes show within 10 minutes, releases pass
		case Invalid:
			return actionGiveUp // our request is wrong: the same one fails again
		default:
			return actionRetry // LimitExceeded too: its RetryAfter makes it slow
		}
	}
	if errors.Is(err, ErrInvalidOption) || errors.Is(err, errOtherOrg) {
		return actionGiveUp
	}
	var auth *AuthError
	if errors.As(err, &auth) && authenticator.Permanent(auth.err) && !errors.Is(err, context.DeadlineExceeded) {
		return actionGiveUp // never repeat a rejected login: it locks the account
	}
	return actionRetry
}

// A verdict is what follows from a failure, of one channel or of a link. The zero verdict says:
// open again at once, from the position.
type verdict struct {
	err    error  // the failure
	action action // what the failure calls for
	notice notice // how it is told

	fatal         error // this error ends the channel, or the link where the session has ended
	endUnaccepted bool  // channels that Salesforce has never accepted end with err: it is Subscribe's answer
	relogin       relogin
	wait          time.Duration // the next attempt comes no sooner
	pacing        pacing        // what else bounds the wait from below

	// The rest is set only in a verdict of one channel.
	history history // what the channel remembers from now on
	resume  resumption
	gap     *Gap   // nil: there is none
	warning string // for the log; empty: there is none
}

// A notice is how a failure is told in the status, in the log and to hooks. Its gap and its warning
// are told in any case.
type notice int

const (
	noticeNone         notice = iota
	noticeDisconnected        // a session has failed
	noticeRefused             // a channel is refused while its session lives on
	noticeResumed             // the server has ended a session that was of use: for debugging only
	noticeParted              // the server has ended a short session politely: told if it does so again
)

// A relogin is why a new login is wanted before the next attempt.
type relogin int

const (
	reloginNone    relogin = iota
	reloginRefused         // Salesforce refuses the token
	reloginDenied          // a channel is denied, and a new token may have newer permissions
	reloginMoved           // the instance is not where the token says
)

// A pacing is what bounds the wait before the next attempt from below.
type pacing int

const (
	unpaced   pacing = iota
	byServer         // what the server asks for
	byLink           // that, and the backoff of the link
	byChannel        // that, and the backoff of the channel where it is refused while its session lives on
)

// A resumption is where the next session of a channel begins.
type resumption int

const (
	resumeAtPosition  resumption = iota // after what was received
	resumeAtGroup                       // before the events of one replay id that are not all received
	resumeQuiet                         // at the oldest retained event: nothing has come since the position
	resumePossibleGap                   // at the oldest retained event: what has come before is skipped
	resumeOldest                        // at the oldest retained event, as FallbackAll says
	resumeNew                           // at what comes from now on, as FallbackNew says
	resumeServers                       // where the managed subscription says
)

// A history is what a channel remembers of its failures.
type history struct {
	denied     time.Time // since when an accepted channel is denied; zero: it is not
	deniedLast time.Time // when it was denied last
	unknown    wording
	fellBack   time.Time // when a stale replay id was last dealt with
	possible   time.Time // when the last possible gap was
	possibles  int       // how many there were within the retention
	repeated   []byte    // the position at which the server last said that replay ids repeat
	repeatedly int       // how often in a row the server said so at that position
}

// worked forgets what a channel that works again has overcome.
func (h *history) worked() { h.denied, h.unknown = time.Time{}, wording{} }

// repeatsAt reports whether the server has last said at a position that replay ids repeat.
func (h *history) repeatsAt(id []byte) bool { return len(id) > 0 && bytes.Equal(h.repeated, id) }

// A wording is an answer that nobody knows, and since when there was no other.
type wording struct {
	text  string
	since time.Time
	last  time.Time
}

// A situation is what the judge knows of a channel.
type situation struct {
	now       time.Time
	channel   string
	accepted  bool // Salesforce has accepted the channel, now or earlier
	history   history
	last      replaystore.Marker // the position; its ReplayID is empty where the session began at a time or at new events
	latest    time.Time          // the latest that Salesforce's clock can be; zero: not known
	openGroup bool               // after the position are events of one replay id that are not all received, nor sought yet
	below     bool               // the last keepalive has named a replay id before the position
	policy    Fallback
	managed   bool // the server keeps the position
}

// judge says what follows from a failure of the channel.
func (s situation) judge(act action, err error) verdict {
	var v verdict
	switch act {
	case actionGiveUp:
		v.fatal = err
	case actionFallback:
		again := s.now.Sub(s.history.fellBack) < fallBackEvery
		s.history.fellBack = s.now
		if v = s.stale(err); again && v.fatal == nil {
			v.wait, v.pacing = 0, byLink // the server refuses what it has just sent
		}
	case actionDenied:
		v = s.denied(err)
	case actionRetryUnknown:
		v = s.unknown(err)
	default:
		v.pacing = byChannel
	}
	return s.sign(v, act, err)
}

// sign completes a verdict of the channel.
func (s situation) sign(v verdict, act action, err error) verdict {
	v.action, v.err, v.history = act, err, s.history
	return v
}

// denied gives a channel that was accepted before time to come back, and so the topic of a managed
// subscription.
func (s *situation) denied(err error) verdict {
	var server *ServerError
	if errors.As(err, &server) && strings.Contains(server.Reason, managedReason) {
		return s.unknownManaged(err)
	}
	if !s.accepted {
		return verdict{fatal: err} // the answer to Subscribe
	}
	h := &s.history
	if s.now.Sub(h.deniedLast) > deniedFor/2 {
		h.denied = time.Time{} // other trouble has kept the link from asking
	}
	h.deniedLast = s.now
	switch {
	case h.denied.IsZero():
		h.denied = s.now
		return verdict{relogin: reloginDenied, wait: deniedEvery, warning: "channel denied, trying on"}
	case s.now.Sub(h.denied) >= deniedFor:
		return verdict{fatal: err}
	}
	return verdict{wait: deniedEvery}
}

// unknownManaged gives a managed subscription that Salesforce does not know a little time, because
// one that was just made may not be known everywhere.
func (s *situation) unknownManaged(err error) verdict {
	h := &s.history
	if s.now.Sub(h.deniedLast) > managedLag {
		h.denied = s.now
	}
	h.deniedLast = s.now
	if s.now.Sub(h.denied) >= managedLag {
		return verdict{fatal: err}
	}
	return verdict{wait: managedLagEvery}
}

// unknown gives an answer in words that nobody knows time to pass: the link tries again soon, then
// slowly. The answer is final when the server has said the same for as long as it may deny a
// channel.
func (s *situation) unknown(err error) verdict {
	var server *ServerError
	errors.As(err, &server) // always succeeds: only a *ServerError has words
	if !s.accepted {
		if server.unknown == unknownRefusal {
			return verdict{fatal: err} // the answer to Subscribe
		}
		return verdict{pacing: byChannel} // for as long as Subscribe waits
	}
	text, words := server.Code.String()+server.Reason+server.Message, &s.history.unknown
	// Where the words are not of late, other trouble has kept the link from asking.
	if words.text != text || s.now.Sub(words.last) > deniedFor/2 {
		*words = wording{text: text, since: s.now, last: s.now}
		return verdict{pacing: byChannel, warning: "refused for a reason that is not known, trying on"}
	}
	words.last = s.now
	switch {
	case s.now.Sub(words.since) < deniedFor:
		return verdict{wait: deniedEvery, pacing: byChannel}
	case len(s.last.ReplayID) > 0 && strings.Contains(strings.ToLower(text), "replay"):
		return s.stale(err) // the code of a stale replay id, and its text, are lost on the way
	}
	return verdict{fatal: err}
}

// stale says where a channel resumes whose replay id Salesforce does not know any more.
func (s *situation) stale(err error) verdict {
	switch {
	case s.managed:
		// What is committed has aged out. The next stream begins where the subscription says.
		return verdict{resume: resumeServers, gap: &Gap{Channel: s.channel, After: s.last, Reason: err, Possible: true}}
	case len(s.last.ReplayID) == 0: // a fallback is refused, too
		return verdict{fatal: &ReplayError{Channel: s.channel, Marker: s.last, err: err}}
	case s.openGroup:
		return verdict{resume: resumeAtGroup}
	case s.isRetained(s.last.Live):
		// The id is older than what is retained, but nothing came after it until Live: all that
		// came since is retained.
		return verdict{resume: resumeQuiet}
	case s.isRetained(s.last.Followed):
		return s.possibleGap(err)
	}
	return s.gap(err)
}

// isRetained reports whether Salesforce retains all that came since a moment.
func (s *situation) isRetained(since time.Time) bool {
	age := s.latest.Sub(since)
	return !since.IsZero() && !s.latest.IsZero() && age >= 0 && age < retention(s.channel)-retentionMargin
}

// gap says where a channel resumes that has missed events: where the policy says.
func (s *situation) gap(err error) verdict {
	v := verdict{gap: &Gap{Channel: s.channel, After: s.last, Reason: err}}
	switch s.policy {
	case FallbackAll:
		v.resume = resumeOldest
	case FallbackNew:
		v.resume = resumeNew
	default:
		return verdict{fatal: &ReplayError{Channel: s.channel, Marker: s.last, err: err}}
	}
	return v
}

// possibleGap says where a channel resumes that may have missed events though the client was never
// away: over the Streaming API nobody knows whether a server that sent nothing had nothing to send
// or was seeking. The client does not end for that but resumes at the oldest retained event. A
// second possible gap within the retention waits, else Salesforce would send all that it retains
// again and again.
func (s *situation) possibleGap(err error) verdict {
	v := verdict{resume: resumePossibleGap, gap: &Gap{Channel: s.channel, After: s.last, Reason: err, Possible: true}}
	h := &s.history
	if s.now.Sub(h.possible) < retention(s.channel) {
		v.wait = min(firstPossibleGap<<min(h.possibles, 10), longestWait)
		h.possibles++
	} else {
		h.possibles = 0
	}
	h.possible = s.now
	return v
}

// judgeMissed says what follows where events were missed though Salesforce has refused nothing;
// possible says that nobody can know whether they were.
func (s situation) judgeMissed(err error, possible bool) verdict {
	v := s.gap
	if possible {
		v = s.possibleGap
	}
	return s.sign(v(err), actionFallback, err)
}

// judgeRetry says what follows from a session's failure that may pass. There is one that does not:
// the server says that replay ids repeat, because it has accepted an id that lies ahead of what it
// sends. A new stream may cure it, but not where a keepalive has named an id before the position,
// or where the server keeps saying so.
func (s situation) judgeRetry(err error) verdict {
	v, h := verdict{pacing: byLink}, &s.history
	var server *ServerError
	if errors.As(err, &server) && strings.HasSuffix(server.Reason, "subscription.fetch.replay.repeated") && len(s.last.ReplayID) > 0 && !s.managed {
		if !bytes.Equal(h.repeated, s.last.ReplayID) {
			h.repeated, h.repeatedly = s.last.ReplayID, 0
		}
		h.repeatedly++
		if s.below || h.repeatedly > repeatsTried {
			v = s.gap(err)
		}
	}
	return s.sign(v, actionRetry, err)
}
