package fuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// A fuzz input is a program that a hostile server follows. It has a lane for each kind of request,
// so that what one is answered does not depend on which other one came first. At its end a lane
// says zero: the server behaves then.
const laneEnd = "\xff\xfe"

// program joins lanes.
func program(lanes ...string) []byte { return []byte(strings.Join(lanes, laneEnd)) }

type lane struct {
	mu    sync.Mutex
	steps []byte
	at    int
	again bool // it starts anew at its end
}

func newLanes(input []byte, n int) []*lane {
	lanes := make([]*lane, n)
	parts := bytes.SplitN(input, []byte(laneEnd), n)
	for i := range lanes {
		lanes[i] = new(lane)
		if i < len(parts) {
			lanes[i].steps = parts[i]
		}
	}
	return lanes
}

// pick is one of n choices; the first one is to behave well.
func (l *lane) pick(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again && l.at >= len(l.steps) {
		l.at = 0
	}
	if l.at >= len(l.steps) {
		return 0
	}
	l.at++
	return int(l.steps[l.at-1]) % n
}

// raw is some of the input as it stands.
func (l *lane) raw() []byte {
	n := l.pick(64)
	l.mu.Lock()
	defer l.mu.Unlock()
	from := min(l.at, len(l.steps))
	l.at = min(from+n, len(l.steps))
	return l.steps[from:l.at:l.at]
}

func one[T any](l *lane, of []T) T { return of[l.pick(len(of))] }

// The token is long: a part of it is a leak too.
const (
	secretMark  = "SECRET-0"
	fuzzedToken = "SECRET-0123456789abcdefghijklmnopqrstuvwxyz"
)

