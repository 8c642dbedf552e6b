package bayeux

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// margin is how long a server may take to answer, on top of the time for which it may hold the
	// request, and then for each signOfLife bytes of the body. How long it holds a connect: see
	// PROTOCOL.md, "Connect".
	margin = 20 * time.Second

	// defaultHold is how long a server may hold a connect if its advice has no timeout.
	defaultHold = 110 * time.Second

	// longestHold is the longest timeout in advice that is believed.
	longestHold = time.Hour

	// maxText is how many bytes are kept of a text in which a server tells of a failure.
	maxText = 1000

	// maxStart is how many bytes are kept of what a server sent in place of an answer.
	maxStart = 200

	// signOfLife is how many bytes of a body show that the server still sends.
	signOfLife = 1 << 10

	// MaxRequest is the size of the largest request that Salesforce takes, in bytes: see
	// PROTOCOL.md, "Requests and replies".
	MaxRequest = 32768
)

// A Session is one Bayeux session: a clientId and its cookies. Handshake must come first. Only one
// Connect may run at a time; the other calls may run beside it.
type Session struct {
	client http.Client // has a cookie jar of its own
	url    string
	token  string

	// Raw is called with each message that the server sent, as JSON, unless it is nil. It must be
	// set before Handshake.
	Raw func(channel string, message []byte)

	clientID string // set by Handshake

	mu     sync.Mutex
	lastID int
	advice Advice // the latest interval and timeout that the server sent
}

// NewSession returns a session with the server at url, such as
// https://acme.my.salesforce.com/cometd/62.0. Its requests carry the token. NewSession copies
// client, without its timeout, because the server holds connects.
func NewSession(client *http.Client, url, token string) *Session {
	s := &Session{client: *client, url: url, token: token}
	s.client.Timeout = 0
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// The server takes two sessions that share cookies for one browser: PROTOCOL.md, "Cookies".
	s.client.Jar, _ = cookiejar.New(nil) // cookiejar.New never fails without options
	return s
}

// A ReplyError is the server's refusal of one of our messages.
type ReplyError struct {
	Reply
	Status int // the status of the HTTP response, which is mostly 200
}

// Error returns the channel of the message and what the server said.
func (e *ReplyError) Error() string {
	said := e.Reply.Error
	switch {
	case e.FailureReason != "":
		said += " (" + e.FailureReason + ")"
	case e.Message != "":
		said += ": " + e.Message
	case said == "":
		said = "no reason given in " + e.Start
	}
	return fmt.Sprintf("%s: %s", strings.TrimPrefix(e.Channel, "/meta/"), said)
}

// A StatusError is an HTTP response that is not Bayeux.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // from the header Retry-After; 0: it has none
	Start      string        // the start of the body
	Host       string        // the host that was asked
	Location   *url.URL      // the target of a redirect; nil if this is none
	to         string        // what Error shows of Location
}

// ErrorOf returns the error of a response whose status is not 200: a *ReplyError if the body is an
// error of the REST API, else a *StatusError. Neither of them shows the secret.
func ErrorOf(resp *http.Response, body []byte, secret string) error {
	d := newDecoder(bytes.NewReader(body), int64(len(body)), secret)
	if _, bad := d.next(); bad == io.EOF && len(d.replies) > 0 && d.replies[0].Channel == "" && d.replies[0].Error != "" {
		return &ReplyError{Reply: d.replies[0].without(secret), Status: resp.StatusCode}
	}
	e := &StatusError{Status: resp.StatusCode, Start: start(body, maxStart, secret)}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	if resp.Request != nil {
		e.Host = resp.Request.URL.Hostname()
	}
	if to, err := resp.Location(); err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Location = to
		e.to = Hide(to.Scheme+"://"+to.Host+to.EscapedPath(), secret) // without the query, which may hold another secret
	}
	return e
}

