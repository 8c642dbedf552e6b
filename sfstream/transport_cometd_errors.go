package sfstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

var (
	// errSessionGone is wrapped by a ServerError where the server has forgotten the session. That
	// is normal, and a new session goes on with the same token: internal/bayeux/PROTOCOL.md,
	// "Cookies".
	errSessionGone = errors.New("the server has forgotten the session")

	// errAdvised ends a session whose server advised a new handshake without reporting an error.
	errAdvised = errors.New("the server advises a new handshake")

	// errPause ends a session whose server advised a pause that is longer than the server keeps the
	// session.
	errPause = errors.New("the server advises a long pause")
)

// bayeuxErrors says what the Streaming API's errors mean: the first row whose code and text fit
// decides. Code 0 fits any error, also one without a code. Salesforce changes the texts from
// release to release, so a row has only a stable part of one, in lower case. See
// internal/bayeux/PROTOCOL.md, "Errors".
var bayeuxErrors = []struct {
	code    int
	text    string
	is      Code
	after   time.Duration
	session bool // the error concerns the session, whichever message it answers
	gone    bool // the server has forgotten the session
}{
	// A server under load answers with misleading codes, even with 401.
	{0, "server is too busy", Unavailable, 0, false, false},
	{0, "server_unavailable", Unavailable, 0, false, false},
	{503, "", Unavailable, 0, false, false},

	{401, "unknown client", Internal, 0, true, true}, // Faye
	{402, "unknown", Internal, 0, true, true},        // Unknown client, session_unknown, unknown_session
	{403, "unknown client", Internal, 0, true, true},
	{403, "has not completed handshake", Internal, 0, true, true},
	{400, "no bayeux_browser cookie", Internal, 0, true, true},

	{400, "does not match the session", Unauthenticated, 0, true, false},
	{401, "", Unauthenticated, 0, true, false},
	{0, "invalid_session_id", Unauthenticated, 0, true, false},

	// Errors of the REST API, which answers in place of this one where the org or the user may use
	// no API at all.
	{0, "api_disabled_for_org", Invalid, 0, true, false}, // a matter of the org's edition
	{0, "api_currently_disabled", PermissionDenied, 0, true, false},
	{0, "request_limit_exceeded", LimitExceeded, 10 * time.Minute, true, false}, // a rolling 24 h allocation

	{403, "handshake denied", Unauthenticated, 0, true, false}, // unless the failureReason says otherwise
	{403, "handshake_denied", Unauthenticated, 0, true, false},

	{403, "concurrent user limit", LimitExceeded, time.Minute, true, false},
	{403, "to protect all customers", LimitExceeded, time.Minute, true, false},
	{403, "daily limit exceeded", LimitExceeded, 10 * time.Minute, false, false}, // a rolling 24 h allocation
	{403, "subscription limit exceeded", LimitExceeded, time.Minute, false, false},
	{429, "", LimitExceeded, time.Minute, false, false},

	{400, "wasn", Invalid, 0, false, false}, // "The replayId for channel {c} wasn't found …": the request lacks it
	{400, "replayid", ReplayInvalid, 0, false, false},
	{400, "api version", Invalid, 0, true, false},
	{400, "requested to subscribe to", NotFound, 0, false, false},
	{400, "channel_missing", NotFound, 0, false, false},
	{400, "invalid connection type", Invalid, 0, false, false},
	{400, "name not specified", Invalid, 0, false, false},
	{400, "must start with a leading", Invalid, 0, false, false},
	{400, "query fields", Invalid, 0, false, false},
	{403, "", PermissionDenied, 0, false, false},
	{404, "", NotFound, 0, false, false},
	{405, "channel_invalid", Invalid, 0, false, false},
	{405, "message_id_invalid", Invalid, 0, false, false},
	{408, "", Unavailable, 0, true, false},
	{409, "", Unavailable, 0, false, false},
	{413, "", Invalid, 0, false, false},
}

// translateCometD makes a *ServerError of a request's error. Of a Bayeux reply the nested
// failureReason decides, else the error, else the advice, else the HTTP status.
func translateCometD(channel string, err error) *ServerError {
	e := &ServerError{API: apiCometD, Channel: channel, Code: Unavailable, err: err}
	var reply *bayeux.ReplyError
	var status *bayeux.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &reply):
		e.readReply(reply)
	case errors.As(err, &status):
		e.Message = status.Error()
		e.RetryAfter = status.RetryAfter
		switch {
		case status.Location != nil:
			e.readRedirect(status.Location, status.Host)
		case status.Status == http.StatusNotFound:
			e.moved = &relocated{} // Salesforce's own page for an org that is not there any more
		case status.Status == http.StatusUnauthorized, strings.Contains(status.Start, "INVALID_SESSION_ID"):
			e.Code = Unauthenticated
		case status.Status == http.StatusTooManyRequests:
			e.Code, e.RetryAfter = LimitExceeded, max(e.RetryAfter, time.Minute)
		case status.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(status.Start), "api version"),
			status.Status == http.StatusRequestEntityTooLarge:
			e.Code = Invalid
		}
	case errors.Is(err, bayeux.ErrTooLarge):
		e.Code, e.Message = Invalid, "the channel's name is too long for a request"
	case errors.Is(err, errAdvised):
		e.Code, e.Message, e.err = Internal, err.Error(), errSessionGone
	case errors.Is(err, bayeux.ErrDisconnected):
		e.Code, e.Message, e.err = Internal, errParted.Error(), fmt.Errorf("%w: %w: %w", errSessionGone, errParted, err)
	case errors.Is(err, bayeux.ErrSilent):
		e.Message, e.err = err.Error(), errSilent
	default:
		e.Message = err.Error()
		if rest.NoSuchHost(err) {
			e.moved = &relocated{}
		}
	}
	return e
}