var (
	oddNumbers = []string{
		"0", "1", "-1", "7", "1000", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e999", "1e-999", "0.1", "-0",
		"123456789012345678901234567890", "1E+2", "007", "86400000", "1767323045000", "99999999999999999", "-",
	}
	oddTexts = []string{
		"", "abc", "2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05+0000", "9999-99-99T99:99:99Z", "true", "null", "1", "\x00", "\u2028", "\xff\xfe",
		`\ud800`, `"`, `\`, "/meta/connect", "001000000000001AAA", "0x1", "12:00:00.000Z", fuzzedToken, strings.Repeat("long ", 2000),
	}
	oddDurations = []time.Duration{
		0, time.Millisecond, 99 * time.Millisecond, time.Second, 4 * time.Second, 6 * time.Second, 11 * time.Second, 31 * time.Second, time.Minute, 109 * time.Second,
		111 * time.Second, 5 * time.Minute,
	}
)

// text is what may stand where a text should.
func (l *lane) text() string {
	if i := l.pick(len(oddTexts) + 1); i < len(oddTexts) {
		return oddTexts[i]
	}
	return string(l.raw())
}

// errorText is text with a token in it, here and there.
func (l *lane) errorText(of []string) string {
	switch l.pick(4) {
	case 0:
		return one(l, of)
	case 1:
		return one(l, of) + " for " + fuzzedToken
	case 2:
		return l.text()
	default:
		return strings.Repeat("x", l.pick(256)) + fuzzedToken + strings.Repeat("y", l.pick(256)) + fuzzedToken
	}
}

// wait is a delay on the server's side.
func (l *lane) wait(ctx context.Context) {
	if d := one(l, oddDurations); d > 0 {
		waitFor(ctx, d)
	}
}

func waitFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// value is JSON of any kind, mostly.
func (l *lane) value(depth int) string {
	kind := l.pick(8)
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return "null"
	case 1:
		return one(l, oddNumbers)
	case 2:
		return quoted(l.text())
	case 3:
		return one(l, []string{"true", "false"})
	case 4:
		return string(l.raw())
	case 5:
		var list []string
		for range l.pick(4) {
			list = append(list, l.value(depth-1))
		}
		return "[" + strings.Join(list, ",") + "]"
	case 6:
		var members []string
		for range l.pick(4) {
			members = append(members, quoted(l.text())+":"+l.value(depth-1))
		}
		return "{" + strings.Join(members, ",") + "}"
	default:
		n := 1 + 40*l.pick(256)
		return strings.Repeat(one(l, []string{"[", `{"a":`}), n) + "1" + strings.Repeat(one(l, []string{"]", "}"}), n)
	}
}

func quoted(s string) string {
	text, err := json.Marshal(s) // never fails
	if err != nil {
		return `""`
	}
	return string(text)
}

// A victim is the program that follows channels of a hostile server.
type victim struct {
	t      *testing.T
	client *sfstream.Client
	log    *lab.Log
	pace   *pace
}

// inFuzzBubble runs a fuzz input in a bubble. One that spins, so that the bubble's
// time stands still, ends the process.
func inFuzzBubble(t *testing.T, run func(t *testing.T)) {
	stuck := time.AfterFunc(30*time.Second, func() {
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("the bubble's time stands still\n%s", stacks[:runtime.Stack(stacks, true)]))
	})
	defer stuck.Stop()
	synctest.Test(t, run)
}

// newVictim has opened a client. Some of its options are the input's.
func newVictim(t *testing.T, l *lane, opts ...sfstream.Option) *victim {
	t.Helper()
	v := &victim{t: t, log: new(lab.Log), pace: newPace()}
	login := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		v.pace.add("login")
		return &authenticator.Credentials{AccessToken: fuzzedToken, InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA", IssuedAt: time.Now()}, nil
	})
	all := []sfstream.Option{
		sfstream.WithReplayStore(replaystore.NewMemory()), sfstream.WithLogger(v.log.Logger()), sfstream.WithHTTPClient(lab.Nowhere),
		sfstream.WithPrefetch(one(l, []int{200, 1, 3, 1000})),
		sfstream.WithReplay(one(l, []sfstream.Replay{sfstream.ReplayNew, sfstream.ReplayAll, sfstream.ReplayAfter([]byte("12"))})),
		sfstream.WithReplayFallback(one(l, []sfstream.Fallback{sfstream.FallbackFail, sfstream.FallbackAll, sfstream.FallbackNew})),
		sfstream.WithAck(one(l, []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckOnReceive, sfstream.AckManual})),
	}
	if drop := l.pick(2) == 1; drop {
		all = append(all, sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(_ string, err error) bool {
			v.check("OnSubscriptionError", err)
			return true
		}}))
	}
	c, err := sfstream.New(login, append(all, opts...)...)
	lab.Must(t, err)
	v.client = c
	lab.Must(t, c.Open(t.Context()))
	return v
}

// live is what a program does: it follows channels, leaves one, comes back and
// ends. It ends early where the client does.
func (v *victim) live(channels ...string) {
	v.t.Helper()
	defer v.close()
	ctx, stop := context.WithCancel(v.t.Context())
	var consumer sync.WaitGroup
	defer consumer.Wait()
	defer stop()
	for _, channel := range channels {
		v.subscribe(channel)
	}
	consumer.Go(func() { v.consume(ctx) })
	time.Sleep(5 * time.Minute)
	v.look()
	lab.Within(v.t, 7*time.Second, func() { v.check("Unsubscribe", v.client.Unsubscribe(v.t.Context(), channels[0])) })
	v.subscribe(channels[0])
	time.Sleep(time.Minute)
	v.look()
}

func (v *victim) subscribe(channel string) {
	v.t.Helper()
	lab.Within(v.t, 31*time.Second, func() { v.check("Subscribe", v.client.Subscribe(v.t.Context(), channel)) })
}

// look reads what the client tells about itself.
func (v *victim) look() {
	v.t.Helper()
	v.check("Err", v.client.Err())
	for _, channel := range v.client.Status().Channels {
		v.safe("Status", fmt.Sprintf("%+v", channel))
	}
}

func (v *victim) close() {
	v.t.Helper()
	lab.Within(v.t, 5*time.Second, func() { v.check("Close", v.client.Close()) })
	v.pace.check(v.t)
	v.safe("the log", v.log.String())
}

// consume takes what comes, and stands still now and then.
func (v *victim) consume(ctx context.Context) {
	n := 0
	for m := range v.client.Messages(ctx) {
		v.handle(m)
		m.Ack()
		if n++; n%50 == 0 {
			waitFor(ctx, 5*time.Second)
		}
	}
	v.check("Err", v.client.Err())
}

type fuzzedRecord struct {
	CreatedDate   time.Time
	Number        int `sf:"Number__c"`
	Text          *string
	List          []any
	Nested        map[string]string
	Address       struct{ City string } `sf:"BillingAddress"`
	Header        map[string]any        `sf:"ChangeEventHeader"`
	LastModified  int64                 `sf:"LastModifiedDate"`
	UnsignedByte  uint8                 `sf:"b"`
	Single        float32               `sf:"f"`
	CreatedByID   string                `sf:"CreatedById"`
	ReplayPayload any                   `sf:"payload"`
}

// handle reads a message in every way.
func (v *victim) handle(m *sfstream.Message) {
	fields, err := m.Fields()
	v.decoded("Fields", err)
	if err == nil && fields == nil {
		v.t.Error("Fields returns nil and no error")
	}
	_, err = sfstream.Decode[fuzzedRecord](m)
	v.decoded("Decode", err)
	_, err = sfstream.Decode[map[string]string](m)
	v.decoded("Decode", err)
	text, err := m.MarshalJSON()
	v.decoded("MarshalJSON", err)
	if err == nil && !json.Valid(text) {
		v.t.Errorf("MarshalJSON gives what is no JSON: %.300q", text)
	}
	clone := m.Clone()
	if !clone.Date().Equal(m.Date()) || !bytes.Equal(clone.Raw(), m.Raw()) || clone.ID != m.ID {
		v.t.Errorf("a clone differs: %v, %v", clone, m)
	}
}

func (v *victim) decoded(what string, err error) {
	if err == nil {
		return
	}
	var decode *sfstream.DecodeError
	if !errors.As(err, &decode) {
		v.t.Errorf("%s: %T, want a *DecodeError: %v", what, err, err)
	}
	_ = err.Error() // what it shows of the event is the event's
}

// check wants an error to be one that a program can act on.
func (v *victim) check(what string, err error) {
	v.t.Helper()
	if err == nil {
		return
	}
	var (
		server  *sfstream.ServerError
		auth    *sfstream.AuthError
		replay  *sfstream.ReplayError
		timeout *sfstream.TimeoutError
	)
	typed := errors.As(err, &server) || errors.As(err, &auth) || errors.As(err, &replay) || errors.As(err, &timeout) ||
		errors.Is(err, sfstream.ErrNotSubscribed) || errors.Is(err, sfstream.ErrAlreadySubscribed) || errors.Is(err, context.DeadlineExceeded)
	if !typed {
		v.t.Errorf("%s: an error of no type: %v", what, err)
	}
	v.safe(what, fmt.Sprintf("%v %+v", err, err))
	if text := err.Error(); len(text) > 8<<10 {
		v.t.Errorf("%s: an error of %d bytes: %.300q", what, len(text), text)
	}
}

func (v *victim) safe(what, text string) {
	v.t.Helper()
	if i := strings.Index(text, secretMark); i >= 0 {
		v.t.Errorf("%s shows the token: %q", what, text[max(0, i-200):min(len(text), i+60)])
	}
}

// pace counts what a client asks of a server. One that asks far too often is
// stopped: it would take real time.
type pace struct {
	began   time.Time
	mu      sync.Mutex
	counts  map[string]int
	sent    int    // bytes of what is repeated or large
	busy    bool   // the last connect brought something
	stormed string // by what
	after   time.Duration
}

const (
	storm      = 1500
	muchToSend = 4 << 20
)

func newPace() *pace { return &pace{began: time.Now(), counts: make(map[string]int)} }

// add reports false where the server is to say nothing more.
func (p *pace) add(kind string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[kind]++
	if p.counts[kind] > storm && p.stormed == "" {
		p.stormed, p.after = kind, time.Since(p.began)
	}
	return p.stormed == ""
}

// grant bounds what a server sends, which would take real time.
func (p *pace) grant(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent+n > muchToSend {
		return false
	}
	p.sent += n
	return true
}

// connect counts connects that bring nothing, one after the other. It reports what
// add does.
func (p *pace) connect(busy bool) bool {
	p.mu.Lock()
	again := !busy && !p.busy
	p.busy = busy
	p.mu.Unlock()
	return !again || p.add("idle connect")
}

// perHour is how often a kind of request may come. A session that brings something
// resets the backoff, whose first wait is 250 ms in the mean. grpc dials again at
// once where a server begins to speak HTTP/2 and then does not go on.
var perHour = map[string]int{"login": 1000, "handshake": 20_000, "idle connect": 60_000, "GetTopic": 2000, "Subscribe": 40_000, "dial": 40_000}

func (p *pace) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.began)
	if p.stormed != "" {
		took = p.after
	}
	for kind, limit := range perHour {
		if allowed := 100 + float64(limit)*took.Hours(); float64(p.counts[kind]) > allowed {
			t.Errorf("%d times %s within %s, of %v", p.counts[kind], kind, took, p.counts)
		}
	}
}

var oddHeaders = []http.Header{
	{"Retry-After": {"5"}}, {"Retry-After": {"-1"}}, {"Retry-After": {"99999999999"}}, {"Retry-After": {"Fri, 31 Dec 1999 23:59:59 GMT"}}, {"Retry-After": {"100000"}},
	{"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}}, {"Date": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, {"Date": {"yesterday"}}, {"Date": {"Sat, 01 Jan 2000 00:05:00 GMT"}},
	{"Set-Cookie": {"BAYEUX_BROWSER=abc; Secure; HttpOnly", "x=" + strings.Repeat("y", 5000)}}, {"Set-Cookie": {"BAYEUX_BROWSER=; Max-Age=0", "=;="}},
	{"Location": {"https://elsewhere.example/services/data/"}}, {"Location": {"/services/data/"}}, {"Location": {"%"}}, {"Content-Type": {"text/html"}}, {"Content-Encoding": {"gzip"}},
}
