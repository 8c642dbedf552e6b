package sfstreamtest

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// RESTFault is something that goes wrong with requests of the REST API, those under /services/data.
// With nothing but Times the connection is cut without a reply.
type RESTFault struct {
	Method string `json:"method,omitempty"` // such as PATCH; "": any
	Path   string `json:"path,omitempty"`   // a part of the path, such as /sobjects/Account; "": any
	Times  int    `json:"times,omitempty"`  // default 1; negative: until ClearFaults

	// Code answers with an error of Salesforce, [{"errorCode": …, "message": …}], with the usual
	// Status and Message of the code unless they are given; 400 if it is not known.
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message,omitempty"`
	Fields  []string `json:"fields,omitempty"`
	// Status alone answers with an HTML page, or with Body.
	Status      int    `json:"status,omitempty"`
	Body        string `json:"body,omitempty"`
	ContentType string `json:"contentType,omitempty"` // of Body; default text/html
	// RetryAfter is the value of that header: seconds, or a date.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Done carries the request out before it fails, which the client cannot know.
	Done bool `json:"done,omitempty"`
	// NoAnswer gives no answer until the client gives up.
	NoAnswer bool `json:"noAnswer,omitempty"`
}

// restErrors are further errors of the REST API, besides restMessages, by their codes.
var restErrors = map[string]restError{
	"UNABLE_TO_LOCK_ROW":                    {http.StatusBadRequest, "unable to obtain exclusive access to this record or 1 records", "", []string{}},
	"LIMIT_EXCEEDED":                        {http.StatusBadRequest, "The limit of events published per hour is exceeded.", "", []string{}},
	"PLATFORM_EVENT_PUBLISHING_UNAVAILABLE": {http.StatusServiceUnavailable, "The event could not be published. Try again later.", "", []string{}},
	"PLATFORM_EVENT_ENCRYPTION_ERROR":       {http.StatusBadRequest, "The event could not be encrypted.", "", []string{}},
	"INSUFFICIENT_ACCESS_OR_READONLY":       {http.StatusBadRequest, "insufficient access rights on object id", "", []string{}},
	"INSUFFICIENT_ACCESS":                   {http.StatusForbidden, "insufficient access rights on cross-reference id", "", []string{}},
	"NOT_FOUND":                             {http.StatusNotFound, "The requested resource does not exist", "", nil},
	"INVALID_TYPE":                          {http.StatusBadRequest, "sObject type is not supported.", "", nil},
	"MALFORMED_QUERY":                       {http.StatusBadRequest, "unexpected token: '<EOF>'", "", nil},
	"INVALID_QUERY_LOCATOR":                 {http.StatusBadRequest, "invalid query locator", "", nil},
	"QUERY_TIMEOUT":                         {http.StatusBadRequest, "Your query request was running for too long.", "", nil},
	"UNKNOWN_EXCEPTION":                     {http.StatusInternalServerError, "An unexpected error occurred.", "", nil},
	"API_CURRENTLY_DISABLED":                {http.StatusForbidden, "API is currently disabled for this user.", "", nil},
	"UNSUPPORTED_API_VERSION":               {http.StatusGone, "This version of the API is retired.", "", nil},
}

// restFaults are the faults of REST requests that are to happen, oldest first.
type restFaults struct {
	mu   sync.Mutex
	list []RESTFault
}

// FailREST makes the next n requests of the REST API fail with an error of Salesforce:
// INVALID_SESSION_ID, REQUEST_LIMIT_EXCEEDED, API_DISABLED_FOR_ORG, UNABLE_TO_LOCK_ROW,
// SERVER_UNAVAILABLE or any other code, or "CODE: message". n < 0: until ClearFaults. More can be
// said with [Server.FailRESTRequest].
func (s *Server) FailREST(n int, code string) {
	if n == 0 {
		s.restFaults.remove(func(f RESTFault) bool { return f.Code != "" && f.Method == "" && f.Path == "" })
		return
	}
	code, message, _ := strings.Cut(code, ": ")
	s.FailRESTRequest(RESTFault{Times: n, Code: code, Message: message})
}