// Error returns the status and the start of the body.
func (e *StatusError) Error() string {
	if e.Location != nil {
		return fmt.Sprintf("HTTP %d %s to %s", e.Status, http.StatusText(e.Status), e.to)
	}
	if e.Start == "" {
		return fmt.Sprintf("HTTP %d %s without a body", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("HTTP %d %s: %q", e.Status, http.StatusText(e.Status), e.Start)
}

// ErrDisconnected is the error of a request whose response has a /meta/disconnect that we did not
// ask for: the server has ended the session. Events and replies in that response have been handed
// on.
var ErrDisconnected = errors.New("bayeux: the server has ended the session")

// ErrTooLarge means that a request would have more than MaxRequest bytes, and was not sent.
var ErrTooLarge = errors.New("bayeux: the request is larger than the server takes")

type message struct {
	ID                       string         `json:"id"`
	Channel                  string         `json:"channel"`
	ClientID                 string         `json:"clientId,omitempty"`
	Version                  string         `json:"version,omitempty"`
	MinimumVersion           string         `json:"minimumVersion,omitempty"`
	SupportedConnectionTypes []string       `json:"supportedConnectionTypes,omitempty"`
	ConnectionType           string         `json:"connectionType,omitempty"`
	Subscription             string         `json:"subscription,omitempty"`
	Advice                   map[string]int `json:"advice,omitempty"`
	Ext                      map[string]any `json:"ext,omitempty"`
}

// Handshake begins the session. It must succeed before any other call.
func (s *Session) Handshake(ctx context.Context) error {
	m := message{
		Channel: "/meta/handshake", Version: "1.0", MinimumVersion: "1.0",
		SupportedConnectionTypes: []string{"long-polling"}, Ext: map[string]any{"replay": true},
	}
	replies, err := s.post(ctx, []message{m}, 0, nil)
	if err != nil {
		return err
	}
	reply, err := replies.to(m.Channel, "")
	if err != nil {
		return err
	}
	if replies.disconnected() {
		return ErrDisconnected
	}
	if reply == nil || reply.ClientID == "" {
		return fmt.Errorf("%w: no reply to the handshake", errNotJSON)
	}
	s.clientID = reply.ClientID
	return nil
}

// Connect waits for events and calls deliver with them as they come, up to slabEvents at a time.
// With atOnce it asks the server not to wait. The advice is that of the reply; it is empty if the
// server sent none.
func (s *Session) Connect(ctx context.Context, atOnce bool, deliver func([]Event)) (Advice, error) {
	m := message{Channel: "/meta/connect", ClientID: s.clientID, ConnectionType: "long-polling"}
	hold := s.hold()
	if atOnce {
		m.Advice = map[string]int{"timeout": 0}
	}
	came := false
	replies, err := s.post(ctx, []message{m}, hold, func(events []Event) {
		came = true
		deliver(events)
	})
	if err != nil {
		return Advice{}, err
	}
	reply, err := replies.to(m.Channel, "")
	switch {
	case err != nil:
		return Advice{}, err
	case replies.disconnected():
		return Advice{}, ErrDisconnected
	case reply != nil:
		return reply.Advice, nil
	case came: // some servers send events without a reply to the connect
		return Advice{}, nil
	}
	return Advice{}, fmt.Errorf("%w: no reply to the connect", errNotJSON)
}

// A Subscription is a channel to subscribe to. Replay is the replay id, as JSON: -1 for new events,
// -2 for all, else the id after which to begin. Salesforce wants it under the channel's bare name:
// see PROTOCOL.md, "Subscribe".
type Subscription struct {
	Channel string
	Bare    string // the channel's name without its filter
	Replay  string
}

// Subscribe subscribes to channels, in as many requests as the server's limit needs. It calls
// result for each channel, with nil for success. The error is one that concerns the whole session.
func (s *Session) Subscribe(ctx context.Context, subs []Subscription, deliver func([]Event), result func(channel string, err error)) error {
	messages := make([]message, len(subs))
	for i, sub := range subs {
		messages[i] = message{
			Channel: "/meta/subscribe", ClientID: s.clientID, Subscription: sub.Channel,
			Ext: map[string]any{"replay": map[string]json.RawMessage{sub.Bare: json.RawMessage(sub.Replay)}},
		}
	}
	return s.each(ctx, messages, deliver, result)
}

// Unsubscribe ends subscriptions. Events that the server has queued for them may still come.
func (s *Session) Unsubscribe(ctx context.Context, channels []string, deliver func([]Event)) error {
	messages := make([]message, len(channels))
	for i, channel := range channels {
		messages[i] = message{Channel: "/meta/unsubscribe", ClientID: s.clientID, Subscription: channel}
	}
	return s.each(ctx, messages, deliver, func(string, error) {})
}

// each sends messages in one request and calls result for each of them. If the request is too
// large, it sends two with half of the messages each.
func (s *Session) each(ctx context.Context, messages []message, deliver func([]Event), result func(string, error)) error {
	if len(messages) == 0 {
		return nil
	}
	replies, err := s.post(ctx, messages, s.hold(), deliver) // a server that replays all events may take long to begin
	if err == nil {
		err = replies.tooLarge()
	}
	if isTooLarge(err) {
		if len(messages) == 1 {
			result(messages[0].Subscription, err)
			return nil
		}
		half := len(messages) / 2
		if err := s.each(ctx, messages[:half], deliver, result); err != nil {
			return err
		}
		return s.each(ctx, messages[half:], deliver, result)
	}
	if err != nil {
		return err
	}
	for _, m := range messages {
		reply, err := replies.to(m.Channel, m.Subscription)
		if reply == nil && err == nil {
			if replies.disconnected() {
				continue
			}
			return fmt.Errorf("%w: no reply for %s", errNotJSON, m.Subscription)
		}
		result(m.Subscription, err)
	}
	if replies.disconnected() {
		return ErrDisconnected
	}
	return nil
}

func isTooLarge(err error) bool {
	var status *StatusError
	return errors.Is(err, ErrTooLarge) || errors.As(err, &status) && status.Status == http.StatusRequestEntityTooLarge ||
		isReply413(err)
}

func isReply413(err error) bool {
	var reply *ReplyError
	if !errors.As(err, &reply) {
		return false
	}
	code, _, _ := ParseError(reply.Reply.Error)
	return code == http.StatusRequestEntityTooLarge
}

// Disconnect ends the session. The server answers a connect that it holds.
func (s *Session) Disconnect(ctx context.Context) error {
	_, err := s.post(ctx, []message{{Channel: "/meta/disconnect", ClientID: s.clientID}}, 0, nil)
	return err
}

// Interval returns how long the server wants us to wait between two connects.
func (s *Session) Interval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.advice.Interval == nil {
		return 0
	}
	return *s.advice.Interval
}

func (s *Session) hold() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.advice.Timeout == nil {
		return defaultHold
	}
	return *s.advice.Timeout
}

