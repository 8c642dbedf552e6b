package sfstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var (
	judgedAt   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	errTrouble = &ServerError{Code: Unavailable, Message: "trouble"}
	errStale   = &ServerError{Code: ReplayInvalid, Message: "stale"}
	errNoSuch  = &ServerError{Code: NotFound, Message: "no such channel"}
	errBadCall = &ServerError{Code: Invalid, Message: "a mistake of ours"}
	errWords   = &ServerError{Code: Invalid, Message: "made up", unknown: unknownWords}
	errRefusal = &ServerError{Code: Invalid, Message: "made up", unknown: unknownRefusal}
	errReplay  = &ServerError{Code: Internal, Message: "the Replay is odd", unknown: unknownWords}
)

// ago is a time before the judgement.
func ago(d time.Duration) time.Time { return judgedAt.Add(-d) }

// described is what a verdict says, in words.
func described(v verdict) string {
	var replay *ReplayError
	s := [...]string{"at the position", "at the group", "quiet", "at the oldest, for a possible gap", "at the oldest", "at new", "where the subscription says"}[v.resume]
	switch {
	case errors.As(v.fatal, &replay):
		s = "ends as stale"
	case v.fatal != nil:
		s = "ends"
	case v.pacing == byLink:
		s += ", backoff of the link"
	case v.pacing == byChannel:
		s += ", backoff of the channel"
	case v.pacing == byServer:
		s += ", as the server says"
	}
	s += [...]string{"", ", a new login for the token", ", a new login for the denial", ", a new login for the move"}[v.relogin]
	if v.wait > 0 {
		s += ", at least " + v.wait.String()
	}
	if v.gap != nil {
		s += fmt.Sprintf(", gap (possible: %v)", v.gap.Possible)
	}
	if v.warning != "" {
		s += ", warned"
	}
	return s
}

// TestJudgedActions: every action, of a channel that is new and of one that was accepted before,
// the first time and again.
func TestJudgedActions(t *testing.T) {
	const ends, backsOff = "ends", "at the position, backoff of the channel"
	const trying, slowly = "at the position, a new login for the denial, at least 30s, warned", "at the position, at least 30s"
	stale := history{fellBack: ago(time.Second)}
	denied := history{denied: ago(time.Minute), deniedLast: ago(30 * time.Second)}
	said := func(err *ServerError, since, last time.Duration) history {
		return history{unknown: wording{err.Code.String() + err.Message, ago(since), ago(last)}}
	}
	for i, row := range []struct {
		act             action
		err             error
		history         history
		isNew, accepted string
	}{
		{actionRetry, errTrouble, history{}, backsOff, backsOff},
		{actionResume, errReopen, history{}, backsOff, backsOff},
		{actionReauthorize, errTrouble, history{}, backsOff, backsOff},
		{actionRelocate, errTrouble, history{}, backsOff, backsOff},
		{actionGiveUp, errBadCall, history{}, ends, ends},

		{actionFallback, errStale, history{}, "at the oldest, gap (possible: false)", "at the oldest, gap (possible: false)"},
		{actionFallback, errStale, stale, "at the oldest, backoff of the link, gap (possible: false)", "at the oldest, backoff of the link, gap (possible: false)"},
		{actionFallback, errStale, history{fellBack: ago(time.Minute)}, "at the oldest, gap (possible: false)", "at the oldest, gap (possible: false)"},

		{actionDenied, errNoSuch, history{}, ends, trying},
		{actionDenied, errNoSuch, denied, ends, slowly},
		{actionDenied, errNoSuch, history{denied: ago(10 * time.Minute), deniedLast: ago(30 * time.Second)}, ends, ends},
		{actionDenied, errNoSuch, history{denied: ago(10 * time.Minute), deniedLast: ago(6 * time.Minute)}, ends, trying}, // other trouble came between

		{actionRetryUnknown, errRefusal, history{}, ends, "at the position, backoff of the channel, warned"},
		{actionRetryUnknown, errWords, history{}, backsOff, "at the position, backoff of the channel, warned"},
		{actionRetryUnknown, errWords, said(errWords, time.Minute, time.Second), backsOff, "at the position, backoff of the channel, at least 30s"},
		{actionRetryUnknown, errWords, said(errReplay, 10*time.Minute, time.Second), backsOff, "at the position, backoff of the channel, warned"},
		{actionRetryUnknown, errWords, said(errWords, 10*time.Minute, 6*time.Minute), backsOff, "at the position, backoff of the channel, warned"},
		{actionRetryUnknown, errWords, said(errWords, 10*time.Minute, time.Second), backsOff, ends},
		{actionRetryUnknown, errReplay, said(errReplay, 10*time.Minute, time.Second), backsOff, "at the oldest, gap (possible: false)"},
	} {
		for _, accepted := range []bool{false, true} {
			want := row.isNew
			if accepted {
				want = row.accepted
			}
			s := situation{
				now: judgedAt, latest: judgedAt, channel: "/event/Order__e", accepted: accepted, history: row.history,
				last: replaystore.Marker{ReplayID: []byte("17")}, policy: FallbackAll,
			}
			v := s.judge(row.act, row.err)
			if got := described(v); got != want || v.action != row.act || v.err != row.err {
				t.Errorf("row %d, %s, accepted %v: %s; want %s", i, row.act, accepted, got, want)
			}
			if want == ends && v.fatal != row.err {
				t.Errorf("row %d, %s, accepted %v: ends with %v", i, row.act, accepted, v.fatal)
			}
		}
	}
}

