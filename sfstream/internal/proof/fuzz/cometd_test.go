package fuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// The lanes of a hostile Streaming API.
const (
	laneOptions    = iota // of the client
	laneHandshake         // GET /services/data/ too
	laneConnect           // one at a time
	laneSubscribe         // unsubscribe too
	laneDisconnect        // ends each session
	bayeuxLanes
)

// A server of the Streaming API that says anything cannot make a client panic, hang, storm it, or
// tell its token.
func FuzzBayeuxReplies(f *testing.F) {
	event, list := "\x01\x01\x02\x00\x00", "\x01\x02\x01\x01\x00\x00\x02\x00\x00"
	for _, seed := range [][]byte{
		nil,
		program("", "", event+event), // events, then held connects
		program("\x01\x01\x01\x01\x01\x01", "\x00\x00", list, list),        // small prefetch, other options
		program("", "", "\x00\x02\x03\x00\x00", "\x00\x02\x03\x01", ""),    // refusals
		program("\x00\x01\x01\x02\x00\x01", "\x00", "\x00\x00\x04\x02"),    // HTTP statuses
		program("", "\x00", "\x00\x05\x02\x03", "\x05\x01", "\x06"),        // cut and slow bodies
		program("", "\x00", "\x00\x07", "\x00\x06", "\x06"),                // hangs, lost requests
		program("", "\x03[1]", "\x03\x10{\"data\":1}", "\x03\x05[{}]\x00"), // raw bodies
		program("\x00\x00\x00\x00\x00\x00\x01", "", "\x00\x00"+event, event),
		program("\x00\x00\x00\x00\x00\x00\x00\x01", "\x00", event+"\x02\x02\x01\x00", "\x00", "\x00"),
		// Each session brings something and is forgotten then.
		program("\x00\x00\x00\x00\x00\x00\x01\x00", "", event+event+"\x01\x00\x01\x02\x02\x00\x00\x00\x00", ""),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		inFuzzBubble(t, func(t *testing.T) {
			s := &hostileOrg{t: t, lanes: newLanes(input, bayeuxLanes)}
			options := s.lanes[laneOptions]
			opts := []sfstream.Option{sfstream.WithTransport(sfstream.CometD), sfstream.WithHTTPClient(&http.Client{Transport: s})}
			if options.pick(2) == 0 {
				opts = append(opts, sfstream.WithAPIVersion("62.0"))
			}
			v := newVictim(t, options, opts...)
			s.pace = v.pace
			again := options.pick(2) == 1
			for _, l := range s.lanes {
				l.again = again
			}
			channels := one(options, [][]string{{"/topic/A"}, {"/topic/A", "/event/B__e"}, {"/data/ChangeEvents"}, {"/topic/A?N__c='1'", "/u/A"}})
			for _, channel := range channels {
				bare, _, _ := strings.Cut(channel, "?")
				s.channels = append(s.channels, bare)
			}
			v.live(channels...)
		})
	})
}

// hostileOrg is a Streaming API that follows a program: an http.RoundTripper.
type hostileOrg struct {
	t     *testing.T
	lanes []*lane
	pace  *pace

	channels []string // that the client follows, without filters
}

func (s *hostileOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "acme.my.salesforce.com" && r.Header.Get("Authorization") != "" {
		s.t.Errorf("the token is sent to %s", r.URL)
	}
	var msgs []scripted.Message
	var text []byte
	kind, l := "version", s.lanes[laneHandshake]
	if r.Body != nil {
		var err error
		if text, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &msgs); err != nil || len(msgs) == 0 {
			return nil, fmt.Errorf("not a request: %.100q", text)
		}
		kind = strings.TrimPrefix(msgs[0].Channel, "/meta/")
	}
	switch kind {
	case "connect":
		l = s.lanes[laneConnect]
	case "subscribe", "unsubscribe":
		l = s.lanes[laneSubscribe]
	case "disconnect":
		l = s.lanes[laneDisconnect]
	}
	if !s.pace.add(kind) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	waitFor(r.Context(), time.Millisecond) // a fast network
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	held := kind == "connect" && !bytes.Contains(text, []byte(`"advice"`))
	return s.answer(l, r, msgs, held)
}

