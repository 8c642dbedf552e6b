package sfstream

import (
	"context"
	"errors"
	"io"

	"github.com/sfstream/sfstream-go/authenticator"
)

// action is what the link does about the end of an attempt.
type action int

const (
	actionRetry        action = iota // back off, then open from where we were
	actionResume                     // the server ended an idle stream politely: open again when there is room
	actionReauthorize                // this token is dead: log in again
	actionFallback                   // the replay id is stale: the policy decides
	actionRelocate                   // the instance is not there any more: a new login names another one
	actionRetrySlowly                // a channel that was accepted once is denied now: may pass
	actionRetryUnknown               // words that nobody knows: may pass, and are believed when nothing else is said for long
	actionGiveUp                     // no retry cures it
)

// String names the action for log lines and tests.
func (a action) String() string {
	return [...]string{"retry", "resume", "reauthorize", "fallback", "relocate", "retry slowly", "retry the unknown", "give up"}[a]
}

// classify decides, for every transport, what an error means. It is the only
// place that does.
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
		if server.moved {
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
			return actionRetrySlowly // permission and channel changes show within 10 minutes, releases pass
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