// TestJudgedPositions: what becomes of a stale replay id, by what is known of the position and by
// the policy.
func TestJudgedPositions(t *testing.T) {
	at := func(live, followed time.Duration) replaystore.Marker {
		m := replaystore.Marker{ReplayID: []byte("17")}
		if live > 0 {
			m.Live = ago(live)
		}
		if followed > 0 {
			m.Followed = ago(followed)
		}
		return m
	}
	const stale, all, fresh = "ends as stale", "at the oldest, gap (possible: false)", "at new, gap (possible: false)"
	const quiet, possible = "quiet", "at the oldest, for a possible gap, gap (possible: true)"
	for i, row := range []struct {
		s              situation
		fail, all, new string
	}{
		{situation{last: at(0, 0)}, stale, all, fresh},
		{situation{last: replaystore.Marker{Live: ago(time.Hour)}}, stale, stale, stale}, // a fallback, refused too
		{situation{last: at(0, 0), openGroup: true}, "at the group", "at the group", "at the group"},
		{situation{last: at(70*time.Hour, 0)}, quiet, quiet, quiet},
		{situation{last: at(71*time.Hour, 0)}, stale, all, fresh}, // the margin
		{situation{last: at(-time.Hour, 0)}, stale, all, fresh},
		{situation{last: at(70*time.Hour, 0), channel: "/topic/Orders"}, stale, all, fresh},
		{situation{last: at(22*time.Hour, 0), channel: "/topic/Orders"}, quiet, quiet, quiet},
		{situation{last: at(80*time.Hour, time.Hour)}, possible, possible, possible},
		{situation{last: at(80*time.Hour, 71*time.Hour)}, stale, all, fresh},
	} {
		for policy, want := range map[Fallback]string{FallbackFail: row.fail, FallbackAll: row.all, FallbackNew: row.new} {
			s := row.s
			if s.now, s.latest, s.policy, s.accepted = judgedAt, judgedAt, policy, true; s.channel == "" {
				s.channel = "/event/Order__e"
			}
			v := s.judge(actionFallback, errStale)
			if got := described(v); got != want {
				t.Errorf("row %d, %s: %s; want %s", i, policy, got, want)
			}
			if v.gap != nil && (v.gap.Reason != errStale || string(v.gap.After.ReplayID) != "17") {
				t.Errorf("row %d, %s: gap %+v", i, policy, v.gap)
			}
		}
	}
	unknown := situation{now: judgedAt, last: at(time.Hour, 0), channel: "/event/Order__e"}
	if got := described(unknown.judge(actionFallback, errStale)); got != stale {
		t.Errorf("without Salesforce's time: %s", got)
	}
}

// TestJudgedInARow: what a channel remembers of its failures.
func TestJudgedInARow(t *testing.T) {
	s := situation{now: judgedAt, latest: judgedAt, channel: "/event/Order__e", accepted: true,
		last: replaystore.Marker{ReplayID: []byte("17"), Followed: ago(time.Minute)}, policy: FallbackAll}
	judge := func(after time.Duration, act action, err error) string {
		s.now = s.now.Add(after)
		v := s.judge(act, err)
		s.history = v.history
		return described(v)
	}
	for i, want := range []time.Duration{0, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		v := s.judgeMissed(errReset, true)
		if s.history = v.history; v.wait != want || v.resume != resumePossibleGap {
			t.Errorf("possible gap %d: %s", i, described(v))
		}
	}
	if s.history.possibles = 90; s.judgeMissed(errReset, true).wait != time.Hour {
		t.Error("a possible gap waits for longer than an hour, or less")
	}
	if v := s.judgeMissed(errReset, false); v.resume != resumeOldest || v.gap.Possible || v.notice != noticeNone {
		t.Errorf("a gap: %s", described(v))
	}

	for now := time.Duration(0); now < 10*time.Minute; now += 30 * time.Second {
		if got := judge(30*time.Second, actionDenied, errNoSuch); got == "ends" {
			t.Fatalf("a denial is believed after %s", now)
		}
	}
	if got := judge(30*time.Second, actionDenied, errNoSuch); got != "ends" {
		t.Errorf("denied for ten minutes: %s", got)
	}
	s.history.worked()
	if got := judge(30*time.Second, actionDenied, errNoSuch); got != "at the position, a new login for the denial, at least 30s, warned" {
		t.Errorf("denied anew: %s", got)
	}

	repeated := &ServerError{Code: Internal, Reason: "sfdc.platform.eventbus.grpc.subscription.fetch.replay.repeated"}
	for i := range repeatsTried {
		v := s.judgeRetry(repeated)
		if s.history = v.history; described(v) != "at the position, backoff of the link" {
			t.Errorf("replay ids repeat, %d: %s", i, described(v))
		}
	}
	if got := described(s.judgeRetry(repeated)); got != "at the oldest, gap (possible: false)" {
		t.Errorf("replay ids repeat again and again: %s", got)
	}
	if s.last.ReplayID = []byte("18"); described(s.judgeRetry(repeated)) != "at the position, backoff of the link" {
		t.Error("replay ids repeat at another position: no new stream is tried")
	}
	if s.below = true; described(s.judgeRetry(repeated)) != "at the oldest, gap (possible: false)" {
		t.Error("replay ids repeat, and a keepalive was behind the position: a new stream is tried")
	}
	if got := described(s.judgeRetry(errTrouble)); got != "at the position, backoff of the link" {
		t.Errorf("other trouble: %s", got)
	}
}

