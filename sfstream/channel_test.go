package sfstream

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// TestGroups has a channel's groups told what sessions bring, one word each, and compares what they
// answer, where it is not "new": which group is whole by it, and whether an event is known.
//
//	+4          a session begins, after id 4; + after none
//	-           the session ends
//	5a 5b       events of id 5, by identity; 5a? came before its turn, 5a! is remembered
//	|           the end of a batch
//	=7 ~7       a keepalive that names id 7, of a server that has nothing more, or may be seeking
//	ok          nothing is missing before what came before its turn
func TestGroups(t *testing.T) {
	for _, test := range []struct{ name, script, want string }{
		{"another id closes a group", "+ 5a 5b 6a 8a", "6a closes 5, 8a closes 6"},
		{"an event that comes twice is known", "+ 5a 5b 5a 5a!", "5a is known, 5a! is known"},
		{"an event that is remembered is known", "+ 5a 5b!", "5b! is known"},
		{"the end of a session closes nothing", "+4 5a | - +4 5a 5b 6a", "5a is known, 6a closes 5"},
		{"another id first closes the group before which the session began", "+ 4a 5a | - +4 7a", "5a closes 4, 7a closes 5"},
		{"but not where the session began before that", "+ 4a 5a | - +3 7a 8a", "5a closes 4, 8a closes 7"},
		{"nor where the server sends old events first", "+ 4a 5a | - +4 3a 5b 6a", "5a closes 4, 5b closes 3, 6a closes 5"},
		{"an old id within a session closes nothing", "+ 5a 4a 5b 6a", "5b closes 4, 6a closes 5"},
		{"a keepalive beyond the group closes it", "+ 5a | =7", "=7 closes all up to 5"},
		{"a keepalive without an id closes it", "+ 5a | =", "= closes all up to 5"},
		{"a keepalive before the group does not", "+ 5a | =4 6a", "6a closes 5"},
		{"nor that of a server that may be seeking", "+ 5a | ~7 6a", "6a closes 5"},
		{"nor in a session that has brought nothing", "+ 5a | - +4 =7 5a", "5a is known"},
		{"a keepalive with the group's id closes it at the second in a row", "+ 5a | =5 =5", "=5 closes all up to 5"},
		{"an event between them starts again", "+ 5a | =5 5b | =5 =5", "=5 closes all up to 5"},
		{"before its turn nothing closes a group", "+ 5a 6a? 7a? 5b", ""},
		{"until nothing is missing before it", "+ 5a 6a? 7a? | ok", "ok closes 5, ok closes 6"},
		{"a group in its turn closes one that had come before its turn", "+ 5a? | 4a 5a 6a", "5a closes 4, 5a is known, 6a closes 5"},
		{"what came before its turn is closed behind what came after", "+ 5a? | 7a ok", "ok closes 5"},
		{"a group that came before its turn is open in the next session, too", "+4 5a 7a? | - +4 7a 8a", "7a closes 5, 7a is known, 8a closes 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told []string
			gs := new(groups)
			for _, word := range strings.Fields(test.script) {
				told = append(told, tellGroups(gs, word)...)
			}
			if got := strings.Join(told, ", "); got != test.want {
				t.Errorf("%s: %s\nwant %s", test.script, got, test.want)
			}
		})
	}
}

// tellGroups tells groups one word of TestGroups and returns what they answer.
func tellGroups(gs *groups, word string) (told []string) {
	closed := func(g *group) {
		if g != nil {
			told = append(told, fmt.Sprintf("%s closes %s", word, g.id))
		}
	}
	id := []byte(strings.TrimLeft(word, "+=~"))
	switch word[0] {
	case '+':
		gs.begin(id)
	case '-':
		gs.end()
	case '|':
		gs.delivered()
	case 'o':
		for _, g := range gs.confirm() {
			closed(g)
		}
	case '=', '~':
		if gs.isWhole(word[0] == '=', id) {
			told = append(told, fmt.Sprintf("%s closes all up to %s", word, gs.closeAll().id))
		}
	default:
		id = id[:1]
		g := gs.find(id)
		if g == nil {
			g = gs.add(id, &Message{codec: new(codec), ReplayID: id}, []byte{id[0] - 1})
		}
		closed(gs.enter(g, strings.HasSuffix(word, "?"), []byte{id[0] - 1}))
		if !gs.receive(g, 0, uint64(word[1]), strings.HasSuffix(word, "!")) {
			told = append(told, word+" is known")
		}
	}
	return told
}

