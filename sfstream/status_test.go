package sfstream

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

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
