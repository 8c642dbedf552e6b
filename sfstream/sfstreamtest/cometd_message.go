package sfstreamtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// The advices that Salesforce gives.
const (
	adviceRetry     = `{"interval":0,"timeout":%d,"reconnect":"retry"}`
	adviceHandshake = `{"interval":0,"reconnect":"handshake"}`
	adviceNone      = `{"reconnect":"none","interval":0}`
	adviceDenied    = `{"reconnect":"none"}`
)

// The errors that are known from the wire.
const (
	unknownClient   = "403::Unknown client"
	noHandshake     = "403::Client has not completed handshake"
	handshakeDenied = "403::Handshake denied"
	authInvalid     = "401::Authentication invalid"
	authRequired    = "401::Request requires authentication"
	tooLarge        = "413::Maximum Request Size Exceeded"
	serverBusy      = "503::Server is too busy.  Please try your request again later."
	dailyLimit      = "403::Organization total events daily limit exceeded"
	concurrentLimit = "403::Organization concurrent user limit exceeded"
	createDenied    = "403:denied_by_security_policy:create_denied"
	otherUser       = "400::Authenticated user id does not match the session's user id"
)

// bayeuxMessage is a message of a client.
type bayeuxMessage struct {
	Channel                  string          `json:"channel"`
	ID                       json.RawMessage `json:"id"`
	ClientID                 string          `json:"clientId"`
	ConnectionType           string          `json:"connectionType"`
	SupportedConnectionTypes []string        `json:"supportedConnectionTypes"`
	Subscription             json.RawMessage `json:"subscription"`
	Advice                   *struct {
		Timeout *int64 `json:"timeout"`
	} `json:"advice"`
	Ext struct {
		Replay json.RawMessage `json:"replay"`
	} `json:"ext"`
}

// kind returns handshake, connect, subscribe, unsubscribe, disconnect, or "" for all else.
func (m *bayeuxMessage) kind() string {
	switch kind, _ := strings.CutPrefix(m.Channel, "/meta/"); kind {
	case "handshake", "connect", "subscribe", "unsubscribe", "disconnect":
		return kind
	}
	return ""
}

// name returns the subscription if it is a single one, else "".
func (m *bayeuxMessage) name() string {
	var name string
	if json.Unmarshal(m.Subscription, &name) != nil {
		return ""
	}
	return name
}

// bare returns the subscription's name without its filter.
func (m *bayeuxMessage) bare() string {
	bare, _, _ := strings.Cut(m.name(), "?")
	return bare
}

var errNoMessages = errors.New("no messages")

// decodeMessages reads the body of a POST: an array of messages, or a single one.
func decodeMessages(body []byte) ([]bayeuxMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var messages []bayeuxMessage
	var err error
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		messages = make([]bayeuxMessage, 1)
		err = dec.Decode(&messages[0])
	} else {
		err = dec.Decode(&messages)
	}
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errNoMessages
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the messages")
	}
	return messages, nil
}

// bayeuxReply is the answer to a message. The advice is JSON, sent as it stands.
type bayeuxReply struct {
	message       *bayeuxMessage
	clientID      string
	handshake     bool // it answers a successful handshake
	error         string
	failed        bool // it is not successful, and says no error
	failureReason string
	advice        string
}

func (r *bayeuxReply) append(b []byte) []byte {
	m := r.message
	b = append(b, '{')
	if r.handshake {
		b = append(b, `"ext":{"replay":true,"payload.format":true},"version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],`...)
	}
	if r.clientID != "" {
		b = append(b, `"clientId":`...)
		b = appendJSONString(b, r.clientID)
		b = append(b, ',')
	}
	if r.advice != "" {
		b = append(b, `"advice":`...)
		b = append(b, r.advice...)
		b = append(b, ',')
	}
	b = append(b, `"channel":`...)
	b = appendJSONString(b, m.Channel)
	if len(m.ID) > 0 {
		b = append(b, `,"id":`...)
		b = append(b, m.ID...)
	}
	if len(m.Subscription) > 0 {
		b = append(b, `,"subscription":`...)
		b = append(b, m.Subscription...)
	}
	if r.error != "" {
		b = append(b, `,"error":`...)
		b = appendJSONString(b, r.error)
	}
	if r.failureReason != "" {
		b = append(b, `,"ext":{"sfdc":{"failureReason":`...)
		b = appendJSONString(b, r.failureReason)
		b = append(b, `},"replay":true,"payload.format":true}`...)
	}
	if r.error != "" || r.failed {
		return append(b, `,"successful":false}`...)
	}
	return append(b, `,"successful":true}`...)
}