// TestJudgedSessions: what the end of a session means for its link.
func TestJudgedSessions(t *testing.T) {
	parted := fmt.Errorf("%w: %w", errSessionGone, errParted)
	token401 := &ServerError{Code: Unauthenticated}
	moved := &ServerError{Code: Unavailable, moved: &relocated{}}
	for _, row := range []struct {
		name string
		link link
		err  error
		want string
	}{
		{"it was of use", link{course: course{useful: true}}, errReopen, "resume, resumed: at the position, as the server says"},
		{"it was of none", link{}, errReopen, "retry, disconnected: at the position, backoff of the link"},
		{"it was short", link{}, parted, "resume, parted: at the position, backoff of the link"},
		{"it was short again", link{outage: outage{parted: true}}, parted, "retry, disconnected: at the position, backoff of the link"},
		{"its token is refused", link{}, token401, "reauthorize, disconnected: at the position, a new login for the token"},
		{"its token is refused again", link{refused: new(token)}, token401, "reauthorize, disconnected: at the position, backoff of the link, a new login for the token, ends new ones"},
		{"its instance is gone", link{}, moved, "relocate, disconnected: at the position, backoff of the link, a new login for the move"},
		{"it fails", link{}, errTrouble, "retry, disconnected: at the position, backoff of the link"},
		{"its last channel has left", link{}, errNoSuch, "denied, disconnected: at the position, backoff of the link"},
	} {
		l := &row.link
		l.roster = new(roster)
		v, _ := l.judge(row.err, judgedAt)
		notice := [...]string{"told nothing", "disconnected", "refused", "resumed", "parted"}[v.notice]
		got := fmt.Sprintf("%s, %s: %s", v.action, notice, described(v))
		if v.endUnaccepted {
			got += ", ends new ones"
		}
		if got != row.want {
			t.Errorf("%s: %s; want %s", row.name, got, row.want)
		}
	}
}