// answer follows the next step of a lane.
func (s *hostileOrg) answer(l *lane, r *http.Request, msgs []scripted.Message, held bool) (*http.Response, error) {
	ctx := r.Context()
	body := &hostileBody{ctx: ctx, closed: make(chan struct{})}
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Request: r, Body: body}
	busy := false // it brings events
	step := l.pick(12)
	switch step {
	case 0, 8, 9: // as it should be
		if held {
			waitFor(ctx, 110*time.Second)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		body.text = s.wellFormed(msgs)
	case 1, 2, 10, 11:
		body.text, busy = s.odd(l, msgs)
	case 3:
		body.text = l.raw()
	case 4:
		resp.StatusCode = one(l, []int{500, 503, 429, 401, 403, 400, 404, 408, 413, 302, 307, 204, 206, 502, 999, 100})
		switch l.pick(4) {
		case 0:
			body.text = []byte(l.errorText([]string{"<html>", "Unsupported API version", `[{"errorCode":"INVALID_SESSION_ID","message":"x"}]`, `{"error":"x"}`, "[", ""}))
		case 1:
			body.text, busy = s.odd(l, msgs)
		case 2:
			body.text = s.wellFormed(msgs)
		}
	case 5: // as it should be, but slowly, or not to the end
		body.text, busy = s.odd(l, msgs)
		body.shape(l)
	case 6:
		l.wait(ctx)
		return nil, one(l, []error{io.EOF, errors.New("connection reset by peer"), errors.New("proxyconnect tcp: bad gateway"), io.ErrUnexpectedEOF, context.DeadlineExceeded})
	case 7:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if step > 8 {
		for range l.pick(3) {
			for name, values := range one(l, oddHeaders) {
				resp.Header[name] = values
			}
		}
		l.wait(ctx)
	}
	if step == 10 {
		resp.ContentLength = one(l, []int64{0, 1, 1 << 40, int64(len(body.text))})
	}
	if len(msgs) == 0 { // that request has no token to repeat
		body.text = bytes.ReplaceAll(body.text, []byte(secretMark), []byte("token"))
	}
	if len(msgs) > 0 && msgs[0].Channel == "/meta/connect" && !s.pace.connect(busy) {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *hostileOrg) wellFormed(msgs []scripted.Message) []byte {
	if len(msgs) == 0 {
		return []byte(`[{"version":"61.0"},{"version":"62.0","label":"x"}]`)
	}
	var replies []string
	for _, m := range msgs {
		replies = append(replies, fuzzedReply(nil, m))
	}
	return []byte("[" + strings.Join(replies, ",") + "]")
}

// odd is a body with what is odd in it. It is busy if it brings events of a channel that the client
// follows.
func (s *hostileOrg) odd(l *lane, msgs []scripted.Message) (body []byte, busy bool) {
	if len(msgs) == 0 {
		return []byte(l.value(3)), false
	}
	var parts []string
	for range l.pick(5) {
		part := ""
		switch l.pick(8) {
		case 0, 1, 2:
			part = fuzzedEvent(l)
		case 3:
			part = fuzzedReply(l, one(l, msgs))
		case 4:
			part = string(l.raw())
		case 5:
			part = l.value(3)
		case 6: // a great many of one
			part = fuzzedEvent(l)
			if n := 8 * l.pick(256); s.pace.grant(n * len(part)) {
				part = strings.Repeat(part+",", n) + part
			}
		case 7: // or one that is large
			if n := 1 << l.pick(21); s.pace.grant(n) {
				part = fmt.Sprintf(`{"channel":"/topic/A","data":{"sobject":{"T":%q}}}`, strings.Repeat(" ", n))
			}
		}
		parts = append(parts, part)
		for _, channel := range s.channels {
			busy = busy || strings.Contains(part, `"channel":"`+channel)
		}
	}
	for _, m := range msgs {
		switch l.pick(4) {
		case 0:
			parts = append(parts, fuzzedReply(nil, m))
		case 1:
			parts = append([]string{fuzzedReply(l, m)}, parts...)
		case 2:
			parts = append(parts, fuzzedReply(l, m))
		}
	}
	return []byte(one(l, []string{"[", " \n[ ", "[", "", "[,", "\ufeff["}) + strings.Join(parts, one(l, []string{",", " , ", ",", "", ",,"})) + one(l, []string{"]", "] \n", "]", "", "]]", "][{}]"})), busy
}

// fuzzedReply is the reply to a message; without a lane one as it should be.
func fuzzedReply(l *lane, m scripted.Message) string {
	fields := [][2]string{{"channel", quoted(m.Channel)}, {"id", quoted(m.ID)}, {"clientId", `"abc"`}, {"successful", "true"}}
	if m.Subscription != "" {
		fields = append(fields, [2]string{"subscription", quoted(m.Subscription)})
	}
	if l == nil {
		return object(fields)
	}
	for range 1 + l.pick(4) {
		i := l.pick(len(fields))
		switch l.pick(8) {
		case 0:
			fields[i][1] = l.value(1)
		case 1:
			fields[i][0] = ""
		case 2, 3:
			fields[3][1] = "false"
			fields = append(fields, [2]string{"error", quoted(l.errorText(bayeuxSays))})
		case 4:
			fields = append(fields, [2]string{"advice", fuzzedAdvice(l)})
		case 5:
			fields = append(fields, [2]string{fields[i][0], l.value(1)})
		case 6:
			fields = append(fields, [2]string{"ext", `{"sfdc":{"failureReason":` + quoted(l.errorText(bayeuxSays)) + "}}"})
		case 7:
			fields = append(fields, [2]string{one(l, []string{"data", "ext", "advice", "error", "errorCode"}), l.value(2)})
		}
	}
	return object(fields)
}

func object(fields [][2]string) string {
	var members []string
	for _, f := range fields {
		if f[0] != "" {
			members = append(members, quoted(f[0])+":"+f[1])
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

var bayeuxSays = []string{
	"403::Unknown client", "401::Authentication invalid", "402::session_unknown", "400::The replayId {1} you provided was invalid", "403:denied_by_security_policy:create_denied",
	"403::Organization concurrent user limit exceeded", "404::Unknown channel", "503::Server is too busy", "408::Request timeout", "413::Maximum Request Size Exceeded", "429::slow down",
	"400::API version in the URI is not supported", "400::Channel you requested to subscribe to does not exist", "403::Organization total events daily limit exceeded", "403::Handshake denied",
	"401::Request requires authentication", "400::no BAYEUX_BROWSER cookie", "400::The replayId for channel {x} wasn't found", "", "::", "999::", "403", "412::", "405::",
}

func fuzzedAdvice(l *lane) string {
	if l.pick(4) == 3 {
		return l.value(2)
	}
	var fields [][2]string
	if how := one(l, []string{"retry", "handshake", "none", "", "RETRY"}); how != "" {
		fields = append(fields, [2]string{"reconnect", quoted(how)})
	}
	for _, name := range []string{"interval", "timeout"} {
		if l.pick(2) == 1 {
			fields = append(fields, [2]string{name, one(l, append([]string{"110000", "30001", "29999", "100", `"0"`, "40000"}, oddNumbers...))})
		}
	}
	return object(fields)
}

// fuzzedEvent is an event, by and large.
func fuzzedEvent(l *lane) string {
	channel := quoted(one(l, []string{"/topic/A", "/event/B__e", "/data/ChangeEvents", "/u/A", "/topic/Other", "/topic/A?N__c='1'", "/meta/connect", ""}))
	if channel == `""` {
		channel = l.value(0)
	}
	id := one(l, []string{"1", "2", "12", "3", "4", "5", `"6"`, "null", "-1", "999999999999999999999999999", "1.5", `""`, "00012", "9223372036854775808"})
	date := one(l, []string{`"2000-01-01T00:00:01.000Z"`, `"1999-12-31T00:00:00.000Z"`, `"9999-01-01T00:00:00.000+0000"`, "946684801000", "-1", `"soon"`, "1e30", "{}"})
	data := ""
	switch l.pick(6) {
	case 0:
		data = fmt.Sprintf(`{"event":{"createdDate":%s,"replayId":%s,"type":"updated"},"sobject":{"Id":"a00","Number__c":%s}}`, date, id, l.value(1))
	case 1:
		data = fmt.Sprintf(`{"schema":"dff","payload":{"CreatedDate":%s,"Text":%s},"event":{"EventUuid":"u1","replayId":%s}}`, date, l.value(1), id)
	case 2:
		data = fmt.Sprintf(`{"schema":"dff","payload":{"ChangeEventHeader":{"commitTimestamp":%s,"recordIds":%s},"Name":%s},"event":{"replayId":%s}}`, date, l.value(1), l.value(2), id)
	case 3:
		data = fmt.Sprintf(`{"payload":%s,"event":{"createdDate":%s,"replayId":%s}}`, l.value(2), date, id)
	case 4:
		data = l.value(4)
	case 5:
		data = fmt.Sprintf(`{"event":%s,"payload":%s,"sobject":%s,"schema":%s}`, l.value(2), l.value(1), l.value(1), l.value(1))
	}
	if l.pick(8) == 7 {
		return fmt.Sprintf(`{"data":%s,"channel":%s,"id":"1","clientId":%s,"successful":%s}`, data, channel, l.value(0), l.value(0))
	}
	return fmt.Sprintf(`{"channel":%s,"data":%s}`, channel, data)
}

// hostileBody comes in pieces, and may stop before its end.
type hostileBody struct {
	ctx    context.Context
	text   []byte
	piece  int           // most bytes at a time; 0: all
	pause  time.Duration // before each
	end    error         // nil: EOF
	hang   bool          // instead of an end
	once   sync.Once
	closed chan struct{}
}

func (b *hostileBody) shape(l *lane) {
	if l.pick(2) == 1 {
		b.text = b.text[:l.pick(256)*len(b.text)/256]
	}
	b.pause = one(l, oddDurations)
	b.piece = 1 + len(b.text)/(1+l.pick(20))
	b.end = one(l, []error{nil, io.ErrUnexpectedEOF, errors.New("stream error")})
	b.hang = l.pick(2) == 1
}

func (b *hostileBody) Read(p []byte) (int, error) {
	if b.pause > 0 {
		b.wait(time.After(b.pause))
	}
	if len(b.text) == 0 && b.hang {
		b.wait(nil)
	}
	select {
	case <-b.closed:
		return 0, errors.New("read of a closed body")
	default:
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if len(b.text) == 0 {
		if b.end != nil {
			return 0, b.end
		}
		return 0, io.EOF
	}
	n := len(b.text)
	if b.piece > 0 {
		n = min(n, b.piece)
	}
	n = copy(p, b.text[:n])
	b.text = b.text[n:]
	return n, nil
}

func (b *hostileBody) wait(timer <-chan time.Time) {
	select {
	case <-timer:
	case <-b.closed:
	case <-b.ctx.Done():
	}
}

func (b *hostileBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}
