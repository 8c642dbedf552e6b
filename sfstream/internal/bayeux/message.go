package bayeux

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Event is a message that does not answer one of ours.
type Event struct {
	Channel string
	Data    []byte // JSON as it came; the events of one slab share memory
}

// Reply is an answer to one of our messages.
type Reply struct {
	Channel      string // as /meta/subscribe; empty: it is no Bayeux message at all
	ID           string // a number as its text; empty if the server sent none
	ClientID     string
	Subscription string // in replies to /meta/subscribe and /meta/unsubscribe
	Successful   bool
	Error        string // as it came, see ParseError; in an error of the REST API its errorCode
	Message      string // the text of an error of the REST API, which has no channel
	Start        string // the start of the reply, if it is a refusal that gives no reason
	// FailureReason is Salesforce's ext.sfdc.failureReason. If it contradicts Error, it is right.
	FailureReason string
	Advice        Advice
}

// Advice is what the server wants the client to do next. Parts that the server did not send are nil
// or empty.
type Advice struct {
	Reconnect string // "retry", "handshake" or "none"
	Interval  *time.Duration
	Timeout   *time.Duration
}

// UnmarshalJSON reads advice, whose times are in milliseconds. It ignores what it cannot read,
// because a bad hint is no reason to refuse a reply. It never fails.
func (a *Advice) UnmarshalJSON(text []byte) error {
	var wire struct{ Reconnect, Interval, Timeout any }
	if json.Unmarshal(text, &wire) != nil {
		return nil
	}
	a.Reconnect, _ = wire.Reconnect.(string)
	a.Interval, a.Timeout = milliseconds(wire.Interval), milliseconds(wire.Timeout)
	return nil
}

func milliseconds(v any) *time.Duration {
	ms, ok := v.(float64)
	if !ok || ms != ms || ms > 1e12 || ms < -1e12 {
		return nil
	}
	d := time.Duration(ms * float64(time.Millisecond))
	return &d
}

// ParseError splits the text of an error by Bayeux's grammar, code ":" args ":" text. The text may
// have colons. If there is no code, code is 0 and text is all of s.
func ParseError(s string) (code int, args, text string) {
	parts := strings.SplitN(s, ":", 3)
	if len(parts[0]) != 3 || len(parts) < 2 {
		return 0, "", s
	}
	code, err := strconv.Atoi(parts[0])
	if err != nil || code < 100 {
		return 0, "", s
	}
	if len(parts) == 2 {
		return code, "", parts[1]
	}
	return code, parts[1], parts[2]
}
