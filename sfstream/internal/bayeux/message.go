package bayeux

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Event is a message that is not an answer to one of ours.
type Event struct {
	Channel string
	Data    []byte // JSON, as it came; events of one slab share their memory
}

// Reply answers one of our messages.
type Reply struct {
	Channel      string // such as /meta/subscribe; empty: no Bayeux message at all
	ID           string // numbers as their text; empty where the server sent none
	ClientID     string
	Subscription string // of /meta/subscribe and /meta/unsubscribe
	Successful   bool
	Error        string // as it came, see ParseError; the errorCode of a REST error
	Message      string // of a REST error, which has no channel
	Start        string // of a refusal without a word of why: what came in place of it
	// FailureReason is Salesforce's ext.sfdc.failureReason: it is right where Error
	// is not.
	FailureReason string
	Advice        Advice
}

// Advice is what the server wants to happen next. Parts that it did not send
// are nil or empty.
type Advice struct {
	Reconnect string // retry, handshake or none
	Interval  *time.Duration
	Timeout   *time.Duration
}

// UnmarshalJSON reads advice, whose times are milliseconds. What cannot be read
// counts as not sent: advice is help, not data.
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

// ParseError splits an error by its grammar, code ":" args ":" text. The text may
// hold colons. code is 0 where there is none: text is all of it then.
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
