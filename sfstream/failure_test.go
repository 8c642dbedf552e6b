package sfstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
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
