package sfstreamtest_test

import (
	"encoding/binary"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestResetIDsRefuseOldOnes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(2)
		live, b := r.follow(orders, 100), r.shaken()
		b.follow(orders, old[1].Number)
		check(t, r.ResetReplay(orders, 7, false))
		events := r.publish(2)
		if events[0].Number != 7 || events[1].Number > 20 {
			t.Errorf("the ids are %v", numbersOf(events))
		}
		wantEnd(t, r.open(after(orders, old[1].ReplayID, 10)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		_, m := r.shaken().subscribe(orders, old[1].Number)
		wantError(t, m, invalid(old[1].Number))
		// This stream began at LATEST and has had no event: for it nothing has gone back.
		if got := recvIDs(t, live, 2); !slices.Equal(got, idsOf(events)) {
			t.Errorf("live: %v, want %v", got, idsOf(events))
		}
		got, _ := b.connect()
		wantEvents(t, got, events...)
	})
}

func invalid(id uint64) string {
	return "400::The replayId {" + strconv.FormatUint(id, 10) + "} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
}

func TestResetIDsAcceptOldOnesThatLieAhead(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(2)
		open := r.open(after(orders, old[0].ReplayID, 100))
		recvIDs(t, open, 1)
		check(t, r.ResetReplay(orders, 7, true))
		missed := r.publish(1)
		// Here an open stream gets an id below its own.
		wantEnd(t, open, codes.Internal, "subscription.fetch.replay.repeated")

		b := r.shaken()
		wantEvents(t, b.follow(orders, old[1].Number)) // the subscription is accepted, and nothing comes
		poll := b.connecting()
		stream := r.open(after(orders, old[1].ReplayID, 100))
		quiet := recv(t, stream) // the keepalive tells of lower ids
		if id := binary.BigEndian.Uint64(quiet.LatestReplayId); len(quiet.Events) > 0 || id >= old[0].Number || id < missed[0].Number {
			t.Errorf("the keepalive names %d", id)
		}
		came := r.publish(1)
		wantEnd(t, stream, codes.Internal, "subscription.fetch.replay.repeated")
		got, _ := split(t, <-poll)
		wantEvents(t, got, came...) // over CometD only the number tells that ids have gone back
		if got := recvIDs(t, r.open(earliest(orders, 100)), 2); !slices.Equal(got, idsOf(append(missed, came...))) {
			t.Errorf("from the earliest: %v", got)
		}
		wantEnd(t, r.open(after(orders, replayID(3), 10)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
	})
}

func replayID(n uint64) []byte { return append(binary.BigEndian.AppendUint64(nil, n), 0, 0) }

func TestKeepalivesLagAndHold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ev := r.publish(1)[0]
		stream := r.open(after(orders, ev.ReplayID, 100))
		latest := func() uint64 { return binary.BigEndian.Uint64(recv(t, stream).LatestReplayId) }
		r.HoldKeepaliveID(true)
		if a, b := latest(), latest(); a != ev.Number || b != ev.Number {
			t.Errorf("held keepalives name %d and %d, want %d", a, b, ev.Number)
		}
		r.HoldKeepaliveID(false)
		ahead := latest()
		r.LagKeepalive(orders, 1)
		behind, again := latest(), latest()
		if ahead <= ev.Number || behind >= ev.Number || again <= ahead {
			t.Errorf("keepalives name %d, %d, %d beside %d", ahead, behind, again, ev.Number)
		}
		events := r.publish(6)
		recvIDs(t, stream, 6)
		r.LagKeepalive("", 1)
		if id := latest(); id != events[2].Number {
			t.Errorf("it names %d, want %d", id, events[2].Number) // it must be a position to come back to
		}
	})
}

func TestASessionSeeksThroughItsBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := r.publish(2)
		r.SeekBacklog(orders, 1, 2*time.Hour)
		b := r.shaken()
		wantEvents(t, b.follow(orders, -2))
		start := time.Now()
		for range 3 {
			took(t, 110*time.Second, func() {
				got, m := b.connect()
				if len(got) > 0 || !m.ok() {
					t.Errorf("got %v, %+v", got, m)
				}
			})
		}
		live := r.publish(1)
		wantEvents(t, r.shaken().follow(orders, -2), append(slices.Clone(events), live...)...) // each event comes once
		for {
			got, m := b.connect()
			if !m.ok() {
				t.Fatalf("connect: %+v", m)
			}
			if len(got) == 0 {
				continue
			}
			if d := time.Since(start); d != 2*time.Hour {
				t.Errorf("events came after %v", d)
			}
			wantEvents(t, got, append(events, live...)...)
			break
		}
		r.SeekBacklog(orders, 2, time.Hour)
		wantEvents(t, r.shaken().follow(orders, live[0].Number)) // there is nothing after it
		b = r.shaken()
		wantEvents(t, b.follow(orders, events[0].Number))
		r.ClearFaults()
		got, _ := b.connect()
		wantEvents(t, got, events[1], live[0])
	})
}

func TestWhatAgesOutInASeekIsLostInSilence(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(1)
		time.Sleep(3 * time.Hour)
		left := r.publish(1)
		r.SeekBacklog(orders, 1, 2*time.Hour)
		b := r.shaken()
		b.follow(orders, -2)
		for {
			got, m := b.connect()
			if !m.ok() {
				t.Fatalf("connect: %+v", m)
			}
			if len(got) > 0 {
				wantEvents(t, got, left...)
				return
			}
		}
	}, sfstreamtest.WithRetention(4*time.Hour))
}

func TestAStreamSeeksWithEmptyResponses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		first := r.publish(1)[0]
		check(t, r.PassPositions(orders, 100))
		last := r.publish(1)[0]
		for name, from := range map[string]func() uint64{
			"from an id": func() uint64 { return first.Number }, "from the earliest": func() uint64 { return 0 },
		} {
			r.SeekBacklog(orders, 1, 10*time.Minute)
			req, want := after(orders, first.ReplayID, 100), []string{last.ID}
			if from() == 0 {
				req, want = earliest(orders, 100), []string{first.ID, last.ID}
			}
			start, stream := time.Now(), r.open(req)
			latest, moved, empty := from(), 0, 0
			for {
				resp := recv(t, stream)
				id := binary.BigEndian.Uint64(resp.LatestReplayId)
				if len(resp.Events) > 0 {
					if id != last.Number || len(resp.Events) != len(want) {
						t.Errorf("%s: %d events up to %d", name, len(resp.Events), id)
					}
					break
				}
				if id < latest || id >= last.Number || resp.PendingNumRequested != 100 {
					t.Errorf("%s: an empty response with %d, pending %d", name, id, resp.PendingNumRequested)
				}
				if id > latest {
					moved++
				}
				latest = id
				empty++
			}
			if d := time.Since(start); d != 10*time.Minute || empty < 9 {
				t.Errorf("%s: %d empty responses in %v", name, empty, d)
			}
			if from() > 0 && moved < 9 {
				t.Errorf("%s: the id moved %d times", name, moved)
			}
			// Every id that was named must be a position to come back to.
			if got := recvIDs(t, r.open(after(orders, replayID(latest), 100)), len(want)); !slices.Equal(got, want) {
				t.Errorf("%s: after %d came %v, want %v", name, latest, got, want)
			}
		}
	})
}
