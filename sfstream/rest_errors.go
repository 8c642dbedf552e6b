package sfstream

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

// restCodes says what Salesforce's error codes of the REST API mean, where the HTTP status does not
// say it.
var restCodes = map[string]Code{
	"INVALID_SESSION_ID":     Unauthenticated,
	"InvalidSessionId":       Unauthenticated, // the Bulk API
	rest.BadToken:            Unauthenticated, // userinfo, with HTTP 403
	"API_DISABLED_FOR_ORG":   Invalid,         // a matter of the org's edition
	"API_CURRENTLY_DISABLED": PermissionDenied,
	"INVALID_TYPE":           NotFound, // an object
	"ENTITY_IS_DELETED":      NotFound,
	"SERVER_UNAVAILABLE":     Unavailable,
	lockedRow:                Unavailable,
}

// lockedRow is the error code of a change that another transaction has kept out for 10 seconds.
// Salesforce has rolled it back.
const lockedRow = "UNABLE_TO_LOCK_ROW"

// translateREST makes a *ServerError of a *rest.Error or of another error of a request to an
// instance.
func translateREST(req *http.Request, err error) *ServerError {
	e := &ServerError{API: apiREST, Code: Unavailable, Message: err.Error(), request: req.Method + " " + req.URL.EscapedPath(), err: err}
	answer, ok := errors.AsType[*rest.Error](err)
	if !ok {
		if rest.NoSuchHost(err) {
			e.moved = &relocated{}
		}
		return e
	}
	e.Reason, e.Message, e.Fields, e.RetryAfter = answer.Code, answer.Message, answer.Fields, answer.RetryAfter
	if answer.Location != nil {
		e.Code = Invalid // unless it says more
		if e.readRedirect(answer.Location, req.URL.Hostname()); e.moved != nil {
			e.Code = Unavailable
		}
		return e
	}
	foreign := answer.Code == "" && !answer.Empty && strings.Contains(req.URL.Path, "/services/data/") // REST has a code for each refusal
	code, known := restCodes[answer.Code]
	switch {
	case known:
		e.Code = code
	case strings.HasSuffix(answer.Code, "LIMIT_EXCEEDED"):
		e.Code = LimitExceeded
	case strings.HasPrefix(answer.Code, "INSUFFICIENT_ACCESS"):
		e.Code = PermissionDenied
	case foreign && answer.Status == http.StatusNotFound:
		e.moved = &relocated{} // Salesforce's own page for an org that is not there any more
	case foreign && answer.Status == http.StatusForbidden, answer.Status/100 == 2:
		// A proxy or a firewall has answered.
	default:
		e.Code = codeOfStatus(answer.Status)
	}
	if answer.Code == "REQUEST_LIMIT_EXCEEDED" && e.RetryAfter == 0 {
		e.RetryAfter = 10 * time.Minute // a rolling 24 h allocation
	}
	return e
}

func codeOfStatus(status int) Code {
	switch status {
	case http.StatusUnauthorized:
		return Unauthenticated
	case http.StatusForbidden:
		return PermissionDenied
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusTooManyRequests:
		return LimitExceeded
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Unavailable
	}
	if status >= 500 {
		return Internal
	}
	return Invalid
}

// remedyREST is Remedy of a request's error.
func (e *ServerError) remedyREST() string {
	answer, ok := errors.AsType[*rest.Error](e.err)
	switch {
	case ok && (answer.Status == http.StatusRequestURITooLong || answer.Status == http.StatusRequestHeaderFieldsTooLarge):
		return "Salesforce takes 16,384 bytes of URL and headers: shorten the query, or send it in the body of a composite request"
	case e.Reason == lockedRow:
		return "other changes hold the record, or one above it: change it less often, or from fewer places at once"
	case e.Code == NotFound && strings.HasPrefix(e.request, "/u/"):
		return "check the channel's spelling and case, and that the user may read the StreamingChannel record"
	case e.Code == NotFound:
		return "check the path, the names' spelling, and that the user may see the record"
	case e.Code == PermissionDenied:
		return "check that the user has API Enabled, and may see or change the object, its fields and the record"
	case e.Code == LimitExceeded:
		return "see the org's API usage in Setup"
	case e.Code == Unavailable:
		return "check the instance URL, and what is between here and it"
	}
	return ""
}