// learn keeps the times in a server's advice. Advice that comes with a failure has only some of
// them, so a time that is missing stays as it was.
func (s *Session) learn(a Advice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Interval != nil && *a.Interval >= 0 {
		s.advice.Interval = a.Interval
	}
	if a.Timeout != nil && *a.Timeout >= 0 && *a.Timeout <= longestHold {
		s.advice.Timeout = a.Timeout
	}
}

func (s *Session) number(messages []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range messages {
		s.lastID++
		messages[i].ID = strconv.Itoa(s.lastID)
	}
}

// replies has the replies to one request.
type replies struct {
	sent   []message
	list   []Reply
	status int
}

// to returns the reply to the message that we sent on a meta channel, for a subscription unless
// that is empty; nil if none came. A server need not repeat the id, and not the subscription of a
// message that failed. The error is the refusal in the reply, if it is one.
func (r replies) to(channel, subscription string) (*Reply, error) {
	id := r.sent[slices.IndexFunc(r.sent, func(m message) bool { return m.Channel == channel && m.Subscription == subscription })].ID
	var found *Reply
	for i := range r.list {
		reply := &r.list[i]
		switch {
		case reply.Channel != channel && reply.Channel != "":
		case reply.ID == id && reply.Channel != "":
			found = reply
		case found == nil && reply.ID == "" && (reply.Subscription == subscription || reply.Subscription == ""):
			found = reply
		}
	}
	if found != nil && !found.Successful {
		return found, &ReplyError{Reply: *found, Status: r.status}
	}
	return found, nil
}