// A group of a stored marker is open behind the position, its events are known, and where the
// position is not retained any more the session seeks it.
func TestRestoredGroup(t *testing.T) {
	gs := new(groups)
	if gs.canSeek() || gs.first() != nil {
		t.Error("there is a group")
	}
	gs.restore(replaystore.Group{ReplayID: []byte("5"), Date: judgedAt, Handled: []uint64{'a'}}, []byte("4"))
	if !gs.canSeek() || gs.first() == nil || string(gs.newest([]byte("4"))) != "4" {
		t.Error("there is none")
	}
	gs.begin([]byte("4"))
	if told := tellGroups(gs, "5a"); len(told) != 1 || string(gs.newest([]byte("4"))) != "5" {
		t.Error("its event is not known:", told)
	}
	gs.begin(nil)
	if g := gs.seek(); string(g.id) != "5" || gs.canSeek() || gs.first() != nil {
		t.Errorf("sought: %+v", g)
	}
	if tellGroups(gs, "5b"); gs.awaited != nil {
		t.Error("it has come, and is still sought")
	}
}

// The log warns when sessions end in the same group again and again and bring nothing new.
func TestVainSessions(t *testing.T) {
	gs := new(groups)
	for session, want := range []bool{0: false, 1: false, 2: false, vainSessions: true, 4: false} {
		gs.begin([]byte("4"))
		tellGroups(gs, "5a")
		if vain := gs.end() != nil; vain != want {
			t.Errorf("session %d: %v, want %v", session, vain, want)
		}
	}
}

func TestSkipper(t *testing.T) {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	const platform, change = `{"payload":{"CreatedDate":"%s"}}`, `{"payload":{"ChangeEventHeader":{"commitTimestamp":"%s"}}}`
	for name, test := range map[string]struct {
		form  string
		after time.Duration // the date, from the start
		now   time.Duration // what Salesforce's clock shows, from the start
		exact bool
		want  bool
	}{
		"just before a start of the user's": {platform, -1, 0, true, true},
		"at it":                             {platform, 0, 0, true, false},
		"a publisher's clock may be wrong by an hour": {platform, -time.Hour, 0, false, false},
		"but not by more":                              {platform, -time.Hour - 1, 0, false, true},
		"Salesforce's differs by ten minutes":          {change, -10 * time.Minute, 0, false, false},
		"but not by more either":                       {change, -10*time.Minute - 1, 0, false, true},
		"a publisher's date in the future":             {platform, -time.Minute, -2 * time.Minute, true, false},
		"Salesforce's date, by a reading that is late": {change, -time.Minute, -2 * time.Minute, true, true},
		"older than anything that Salesforce retains":  {change, -74 * time.Hour, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			date := start.Add(test.after).Format("2006-01-02T15:04:05.999999999Z07:00")
			m := &Message{codec: new(codec), payload: fmt.Appendf(nil, test.form, date)}
			s := skipper{before: start, exact: test.exact}
			if got := s.skips(m, start.Add(test.now)); got != test.want {
				t.Errorf("skips = %v, want %v", got, test.want)
			}
			if again := s.skips(m, start.Add(test.now)); again != test.want {
				t.Errorf("the next one: skips = %v, want %v", again, test.want)
			}
		})
	}
}

// The failure of a session comes some microseconds before the state in which the channel waits for
// the next one. Virtual time stands still between them, so only this test tells the two apart.
func TestAReconnectTellsTheErrorOfItsOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s channelStatus
		step := func(state State) *Reconnect {
			time.Sleep(time.Microsecond)
			_, again := s.set(state)
			return again
		}
		fail := func() {
			time.Sleep(time.Microsecond)
			s.failed(errTrouble)
		}
		fail() // while subscribing: of no outage
		if again := step(StateLive); again != nil {
			t.Errorf("the first session: %+v", again)
		}
		step(StateOpening)
		if again := step(StateLive); again == nil || again.Err != nil || again.Down != time.Microsecond {
			t.Errorf("after a polite end: %+v", again)
		}
		fail()
		step(StateWaiting)
		time.Sleep(time.Second)
		step(StateOpening)
		if again := step(StateLive); again == nil || again.Err != errTrouble || again.Down != time.Second+2*time.Microsecond {
			t.Errorf("after a failure: %+v", again)
		}
		step(StateParked)
		if again := step(StateLive); again == nil || again.Err != nil {
			t.Errorf("after a pause for room: %+v", again)
		}
	})
}