// readRedirect tells whether a redirect by a host means that the session is over, because it leads
// to a login page, or that the org has moved to another host.
func (e *ServerError) readRedirect(to *url.URL, host string) {
	switch {
	case rest.IsLoginPage(to):
		e.Code, e.session = Unauthenticated, true
		e.Message += ": a login page"
	case to.Hostname() != host:
		e.moved = &relocated{to.Scheme + "://" + to.Host}
	}
}

// readReply fills e from the reply that refuses a request.
func (e *ServerError) readReply(reply *bayeux.ReplyError) {
	e.Message = reply.Reply.Error
	e.Reason = reply.Reply.Error
	if reply.Message != "" {
		e.Message = strings.TrimPrefix(reply.Reply.Error+": "+reply.Message, ": ")
	}
	if reply.Channel == "/meta/handshake" && strings.Contains(strings.ToLower(reply.FailureReason+reply.Reply.Error), "create_denied") {
		e.Code, e.session = Unauthenticated, true // not so in the answer to a subscribe
		return
	}
	if reply.FailureReason != "" {
		e.Message, e.Reason = reply.FailureReason, reply.FailureReason
		if e.match(reply.FailureReason, reply) {
			return
		}
		e.Message += " (" + reply.Reply.Error + ")"
	}
	if e.match(reply.Reply.Error, reply) {
		return
	}
	code, _, _ := bayeux.ParseError(reply.Reply.Error)
	if code == 0 && reply.Status != http.StatusOK {
		code = reply.Status
	}
	switch {
	case reply.Advice.Reconnect == "handshake":
		e.gone(reply)
	case reply.Status == http.StatusUnauthorized:
		e.Code, e.session = Unauthenticated, true
	case passes(reply.Status):
		e.Code = Unavailable
	case reply.Channel == "" && reply.Status == http.StatusNotFound:
		e.Code, e.moved, e.session = Unavailable, &relocated{}, true
	case e.Message == "":
		e.Code, e.Message = Unavailable, reply.Error() // the server gave no reason
	case code == http.StatusBadRequest || code == http.StatusMethodNotAllowed || code == http.StatusPreconditionFailed:
		e.Code, e.unknown = Invalid, unknownRefusal
	case reply.Advice.Reconnect == "none":
		e.Code, e.unknown = Invalid, unknownWords // the server advises not to try again
	default:
		e.Code, e.unknown = Internal, unknownWords
	}
}

// passes reports whether an HTTP status means trouble that passes by itself, whatever advice comes
// with it: Salesforce sends even "none".
func passes(code int) bool {
	return code >= 500 && code < 600 || code == http.StatusRequestTimeout || code == http.StatusConflict
}

// match finds the row of an error text and reports whether there is one.
func (e *ServerError) match(message string, reply *bayeux.ReplyError) bool {
	code, args, text := bayeux.ParseError(message)
	text = strings.ToLower(args + ":" + text)
	for _, row := range bayeuxErrors {
		if row.code != 0 && row.code != code || !strings.Contains(text, row.text) {
			continue
		}
		e.Code, e.RetryAfter, e.session = row.is, row.after, row.session
		if row.gone {
			e.gone(reply)
		}
		return true
	}
	if passes(code) {
		e.Code = Unavailable
		return true
	}
	return false
}

// gone marks e as the end of a session that the server has forgotten. A new session continues it,
// after the advised interval if there is one.
func (e *ServerError) gone(reply *bayeux.ReplyError) {
	e.Code, e.session, e.err = Internal, true, fmt.Errorf("%w: %w", errSessionGone, reply)
	if interval := reply.Advice.Interval; interval != nil && *interval > 0 {
		e.RetryAfter = *interval
	}
}

// concernsSession reports whether the answer to a subscribe is about the whole session.
func concernsSession(e *ServerError) bool {
	return e != nil && (e.session || e.Code == Unauthenticated)
}

// refused reports whether the server would refuse a disconnect too, after the error that ended a
// session.
func refused(err error) bool {
	var server *ServerError
	return errors.Is(err, errSessionGone) || errors.As(err, &server) && server.Code == Unauthenticated
}