// disconnected reports whether the server has ended the session without being asked to. We send a
// /meta/disconnect alone, so an answer to one is never beside other replies.
func (r replies) disconnected() bool {
	const channel = "/meta/disconnect"
	return r.sent[0].Channel != channel && slices.ContainsFunc(r.list, func(reply Reply) bool { return reply.Channel == channel })
}

// tooLarge returns the refusal of the whole request as too large, nil if there is none.
func (r replies) tooLarge() error {
	for _, reply := range r.list {
		if err := (&ReplyError{Reply: reply, Status: r.status}); !reply.Successful && isReply413(err) {
			return err
		}
	}
	return nil
}

// post sends messages and reads the response. The server may hold the request for hold. deliver
// gets the events; if it is nil they are dropped.
func (s *Session) post(ctx context.Context, messages []message, hold time.Duration, deliver func([]Event)) (replies, error) {
	s.number(messages)
	body, err := json.Marshal(messages)
	if err != nil {
		return replies{}, err
	}
	if len(body) > MaxRequest {
		return replies{}, ErrTooLarge
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A server that is silent for longer is gone; it may fall silent in the middle of a body, too.
	watchdog := time.AfterFunc(hold+margin, func() { cancel(ErrSilent) })
	defer watchdog.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return replies{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := s.client.Do(req)
	if err != nil {
		return replies{}, s.cause(ctx, err)
	}
	defer resp.Body.Close()
	resp.Request = req // not every RoundTripper sets it, and ErrorOf needs it
	read := &watched{Reader: resp.Body, watchdog: watchdog}
	read.alive()
	if resp.StatusCode != http.StatusOK {
		return s.failed(resp, read, messages)
	}
	d := newDecoder(read, resp.ContentLength, s.token)
	d.raw = s.Raw
	for {
		events, err := d.next()
		if len(events) > 0 && deliver != nil {
			deliver(events)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return replies{}, s.cause(ctx, err)
		}
	}
	return s.answered(d.replies, messages, resp.StatusCode), nil
}

func (s *Session) answered(list []Reply, sent []message, status int) replies {
	for i := range list {
		reply := &list[i]
		*reply = reply.without(s.token)
		s.learn(reply.Advice)
	}
	return replies{sent: sent, list: list, status: status}
}

// without returns the reply with the secret taken out and its texts cut to maxText.
func (r Reply) without(secret string) Reply {
	r.Error = start([]byte(r.Error), maxText, secret)
	r.FailureReason = start([]byte(r.FailureReason), maxText, secret)
	r.Message = start([]byte(r.Message), maxText, secret)
	return r
}

// failed reads a response whose status is not 200. Its body may be Bayeux all the same.
func (s *Session) failed(resp *http.Response, body io.Reader, sent []message) (replies, error) {
	text, err := io.ReadAll(io.LimitReader(body, 64<<10))
	d := newDecoder(bytes.NewReader(text), int64(len(text)), s.token)
	d.raw = s.Raw
	if _, bad := d.next(); err == nil && bad == io.EOF && len(d.replies) > 0 {
		return s.answered(d.replies, sent, resp.StatusCode), nil
	}
	return replies{}, ErrorOf(resp, text, s.token)
}

// ErrSilent is the error of a request whose answer does not come in time.
var ErrSilent = errors.New("bayeux: no answer in time")

// cause returns the error of a request: ErrSilent if the watchdog ended it, else err, without the
// token in its text.
func (s *Session) cause(ctx context.Context, err error) error {
	if reason := context.Cause(ctx); reason == ErrSilent {
		return reason
	}
	text := err.Error()
	if clean := Hide(text, s.token); clean != text {
		return errors.New(clean)
	}
	return err
}

// watched is a body that gives the watchdog another margin for each signOfLife bytes. A server that
// only trickles is given up.
type watched struct {
	io.Reader
	watchdog *time.Timer
	came     int
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.came += n; w.came >= signOfLife {
		w.came = 0
		w.alive()
	}
	return n, err
}

func (w *watched) alive() {
	if w.watchdog.Stop() {
		w.watchdog.Reset(margin)
	}
}