// checkAt is when the snapshots of TestCheck are taken.
var checkAt = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return checkAt.Add(-d) }

func TestCheck(t *testing.T) {
	const channel = "/data/AccountChangeEvent"
	denied := &ServerError{Channel: channel, Code: PermissionDenied, Message: "no right"}
	busy := &ServerError{Channel: channel, Code: Unavailable, Message: "maintenance"}
	one := func(ch ChannelStatus) Status {
		ch.Channel, ch.Retention = channel, 72*time.Hour
		return Status{Channels: []ChannelStatus{ch}}
	}
	for name, test := range map[string]struct {
		status Status
		opts   []CheckOption
		want   string // the text, a line for each problem; empty: well
	}{
		"a standby": {status: Status{Volatile: true}},
		"a quiet channel": {status: one(ChannelStatus{
			State: StateLive, StateSince: before(100 * time.Hour), LastReceived: before(90 * time.Hour), LastHeard: before(4 * time.Minute), MarkerAge: 5 * time.Minute,
		})},
		"a slow consumer": {status: one(ChannelStatus{State: StateParked, StateSince: before(10 * time.Hour), Pending: 1000, Lag: 10 * time.Hour, MarkerAge: 10 * time.Hour})},
		"old trouble":     {status: one(ChannelStatus{State: StateLive, LastError: denied, LastErrorAt: before(time.Minute)})},
		"the one before this outage": {status: one(ChannelStatus{
			State: StateOpening, DisconnectedSince: before(time.Minute), LastError: denied, LastErrorAt: before(2 * time.Minute),
		})},
		"a short outage":                  {status: one(ChannelStatus{State: StateWaiting, DisconnectedSince: before(10 * time.Minute), LastError: busy, LastErrorAt: before(time.Second)})},
		"a store that fails for a moment": {status: Status{StoreError: &StoreError{Op: "save", err: errTrouble}, StoreFailingSince: before(time.Minute)}},
		"half of the retention":           {status: one(ChannelStatus{State: StateLive, MarkerAge: 36 * time.Hour})},
		"all switched off": {
			status: one(ChannelStatus{State: StateWaiting, DisconnectedSince: before(50 * time.Hour), Lag: 50 * time.Hour, MarkerAge: 50 * time.Hour}),
			opts:   []CheckOption{WithMaxDisconnected(0), WithMaxLag(0), WithMaxMarkerAge(0), WithMaxStoreFailure(0)},
		},

		"not open": {status: Status{Err: ErrNotOpen}, want: "sfstream: client: not open: Open has not succeeded"},
		"closed":   {status: Status{Err: ErrClosed, EndedAt: before(time.Hour)}, want: "sfstream: client: closed, since 2026-11-27T11:00:00Z"},
		"stopped": {
			status: Status{Err: denied, EndedAt: before(time.Hour), Channels: []ChannelStatus{{Channel: channel, State: StateEnded}, {Channel: "/event/B__e", State: StateEnded}}},
			want: "sfstream: " + channel + ": the client has stopped, since 2026-11-27T11:00:00Z: PermissionDenied: no right: " +
				"give the user Read on the event, or View All on the object",
		},
		"a channel has ended": {status: one(ChannelStatus{State: StateEnded, StateSince: before(time.Minute)}), want: "sfstream: " + channel + ": it has ended, since 2026-11-27T11:59:00Z"},
		"refused": {
			status: one(ChannelStatus{State: StateWaiting, DisconnectedSince: before(time.Second), LastError: denied, LastErrorAt: before(time.Second)}),
			want: "sfstream: " + channel + ": refused for 1s, since 2026-11-27T11:59:59Z: PermissionDenied: no right: " +
				"give the user Read on the event, or View All on the object",
		},
		"disconnected": {
			status: one(ChannelStatus{State: StateLive, DisconnectedSince: before(time.Hour), LastError: busy, LastErrorAt: before(time.Minute)}),
			want: "sfstream: " + channel + ": disconnected for 1h0m0s, since 2026-11-27T11:00:00Z: Unavailable: maintenance: " +
				"check the endpoint (WithPubSubEndpoint) and that the network lets gRPC through to it",
		},
		"disconnected for longer than d": {
			status: one(ChannelStatus{State: StateOpening, DisconnectedSince: before(31 * time.Second)}),
			opts:   []CheckOption{WithMaxDisconnected(30 * time.Second)},
			want:   "sfstream: " + channel + ": disconnected for 31s, since 2026-11-27T11:59:29Z",
		},
		"lag and marker": {
			status: one(ChannelStatus{State: StateLive, Lag: 40 * time.Hour, MarkerAge: 41 * time.Hour}),
			opts:   []CheckOption{WithMaxLag(time.Minute)},
			want: "sfstream: " + channel + ": the oldest unhandled event is 40h0m0s old, since 2026-11-25T20:00:00Z\n" +
				"sfstream: " + channel + ": its marker is 41h0m0s old, and Salesforce keeps events for 72h0m0s: a restart may lose some soon, since 2026-11-25T19:00:00Z",
		},
		"the store fails": {
			status: Status{StoreError: &StoreError{Op: "save", err: errTrouble}, StoreFailingSince: before(2 * time.Minute)},
			want:   "sfstream: client: no marker was saved for 2m0s, since 2026-11-27T11:58:00Z: replay store: save: " + errTrouble.Error(),
		},
		"a share of the retention": {
			status: one(ChannelStatus{State: StateParked, MarkerAge: 8 * time.Hour}),
			opts:   []CheckOption{WithMaxMarkerAge(0.1)},
			want: "sfstream: " + channel + ": its marker is 8h0m0s old, and Salesforce keeps events for 72h0m0s: " +
				"a restart may lose some soon, since 2026-11-27T04:00:00Z",
		},
	} {
		test.status.At = checkAt
		err := test.status.Check(test.opts...)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, test.want)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	denied := &ServerError{Channel: "/event/A__e", Code: LimitExceeded}
	err := Status{Channels: []ChannelStatus{
		{Channel: "/event/A__e", State: StateWaiting, DisconnectedSince: time.Now(), LastErrorAt: time.Now(), LastError: denied},
		{Channel: "/event/B__e", State: StateEnded},
	}}.Check()
	var health *HealthError
	var server *ServerError
	if !errors.As(err, &health) || len(health.Problems) != 2 || health.Problems[0].Trouble != TroubleRefused || health.Problems[1].Trouble != TroubleEnded ||
		!errors.As(err, &server) || server != denied {
		t.Errorf("%+v", err)
	}
	for _, opt := range []CheckOption{WithMaxDisconnected(-1), WithMaxLag(-1), WithMaxStoreFailure(-1), WithMaxMarkerAge(-0.1), WithMaxMarkerAge(1.1), WithMaxMarkerAge(math.NaN())} {
		if err := (Status{}).Check(opt); !errors.Is(err, ErrInvalidOption) {
			t.Errorf("%v", err)
		}
	}
}

// A stream of the Pub/Sub API is "live" once it is open, and for a while nobody knows whether a
// server is behind it: an outage lasts until one answers.
func TestAnOutageLastsUntilAServerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s channelStatus
		down := func(want time.Duration) {
			t.Helper()
			since := s.snapshot().DisconnectedSince
			if got := time.Since(since); since.IsZero() && want != 0 || !since.IsZero() && got != want {
				t.Errorf("down since %v, want %v", since, want)
			}
			time.Sleep(time.Minute)
		}
		s.set(StateOpening)
		down(0)
		s.set(StateLive) // nothing has failed: it is taken for connected
		if !s.snapshot().DisconnectedSince.IsZero() {
			t.Error("down from the start")
		}
		s.failed(errTrouble)
		s.set(StateWaiting)
		down(0)
		s.set(StateOpening)
		s.set(StateLive)
		down(time.Minute)
		s.failed(errTrouble)
		s.set(StateLive)
		down(2 * time.Minute)
		s.answered()
		down(0)
		s.set(StateOpening) // a polite end
		s.set(StateLive)
		down(0)
		s.failed(errTrouble)
		s.set(StateParked) // a slow consumer is no outage
		down(0)
	})
}