func TestEnumsPrintAsText(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{StateLive, "live"}, {State(9), "State(9)"}, {NotFound, "NotFound"}, {Code(-1), "Code(-1)"}, {CometD, "CometD"}, {Transport(7), "Transport(7)"},
		{FallbackNew, "new"}, {EndGap, "EndGap"}, {AckManual, "AckManual"}, {AckPolicy(3), "AckPolicy(3)"},
	} {
		if got := fmt.Sprint(tt.value); got != tt.want {
			t.Errorf("%T prints as %s, want %s", tt.value, got, tt.want)
		}
		if text, err := json.Marshal(tt.value); err != nil || string(text) != `"`+tt.want+`"` {
			t.Errorf("%T in JSON: %s, %v", tt.value, text, err)
		}
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("m", "value", tt.value)
			if !strings.Contains(b.String(), `"value":"`+tt.want+`"`) && !strings.Contains(b.String(), `value=`+tt.want+"\n") {
				t.Errorf("%T in the log: %s", tt.value, b.String())
			}
		}
	}
	if text, err := json.Marshal(ChannelStatus{State: StateParked}); err != nil || !bytes.Contains(text, []byte(`"State":"parked"`)) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEnumsAreReadAsText(t *testing.T) {
	all := struct {
		State     State
		Code      Code
		Transport Transport
		Fallback  Fallback
		End       TransactionEnd
		Ack       AckPolicy
	}{StateParked, LimitExceeded, CometD, FallbackNew, EndQuiet, AckOnReceive}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	again := all
	again.State, again.Transport, again.Ack = 0, 0, 0
	if err := json.Unmarshal(text, &again); err != nil || again != all {
		t.Errorf("%s is read as %+v, %v", text, again, err)
	}
	for _, name := range []string{`"State(9)"`, `"Live"`, `""`, `"State(1)"`} {
		if err := json.Unmarshal([]byte(name), &again.State); err == nil || again.State != StateParked {
			t.Errorf("%s is %v (%v)", name, again.State, err)
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	cause := errors.New("one\r\n\ttwo\x1b[31m\u2028three\u0085four")
	for _, err := range []error{
		&ServerError{API: apiCometD, Message: cause.Error()}, &ServerError{API: apiPubSub, Channel: "/event/X__e", err: cause},
		&AuthError{LoginURL: "https://x", err: cause}, &AuthError{Channel: "/event/X__e", err: cause},
		&ReplayError{Channel: "/event/X__e", err: cause}, &DecodeError{Channel: "/event/X__e", err: cause},
		&StoreError{Op: "save", err: cause}, &StoreError{Op: "load", Channel: "/event/X__e", err: cause},
		&TimeoutError{Channel: "/event/X__e", err: cause}, oneline.Join(cause, nil, io.EOF),
	} {
		if text := err.Error(); strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsRune(text, '\u2028') {
			t.Errorf("%q", text)
		}
	}
}

// A ReplayError says what its *ServerError says, but for what it says itself.
func TestAReplayErrorSaysEachThingOnce(t *testing.T) {
	server := &ServerError{API: apiPubSub, Channel: "/event/X__e", Code: ReplayInvalid, Message: "The Replay ID validation failed.", RPCID: "7f"}
	text := (&ReplayError{Channel: "/event/X__e", Marker: replaystore.Marker{ReplayID: []byte{0, 1}}, err: server}).Error()
	for _, once := range []string{"/event/X__e", "The Replay ID validation failed.", "rpc id 7f", "WithReplayFallback", "From", "0001"} {
		if strings.Count(text, once) != 1 {
			t.Errorf("%q is not once in %s", once, text)
		}
	}
}

// What Salesforce says of a managed subscription: the server keeps its position, so that a stale
// one is no end; one that is not known may be new, and its topic or the permission may come back.
func TestJudgedManagedSubscriptions(t *testing.T) {
	s := situation{now: judgedAt, accepted: true, managed: true, policy: FallbackFail, last: replaystore.Marker{ReplayID: []byte("1")}}
	if got := described(s.judge(actionFallback, errStale)); !strings.HasPrefix(got, "where the subscription says, gap (possible: true)") {
		t.Errorf("stale: %s", got)
	}
	unknown := &ServerError{Code: NotFound, Reason: "sfdc.platform.eventbus.grpc.managed.subscription.developer.name.not.found"}
	v := s.judge(actionDenied, unknown)
	if v.fatal != nil || v.wait != managedLagEvery {
		t.Errorf("not found: %s", described(v))
	}
	s.history = v.history
	for range 20 {
		s.now = s.now.Add(managedLagEvery)
		v = s.judge(actionDenied, unknown)
		s.history = v.history
	}
	if v.fatal == nil {
		t.Errorf("not found for long: %s", described(v))
	}
	s.history = history{}
	if v := s.judge(actionDenied, errNoSuch); v.fatal != nil || v.wait != deniedEvery {
		t.Errorf("its topic is not found: %s", described(v))
	}
}

const replayText = "The Replay ID validation failed. Ensure that the Replay ID is valid."

// pubsubErrors are the rows of Salesforce's error table, with every status that they were seen
// with: what they mean, what is done about it, and what the same error means to who gets it from a
// proxy that strips trailers.
var pubsubErrors = []struct {
	code     string // without prefix
	status   codes.Code
	want     Code
	action   action
	stripped Code
	after    time.Duration
}{
	{"service.unavailable", codes.Internal, Unavailable, actionRetry, Internal, 5 * time.Second},
	{"service.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 5 * time.Second},
	{"service.auth.error", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"service.auth.headers.invalid", codes.Unauthenticated, Invalid, actionGiveUp, Unauthenticated, 0},
	{"service.auth.headers.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"service.auth.refresh.invalid", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"service.protection.triggered", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"service.protection.stream.limit.triggered", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"service.tenant.license", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"concurrent.client.limit.exceeded", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, time.Minute},
	{"topic.not.found", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"topic.meta.permission", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"topic.meta.permission", codes.NotFound, PermissionDenied, actionDenied, NotFound, 0},
	{"topic.api.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"schema.api.unavailable", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"topic.validation.empty", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"schema.meta.permission", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"schema.validation.failed", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.replayid.corrupted", codes.InvalidArgument, ReplayInvalid, actionFallback, ReplayInvalid, 0},
	{"subscription.fetch.replayid.validation.failed", codes.InvalidArgument, Invalid, actionGiveUp, ReplayInvalid, 0}, // a bug of ours, which the text alone does not tell
	{"subscription.fetch.replay.repeated", codes.Internal, Internal, actionRetry, Internal, 0},
	{"subscription.fetch.overflow", codes.ResourceExhausted, Internal, actionRetry, LimitExceeded, 0},
	{"subscription.fetch.overflow", codes.InvalidArgument, Internal, actionRetry, Invalid, 0},
	{"subscription.fetch.requested.events.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.topic.mismatch", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.fetch.request.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"subscription.topic.cannot.subscribe", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"subscription.limit.exceeded", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 10 * time.Minute},
	{"subscription.limit.exceeded", codes.Unknown, LimitExceeded, actionRetry, Unavailable, 10 * time.Minute},
	{"subscription.internal.error", codes.Internal, Internal, actionRetry, Internal, 0},

	// Of calls that this client does not make: the status decides.
	{"publish.stream.sweeper.timeout", codes.Canceled, Unavailable, actionRetry, Unavailable, 0},
	{"publish.stream.sweeper.timeout", codes.DeadlineExceeded, Unavailable, actionRetry, Unavailable, 0},
	{"publish.auth.refresh.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.event.count.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.topic.mismatch", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"publish.topic.validation.empty", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},
	{"managed.subscription.already.active", codes.FailedPrecondition, Unavailable, actionRetry, Internal, 0},
	{"managed.subscription.already.active", codes.AlreadyExists, Unavailable, actionRetry, Unavailable, 0},
	{"managed.subscription.config.stopped", codes.FailedPrecondition, Invalid, actionGiveUp, Internal, 0},
	{"managed.subscription.config.deleted", codes.NotFound, NotFound, actionGiveUp, NotFound, 0},
	{"managed.subscription.developer.name.not.found", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"managed.subscription.subscription.id.invalid", codes.InvalidArgument, Invalid, actionGiveUp, Invalid, 0},

	// Codes of next year: the status decides.
	{"made.up", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"made.up", codes.Internal, Internal, actionRetry, Internal, 0},
	{"made.up", codes.Unauthenticated, Unauthenticated, actionReauthorize, Unauthenticated, 0},
	{"made.up", codes.PermissionDenied, PermissionDenied, actionDenied, PermissionDenied, 0},
	{"made.up", codes.NotFound, NotFound, actionDenied, NotFound, 0},
	{"made.up", codes.ResourceExhausted, LimitExceeded, actionRetry, LimitExceeded, 0},
	{"made.up", codes.InvalidArgument, Invalid, actionRetryUnknown, Invalid, 0},

	// No trailer at all.
	{"", codes.Unavailable, Unavailable, actionRetry, Unavailable, 0},
	{"", codes.Internal, Internal, actionRetry, Internal, 0},
	{"", codes.Unimplemented, NotFound, actionDenied, NotFound, 0},
	{"", codes.Unknown, Unavailable, actionRetry, Unavailable, 0},
	{"", codes.InvalidArgument, Invalid, actionRetryUnknown, Invalid, 0},
	{"", codes.Aborted, Internal, actionRetry, Internal, 0},
	{"", codes.DataLoss, Internal, actionRetry, Internal, 0},
	{"", codes.Code(99), Internal, actionRetry, Internal, 0},
}

func TestTranslateAndClassify(t *testing.T) {
	for _, row := range pubsubErrors {
		t.Run(fmt.Sprint(row.code, " ", row.status), func(t *testing.T) {
			text := "Some text."
			if strings.Contains(row.code, "replayid") {
				text = replayText
			}
			var trailer metadata.MD
			if row.code != "" {
				trailer = metadata.Pairs("error-code", reasonPrefix+row.code, "rpc-id", "the-rpc")
			}
			err := status.Error(row.status, text+" rpcId: from-the-text")
			e := translate("/event/X__e", err, trailer)
			if e.Code != row.want || e.RetryAfter != row.after || e.Channel != "/event/X__e" || e.API != apiPubSub {
				t.Errorf("%+v, want %v after %v", e, row.want, row.after)
			}
			if got := classify(e); got != row.action {
				t.Errorf("action %v, want %v", got, row.action)
			}
			if got := classify(fmt.Errorf("wrapped: %w", e)); got != row.action {
				t.Errorf("wrapped, the action is %v, want %v", got, row.action)
			}
			if row.code != "" && (e.Reason != reasonPrefix+row.code || e.RPCID != "the-rpc") || e.Message != text {
				t.Errorf("%+v", e)
			}
			if !errors.Is(e, err) {
				t.Error("it does not unwrap to the status")
			}
			bare := translate("/event/X__e", err, nil)
			if bare.Code != row.stripped || bare.RPCID != "from-the-text" || bare.Message != text {
				t.Errorf("without trailers %+v, want %v", bare, row.stripped)
			}
		})
	}
}

func TestTranslateTakesACodeWithoutItsPrefix(t *testing.T) {
	e := translate("", status.Error(codes.InvalidArgument, "text"), metadata.Pairs("error-code", "subscription.fetch.replayid.corrupted"))
	if e.Code != ReplayInvalid {
		t.Errorf("%+v", e)
	}
}

func TestClassifyOfErrorsThatNoServerSent(t *testing.T) {
	login := func(code string, of int) error {
		return &AuthError{err: &authenticator.Error{Code: code, StatusCode: of}}
	}
	for _, row := range []struct {
		err  error
		want action
	}{
		{io.EOF, actionResume},
		{fmt.Errorf("a torn connection: %w", io.EOF), actionRetry},
		{io.ErrUnexpectedEOF, actionRetry},
		{errors.New("connection reset"), actionRetry},
		{context.DeadlineExceeded, actionRetry},
		{fmt.Errorf("%w: bad endpoint", ErrInvalidOption), actionGiveUp},
		{&AuthError{err: fmt.Errorf("%w: no org id", ErrInvalidOption)}, actionGiveUp},
		{&AuthError{err: errors.New("of the user's own")}, actionRetry},
		{login("invalid_grant", 400), actionGiveUp},
		{login("invalid_client", 401), actionGiveUp},
		{login("inactive_user", 400), actionGiveUp},
		{login("rate_limit_exceeded", 400), actionRetry},
		{login("html_reply", 503), actionRetry},
		{login("no_answer", 0), actionRetry},
		{&ServerError{Code: LimitExceeded}, actionRetry},
	} {
		if got := classify(row.err); got != row.want {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

// FuzzTranslate feeds what a proxy might write. Whatever it is, it must become an error that is
// acted on, and only what says so may be a stale replay id.
func FuzzTranslate(f *testing.F) {
	f.Add(uint32(3), replayText, "", "")
	f.Add(uint32(13), "text rpcId: 1 rpcId: 2", reasonPrefix+"service.unavailable", "x")
	f.Add(uint32(99), "", reasonPrefix, "")
	f.Fuzz(func(t *testing.T, code uint32, text, reason, rpcID string) {
		trailer := metadata.MD{}
		if reason != "" {
			trailer["error-code"] = []string{reason}
		}
		if rpcID != "" {
			trailer["rpc-id"] = []string{rpcID}
		}
		err := status.New(codes.Code(code), text).Err()
		if err == nil {
			return
		}
		e := translate("/event/X__e", err, trailer)
		if e.Code < Internal || e.Code > Invalid || e.RetryAfter < 0 || e.Error() == "" || !strings.Contains(text, e.Message) {
			t.Errorf("%+v", e)
		}
		told := reason == reasonPrefix+"subscription.fetch.replayid.corrupted" || reason == "subscription.fetch.replayid.corrupted" ||
			codes.Code(code) == codes.InvalidArgument && strings.Contains(text, "Replay ID validation failed")
		if e.Code == ReplayInvalid && !told {
			t.Errorf("%+v is taken for a stale replay id", e)
		}
		_ = classify(e).String()
	})
}

// TestStreamingErrors holds the errors of internal/bayeux/PROTOCOL.md, "Errors", in the forms that
// were seen: what they mean, and what the link does.
func TestStreamingErrors(t *testing.T) {
	const (
		handshake = "/meta/handshake"
		connect   = "/meta/connect"
		subscribe = "/meta/subscribe"
	)
	busy := "503::Server is too busy.  Please try your request again later."
	for _, test := range []struct {
		channel, error, reason, advice string
		code                           Code
		action                         action
		after                          time.Duration
		session                        bool // also as the answer to a subscribe
	}{
		{channel: handshake, error: "400::API version in the URI is mandatory. URI format: '/cometd/67.0'", code: Invalid, action: actionGiveUp, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "400::Unsupported API version. Only API versions '37.0' and later are supported.", code: Invalid, action: actionGiveUp, session: true},
		{channel: connect, error: "400::Invalid connection type {x}", code: Invalid, action: actionGiveUp},
		{channel: subscribe, error: "400::The channel you requested to subscribe to does not exist {/topic/X}", code: NotFound, action: actionDenied},
		{channel: subscribe, error: "400::The channel you requested to subscribe to doesn’t exist {/topic/X}.", code: NotFound, action: actionDenied},
		{channel: subscribe, error: "400::Channel name not specified", code: Invalid, action: actionGiveUp},
		{channel: subscribe, error: "400::Channel subscriptions must start with a leading '/'", code: Invalid, action: actionGiveUp},
		{channel: subscribe, error: "400::Query fields {A,B} do not exist on the topic entity", code: Invalid, action: actionGiveUp},
		{channel: connect, error: "400::Client abc has established a session, but no BAYEUX_BROWSER cookie present", code: Internal, action: actionResume, session: true},
		{channel: subscribe, error: "400::The replayId {17} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.", code: ReplayInvalid, action: actionFallback},
		{channel: subscribe, error: "400::The replayId {17} you provided was invalid. Please provide a valid ID", code: ReplayInvalid, action: actionFallback},
		{channel: subscribe, error: "400::The replayId for channel {/topic/X} wasn't found using the provided replay ID map {{}}. Ensure that …", code: Invalid, action: actionGiveUp},
		{channel: subscribe, error: "400::The replayId for channel {/topic/X} wasn’t found using the provided replay ID map", code: Invalid, action: actionGiveUp},
		{channel: connect, error: "400::Authenticated user id does not match the session's user id", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: connect, error: "401::Authentication invalid", advice: "none", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "401::Authentication invalid", advice: "none", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "401::Request requires authentication", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: connect, error: "401::Authentication invalid", reason: busy, advice: "none", code: Unavailable, action: actionRetry},
		{channel: subscribe, error: "403::Subscription denied", reason: "SERVER_UNAVAILABLE: try again", code: Unavailable, action: actionRetry},
		{channel: connect, error: "402::Unknown client", advice: "handshake", code: Internal, action: actionResume, session: true},
		{channel: connect, error: "402::session_unknown", code: Internal, action: actionResume, session: true},
		{channel: subscribe, error: "402::unknown_session", code: Internal, action: actionResume, session: true},
		{channel: connect, error: "403::Unknown client", advice: "handshake", code: Internal, action: actionResume, session: true},
		{channel: connect, error: "403::Unknown client", advice: "none", code: Internal, action: actionResume, session: true},
		{channel: subscribe, error: "403::Unknown client", code: Internal, action: actionResume, session: true},
		{channel: connect, error: "401:abc:Unknown client", advice: "handshake", code: Internal, action: actionResume, session: true}, // Faye
		{channel: subscribe, error: "403::Client has not completed handshake", code: Internal, action: actionResume, session: true},
		{channel: handshake, error: "403::Handshake denied", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: handshake, error: "403::handshake_denied", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "403::Organization concurrent user limit exceeded", code: LimitExceeded, action: actionRetry, after: time.Minute, session: true},
		{channel: handshake, error: "403::Organization concurrent user limit exceeded", code: LimitExceeded, action: actionRetry, after: time.Minute, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "403::To protect all customers from excessive use and Denial of Service attacks, we limit …", code: LimitExceeded, action: actionRetry, after: time.Minute, session: true},
		{channel: connect, error: "403::Organization total events daily limit exceeded", code: LimitExceeded, action: actionRetry, after: 10 * time.Minute},
		{channel: subscribe, error: "403::Organization total events daily limit exceeded", code: LimitExceeded, action: actionRetry, after: 10 * time.Minute},
		{channel: subscribe, error: "403::Subscription limit exceeded for this topic", code: LimitExceeded, action: actionRetry, after: time.Minute},
		{channel: subscribe, error: "403:denied_by_security_policy:create_denied", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::Cannot create channel {/u/x}", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::Restricted channel", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::User not enabled for streaming", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::Subscriber does not have access to the entity in this topic", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::User not allowed to subscribe CDC without View All Data permissions", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::No access on channel", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "403::Unable to create channel dynamically, maximum channel limit has been exceeded", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "404::channel names may not vary only by case", code: NotFound, action: actionDenied},
		{channel: subscribe, error: "404::Unknown channel", code: NotFound, action: actionDenied},
		{channel: connect, error: "408::gone", code: Unavailable, action: actionRetry, session: true},
		{channel: subscribe, error: "412::Precondition Failed", code: Invalid, action: actionRetryUnknown},
		{channel: subscribe, error: "413::Maximum Request Size Exceeded", code: Invalid, action: actionGiveUp},
		{channel: handshake, error: "403::Handshake denied", reason: busy, code: Unavailable, action: actionRetry},
		{channel: subscribe, error: busy, code: Unavailable, action: actionRetry},
		{channel: subscribe, error: "400::channel_missing", code: NotFound, action: actionDenied},
		{channel: subscribe, error: "403::subscription_invalid", code: PermissionDenied, action: actionDenied},
		{channel: subscribe, error: "405::channel_invalid", code: Invalid, action: actionGiveUp},
		{channel: "", error: "INVALID_SESSION_ID", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: connect, error: "999::made up", advice: "none", code: Invalid, action: actionRetryUnknown},
		{channel: connect, error: "999::made up", advice: "handshake", code: Internal, action: actionResume, session: true},
		{channel: connect, error: "made up", code: Internal, action: actionRetryUnknown},
		{channel: subscribe, error: "400::made up", code: Invalid, action: actionRetryUnknown},
		{channel: subscribe, error: "405::made up", advice: "none", code: Invalid, action: actionRetryUnknown},
		{channel: connect, error: "500::Internal Server Error", advice: "none", code: Unavailable, action: actionRetry},
		{channel: handshake, error: "502::Bad Gateway", advice: "none", code: Unavailable, action: actionRetry},
		{channel: connect, error: "504::", advice: "none", code: Unavailable, action: actionRetry},
		{channel: subscribe, error: "599::made up", code: Unavailable, action: actionRetry},
		{channel: connect, error: "409::Conflict", advice: "none", code: Unavailable, action: actionRetry},
		{channel: connect, error: "408::", advice: "none", code: Unavailable, action: actionRetry, session: true},
		{channel: connect, error: "401::Authentication invalid", reason: "500::made up", advice: "none", code: Unavailable, action: actionRetry},
		{channel: handshake, error: "403:denied_by_security_policy:create_denied", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: handshake, error: "403::Handshake denied", reason: "403:denied_by_security_policy:create_denied", code: Unauthenticated, action: actionReauthorize, session: true},
		{channel: "", error: "API_DISABLED_FOR_ORG", code: Invalid, action: actionGiveUp, session: true},
		{channel: "", error: "API_CURRENTLY_DISABLED", code: PermissionDenied, action: actionDenied, session: true},
		{channel: "", error: "REQUEST_LIMIT_EXCEEDED", code: LimitExceeded, action: actionRetry, after: 10 * time.Minute, session: true},
	} {
		t.Run(fmt.Sprintf("%s %s %s %s", test.channel, test.error, test.reason, test.advice), func(t *testing.T) {
			e := translateCometD("/topic/X", &bayeux.ReplyError{Status: http.StatusOK, Reply: bayeux.Reply{
				Channel: test.channel, Error: test.error, FailureReason: test.reason, Advice: bayeux.Advice{Reconnect: test.advice},
			}})
			if e.Code != test.code || classify(e) != test.action || e.RetryAfter != test.after || concernsSession(e) != test.session {
				t.Errorf("%s, %s, after %v, session %v; want %s, %s, %v, %v", e.Code, classify(e), e.RetryAfter, concernsSession(e),
					test.code, test.action, test.after, test.session)
			}
			if e.API != "cometd" || e.Channel != "/topic/X" || e.Reason == "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A refusal without a word of why is no refusal that could be believed.
func TestARefusalWithoutATextSaysWhatCame(t *testing.T) {
	for _, advice := range []string{"", "none", "retry"} {
		e := translateCometD("", &bayeux.ReplyError{Status: http.StatusOK, Reply: bayeux.Reply{
			Channel: "/meta/connect", Start: `{"successful":false}`, Advice: bayeux.Advice{Reconnect: advice},
		}})
		if e.Code != Unavailable || classify(e) != actionRetry || !strings.Contains(e.Error(), `connect: no reason given in {"successful":false}`) {
			t.Errorf("advice %q: %s, %v", advice, classify(e), e)
		}
	}
	for _, code := range []codes.Code{codes.Internal, codes.Unknown, codes.Unavailable, codes.Aborted} {
		e := translate("/event/X__e", status.Error(code, ""), nil)
		if classify(e) != actionRetry || !strings.Contains(e.Error(), "no reason given: rpc error: code = "+code.String()) {
			t.Errorf("%v: %s, %v", code, classify(e), e)
		}
	}
}

func TestRESTErrorsKeepTheirMessage(t *testing.T) {
	e := translateCometD("", &bayeux.ReplyError{Status: http.StatusForbidden, Reply: bayeux.Reply{
		Error: "REQUEST_LIMIT_EXCEEDED", Message: "TotalRequests Limit exceeded.",
	}})
	if e.Code != LimitExceeded || e.Reason != "REQUEST_LIMIT_EXCEEDED" || e.Message != "REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded." {
		t.Errorf("%+v", e)
	}
}

func redirect(to string) error {
	location, _ := url.Parse(to)
	return &bayeux.StatusError{Status: http.StatusFound, Host: "acme.my.salesforce.com", Location: location}
}

func lookup(name string, notFound bool) error {
	return &url.Error{Op: "Post", URL: "https://acme.my.salesforce.com/cometd/62.0", Err: &net.OpError{
		Op: "dial", Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: notFound}}}
}

func TestStreamingFailuresWithoutBayeux(t *testing.T) {
	half := 500 * time.Millisecond
	for _, test := range []struct {
		name   string
		err    error
		code   Code
		action action
		after  time.Duration
	}{
		{"HTTP 401", &bayeux.StatusError{Status: 401}, Unauthenticated, actionReauthorize, 0},
		{"HTTP 403 of a gateway", &bayeux.StatusError{Status: 403, Start: `[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]`}, Unauthenticated, actionReauthorize, 0},
		{"HTTP 403 of a proxy", &bayeux.StatusError{Status: 403, Start: "<html>"}, Unavailable, actionRetry, 0},
		{"HTTP 404", &bayeux.StatusError{Status: 404}, Unavailable, actionRelocate, 0},
		{"a REST 404", &bayeux.ReplyError{Status: 404, Reply: bayeux.Reply{Error: "NOT_FOUND"}}, Unavailable, actionRelocate, 0},
		{"another host", redirect("https://new.my.salesforce.com/cometd/62.0"), Unavailable, actionRelocate, 0},
		{"the same host", redirect("https://acme.my.salesforce.com/other"), Unavailable, actionRetry, 0},
		{"a login host", redirect("https://login.salesforce.com/"), Unauthenticated, actionReauthorize, 0},
		{"a login page", redirect("https://acme.my.salesforce.com/?ec=302&startURL=%2Fcometd"), Unauthenticated, actionReauthorize, 0},
		{"an unknown instance", lookup("acme.my.salesforce.com", true), Unavailable, actionRelocate, 0},
		{"an unknown proxy", lookup("proxy.example.com", true), Unavailable, actionRetry, 0},
		{"a lookup that fails", lookup("acme.my.salesforce.com", false), Unavailable, actionRetry, 0},
		{"HTTP 408", &bayeux.StatusError{Status: 408}, Unavailable, actionRetry, 0},
		{"HTTP 400 about the version", &bayeux.StatusError{Status: 400, Start: "Unsupported API version."}, Invalid, actionGiveUp, 0},
		{"HTTP 413", &bayeux.StatusError{Status: 413}, Invalid, actionGiveUp, 0},
		{"HTTP 429", &bayeux.StatusError{Status: 429, RetryAfter: 2 * time.Minute}, LimitExceeded, actionRetry, 2 * time.Minute},
		{"HTTP 503", &bayeux.StatusError{Status: 503, RetryAfter: 7 * time.Second}, Unavailable, actionRetry, 7 * time.Second},
		{"a page", &bayeux.StatusError{Status: 502, Start: "upstream connect error"}, Unavailable, actionRetry, 0},
		{"a torn reply", io.ErrUnexpectedEOF, Unavailable, actionRetry, 0},
		{"a torn connection", fmt.Errorf("post: %w", io.EOF), Unavailable, actionRetry, 0},
		{"a deadline", context.DeadlineExceeded, Unavailable, actionRetry, 0},
		{"a name that is too long", bayeux.ErrTooLarge, Invalid, actionGiveUp, 0},
		{"advice alone", errAdvised, Internal, actionResume, 0},
		{"the interval of an end", &bayeux.ReplyError{Reply: bayeux.Reply{Error: "402::Unknown client", Advice: bayeux.Advice{Reconnect: "handshake", Interval: &half}}},
			Internal, actionResume, half},
	} {
		e := translateCometD("", test.err)
		if e.Code != test.code || classify(e) != test.action || e.RetryAfter != test.after {
			t.Errorf("%s: %s, %s, after %v", test.name, e.Code, classify(e), e.RetryAfter)
		}
		if !errors.Is(e, test.err) && test.err != errAdvised {
			t.Errorf("%s: does not unwrap", test.name)
		}
	}
}
