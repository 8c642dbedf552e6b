package sfstreamtest

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CometDFault is something that goes wrong on CometD. With nothing but a Kind it does nothing.
type CometDFault struct {
	// Kind is handshake, connect, subscribe, unsubscribe, disconnect, or "" for all.
	Kind string `json:"kind,omitempty"`
	// Channel is the bare name of the channel of a subscribe or unsubscribe, or of a channel that
	// the session of a connect or disconnect has. Default: any.
	Channel string `json:"channel,omitempty"`
	After   int    `json:"after,omitempty"` // how many messages pass first
	Times   int    `json:"times,omitempty"` // default 1; negative: until ClearFaults

	// Error answers the message with a failure, such as "403::Unknown client"; with FailureReason
	// the reply has an ext.sfdc. Advice is JSON. Without Advice the reply has the advice that
	// Salesforce sends with such an error; "-" means none. Unknown clients, and connects that are
	// told not to retry, lose their session.
	Error         string `json:"error,omitempty"`
	FailureReason string `json:"failureReason,omitempty"`
	Advice        string `json:"advice,omitempty"`

	// Status and Body answer in place of the org, which never sees the request; with Error, Status
	// is the HTTP status of the failure.
	Status      int    `json:"status,omitempty"`
	Body        string `json:"body,omitempty"`
	ContentType string `json:"contentType,omitempty"` // default text/html

	Delay      time.Duration `json:"delay,omitempty"`      // how long before the response; nanoseconds in JSON
	Pause      time.Duration `json:"pause,omitempty"`      // how long in the middle of the body
	CutAfter   int           `json:"cutAfter,omitempty"`   // after how many bytes of the body the connection is cut
	OmitReply  bool          `json:"omitReply,omitempty"`  // only the events are sent
	ReplyFirst bool          `json:"replyFirst,omitempty"` // replies before events
	NoAnswer   bool          `json:"noAnswer,omitempty"`   // no response until the client gives up
	NoCookies  bool          `json:"noCookies,omitempty"`
}

// cometdFault is a fault in the table. Some have no public form.
type cometdFault struct {
	CometDFault
	as         faultRequest // the control request that would ask for it, but for N
	onEvents   bool         // the fault waits for a connect reply that carries events
	first      bool         // the fault waits for the first connect of a session
	cut        bool         // the connection is cut without a response
	empty      bool         // the response has no body
	truncated  bool         // the response has the first half of the body, and a Content-Length that fits it
	wordless   bool         // the reply is not successful, and says no error
	disconnect string       // the session ends with a /meta/disconnect of the server
}

// raw reports whether something else than the org answers.
func (f *cometdFault) raw() bool {
	return f.Error == "" && !f.wordless && (f.Status != 0 || f.Body != "")
}

type cometdFaults struct {
	replyFirst, silentDisconnect atomic.Bool

	mu   sync.Mutex
	list []cometdFault
}

// add takes a fault in, n times. With n 0 it takes those of its name back.
func (t *cometdFaults) add(n int, f cometdFault) {
	if n == 0 {
		t.remove(f.as.Fault)
		return
	}
	f.Times = n
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, f)
}

// remove takes back the faults of a name.
func (t *cometdFaults) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(f cometdFault) bool { return f.as.Fault == name })
}

func (t *cometdFaults) clear() {
	t.replyFirst.Store(false)
	t.silentDisconnect.Store(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = nil
}

// requests returns the faults, each as the control request that would ask for it.
func (t *cometdFaults) requests() []faultRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []faultRequest
	for _, f := range t.list {
		req := f.as
		if req.Fault == failCometD {
			req.CometD = &f.CometDFault
		} else {
			req.N = &f.Times
		}
		list = append(list, req)
	}
	on := true
	if t.replyFirst.Load() {
		list = append(list, faultRequest{Fault: "ConnectReplyFirst", On: &on})
	}
	if t.silentDisconnect.Load() {
		list = append(list, faultRequest{Fault: "SilenceDisconnect", On: &on})
	}
	return list
}

// take returns the fault that is due, and counts it as happened once.
func (t *cometdFaults) take(kind string, has func(channel string) bool, first, events bool) (cometdFault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		f := &t.list[i]
		if f.Kind != "" && f.Kind != kind || f.onEvents != events || f.first && !first || !has(f.Channel) {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		due := *f
		if f.Times > 0 {
			f.Times--
		}
		if f.Times == 0 {
			t.list = slices.Delete(t.list, i, i+1)
		}
		return due, true
	}
	return cometdFault{}, false
}

// fail answers a message with the failure of a fault.
func (x *exchange) fail(m *bayeuxMessage, f cometdFault) {
	s := x.server
	unknown := strings.Contains(strings.ToLower(f.Error), "unknown client")
	r := bayeuxReply{message: m, clientID: m.ClientID, error: f.Error, failed: f.wordless, failureReason: f.FailureReason, advice: f.Advice}
	kind := m.kind()
	if r.advice == "" {
		r.advice = usualAdvice(kind, f.Error, unknown)
	}
	if r.advice == "-" {
		r.advice = ""
	}
	if unknown {
		r.clientID = ""
		x.newNode()
	}
	x.reply(r)
	x.status = f.Status
	if kind == "connect" {
		x.polled = true
	}
	ses := s.bayeux.session(m.ClientID)
	lost := kind == "connect" && r.advice != "" && !strings.Contains(r.advice, `"retry"`)
	switch {
	case ses == nil:
	case unknown || lost:
		s.endSession(ses, farewell{error: unknownClient, advice: adviceHandshake})
	default:
		ses.mu.Lock()
		ses.connected = ses.connected || kind == "connect"
		ses.mu.Unlock()
		ses.restart(s.config.cometd.window)
	}
}

func usualAdvice(kind, text string, unknown bool) string {
	switch {
	case kind == "handshake":
		return adviceDenied
	case kind == "connect" && unknown:
		return adviceHandshake
	case kind == "connect", strings.HasPrefix(text, "401:"):
		return adviceNone
	}
	return ""
}

// write sends the response, as far as the fault lets it. cut says that the connection is to be cut
// now.
func (f *cometdFault) write(w http.ResponseWriter, body []byte, status int, sleep func(time.Duration) bool) (cut bool) {
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Cache-Control", "no-cache,no-store")
	switch {
	case f.cut:
		return true
	case f.raw():
		h.Set("Content-Type", or(f.ContentType, "text/html;charset=UTF-8"))
		w.WriteHeader(or(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, f.Body) // a client that has gone
		return false
	case status != 0 && len(body) <= len("[]"):
		http.Error(w, http.StatusText(status), status)
		return false
	case f.empty:
		w.WriteHeader(http.StatusOK)
		return false
	case f.truncated:
		body = body[:len(body)/2]
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(or(status, http.StatusOK))
	if f.CutAfter > 0 && f.CutAfter < len(body) {
		_, _ = w.Write(body[:f.CutAfter])
		_ = http.NewResponseController(w).Flush()
		return true
	}
	if half := len(body) / 2; f.Pause > 0 {
		_, _ = w.Write(body[:half])
		_ = http.NewResponseController(w).Flush()
		if !sleep(f.Pause) {
			return true
		}
		body = body[half:]
	}
	_, _ = w.Write(body) // what cannot be written is lost, as in Salesforce
	return false
}