// FailRecords makes the next n records of an object, or events such as Order__e ("": of any), fail
// that requests of the REST API write, each by itself: with LIMIT_EXCEEDED,
// PLATFORM_EVENT_PUBLISHING_UNAVAILABLE, UNABLE_TO_LOCK_ROW or any other code, or "CODE: message".
// n < 0: all, until ClearFaults.
func (s *Server) FailRecords(object string, n int, code string) {
	s.faults.add(fault{name: "FailRecords", at: atRecord, channel: object, left: n, code: code})
}

// recordFault returns the error with which a record of an object is to fail now.
func (s *Server) recordFault(object string) error {
	f, ok := s.faults.take(atRecord, object)
	if !ok {
		return nil
	}
	code, message, _ := strings.Cut(f.code, ": ")
	e := knownRESTError(code)
	e.Message = or(message, e.Message)
	return &e
}

// knownRESTError returns the error of a code.
func knownRESTError(code string) restError {
	e, ok := restErrors[code]
	if !ok {
		e, ok = restMessages[code]
	}
	if !ok {
		e = restError{status: http.StatusBadRequest, Message: code}
	}
	e.Code = code
	return e
}

// FailRESTRequest makes requests of the REST API fail.
func (s *Server) FailRESTRequest(f RESTFault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.restFaults.mu.Lock()
	defer s.restFaults.mu.Unlock()
	s.restFaults.list = append(s.restFaults.list, f)
}

func (t *restFaults) clear() { t.remove(func(RESTFault) bool { return true }) }

func (t *restFaults) remove(match func(RESTFault) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, match)
}

func (t *restFaults) inForce() []RESTFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

// take returns the fault that a request meets, and counts it as happened once.
func (t *restFaults) take(r *http.Request) (RESTFault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		f := &t.list[i]
		if f.Method != "" && !strings.EqualFold(f.Method, r.Method) || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		due := *f
		if f.Times--; f.Times == 0 {
			t.list = slices.Delete(t.list, i, i+1)
		}
		return due, true
	}
	return RESTFault{}, false
}

// maxURI is the most bytes of a request's line, and of its line with its headers.
const maxURI = 16384

// faulty hands requests to do unless they are too long or a fault is due.
func (s *Server) faulty(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		size := len(r.RequestURI)
		if size > maxURI {
			page(w, http.StatusRequestURITooLong, "Bad Message 414", "reason: URI Too Long")
			return
		}
		for name, values := range r.Header {
			for _, value := range values {
				size += len(name) + len(value) + len(": \r\n")
			}
		}
		if size > maxURI {
			page(w, http.StatusRequestHeaderFieldsTooLarge, "Bad Message 431", "reason: Request Header Fields Too Large")
			return
		}
		if f, ok := s.restFaults.take(r); ok {
			f.answer(w, r, do)
			return
		}
		do(w, r)
	}
}

// answer fails a request.
func (f RESTFault) answer(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	if f.Done {
		do(nowhere{}, r)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.NoAnswer:
		// Only after the body is read does a request's context end with its connection.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case f.Code != "":
		e := knownRESTError(f.Code)
		e.status, e.Message = or(f.Status, e.status), or(f.Message, e.Message)
		if f.Fields != nil {
			e.Fields = f.Fields
		}
		writeJSON(w, e.status, []restError{e})
	case f.Body != "":
		w.Header().Set("Content-Type", or(f.ContentType, "text/html;charset=UTF-8"))
		w.WriteHeader(or(f.Status, http.StatusOK))
		_, _ = w.Write([]byte(f.Body))
	case f.Status != 0:
		page(w, f.Status, strconv.Itoa(f.Status)+" "+http.StatusText(f.Status), "We are down for maintenance.")
	default:
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
}

// nowhere is where the reply to a request goes that fails after it was carried out.
type nowhere struct{}

func (nowhere) Header() http.Header         { return make(http.Header) }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}
