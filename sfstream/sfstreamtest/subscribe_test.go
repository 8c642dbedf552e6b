package sfstreamtest_test

import (
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// See eventbus/PROTOCOL.md, "Credit".
func TestCreditIsClampedAt100(t *testing.T) {
	for name, asks := range map[string][]int32{"at once": {250}, "in sum": {60, 60}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				stream := r.follow(orders, asks[0])
				for _, n := range asks[1:] {
					check(t, stream.Send(&eventbus.FetchRequest{NumRequested: n}))
				}
				synctest.Wait()
				if got := r.Outstanding(orders); got != 100 {
					t.Errorf("%d outstanding, want 100", got)
				}
				sum := 0
				for _, n := range asks {
					sum += int(n)
				}
				if got := r.MaxOutstanding(orders); got != sum {
					t.Errorf("the most asked for is %d, want %d", got, sum)
				}
				events := r.publish(150)
				if got := recvIDs(t, stream, 100); !slices.Equal(got, idsOf(events[:100])) {
					t.Error("other events than published")
				}
				synctest.Wait()
				if got := r.Outstanding(orders); got != 0 {
					t.Errorf("%d outstanding, want 0", got)
				}
				check(t, stream.Send(&eventbus.FetchRequest{TopicName: orders, NumRequested: 50}))
				if got := recvIDs(t, stream, 50); !slices.Equal(got, idsOf(events[100:])) {
					t.Error("other events than published")
				}
			})
		})
	}
}

func TestOverflowCanBeAnError(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.open(earliest(orders, 101))
		wantEnd(t, stream, codes.ResourceExhausted, "subscription.fetch.overflow")
	}, sfstreamtest.WithOverflowError())
}

// INVALID_ARGUMENT has many reasons, and the error code tells them apart: eventbus/PROTOCOL.md,
// "Errors".
func TestRequestsAreValidated(t *testing.T) {
	type request = eventbus.FetchRequest
	for name, test := range map[string]struct {
		first, second *request
		want          codes.Code
		code          string
	}{
		"nothing requested":    {first: earliest(orders, 0), want: codes.InvalidArgument, code: "subscription.fetch.requested.events.invalid"},
		"negative request":     {first: earliest(orders, -1), want: codes.InvalidArgument, code: "subscription.fetch.requested.events.invalid"},
		"no topic":             {first: earliest("", 1), want: codes.InvalidArgument, code: "topic.validation.empty"},
		"unknown topic":        {first: earliest("/event/Unknown__e", 1), want: codes.NotFound, code: "topic.not.found"},
		"custom without an id": {first: after(orders, nil, 1), want: codes.InvalidArgument, code: "subscription.fetch.replayid.validation.failed"},
		"id of 3 bytes":        {first: after(orders, []byte{1, 2, 3}, 1), want: codes.InvalidArgument, code: "subscription.fetch.replayid.corrupted"},
		"unknown id":           {first: after(orders, make([]byte, 10), 1), want: codes.InvalidArgument, code: "subscription.fetch.replayid.corrupted"},
		"topic changed": {first: earliest(orders, 1), second: earliest("/data/ChangeEvents", 1),
			want: codes.InvalidArgument, code: "subscription.fetch.topic.mismatch"},
		"later negative request": {first: earliest(orders, 1), second: &request{NumRequested: -1},
			want: codes.InvalidArgument, code: "subscription.fetch.requested.events.invalid"},
		"later empty request": {first: earliest(orders, 1), second: &request{},
			want: codes.InvalidArgument, code: "subscription.fetch.request.invalid"},
		"bad auth_refresh": {first: earliest(orders, 1), second: &request{AuthRefresh: "bad"},
			want: codes.Unauthenticated, code: "service.auth.refresh.invalid"},
		"request of 5 MB": {first: earliest(orders, 1), second: &request{ReplayId: make([]byte, 5<<20), NumRequested: 1},
			want: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				stream := r.open(test.first)
				if test.second != nil {
					_ = stream.Send(test.second) // it may find that the stream has ended
				}
				wantEnd(t, stream, test.want, test.code)
				// The connection must still work.
				events := r.publish(1)
				if got := recvIDs(t, r.open(earliest(orders, 1)), 1); !slices.Equal(got, idsOf(events)) {
					t.Errorf("got %v afterwards", got)
				}
			})
		})
	}
}

func TestPresets(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(5)
		newest := r.follow(orders, 100)
		fresh := r.publish(2)
		all := slices.Concat(old, fresh)
		for i, e := range all {
			if len(e.ReplayID) != 10 || e.ReplayID[8] != 0 || e.ReplayID[9] != 0 {
				t.Errorf("replay id %x is not 8 bytes and two zeroes", e.ReplayID)
			}
			if i > 0 && string(e.ReplayID) <= string(all[i-1].ReplayID) {
				t.Error("replay ids do not ascend")
			}
		}
		for name, test := range map[string]struct {
			stream eventbus.SubscribeStream
			want   []sfstreamtest.Event
		}{
			"LATEST":           {newest, fresh},
			"EARLIEST":         {r.open(earliest(orders, 100)), all},
			"CUSTOM, 10 bytes": {r.open(after(orders, all[1].ReplayID, 100)), all[2:]},
			"CUSTOM, 8 bytes":  {r.open(after(orders, all[3].ReplayID[:8], 100)), all[4:]},
		} {
			resp := recv(t, test.stream)
			var got []string
			for {
				for _, e := range resp.Events {
					got = append(got, e.Event.Id)
				}
				last := resp.Events[len(resp.Events)-1].ReplayId
				if string(resp.LatestReplayId) != string(last) || len(resp.RpcId) != 36 {
					t.Errorf("%s: latest_replay_id %x, want %x; rpc id %q", name, resp.LatestReplayId, last, resp.RpcId)
				}
				if int(resp.PendingNumRequested) != 100-len(got) {
					t.Errorf("%s: %d pending after %d events", name, resp.PendingNumRequested, len(got))
				}
				if len(got) >= len(test.want) {
					break
				}
				resp = recv(t, test.stream)
			}
			if !slices.Equal(got, idsOf(test.want)) {
				t.Errorf("%s: got %v, want %v", name, got, idsOf(test.want))
			}
		}
		calls := r.Subscribes(orders)
		if len(calls) != 4 || calls[0].Preset != "LATEST" || calls[0].NumRequested != 100 || calls[0].At != time.Now() {
			t.Errorf("history: %+v", calls)
		}
	})
}

// See eventbus/PROTOCOL.md, "Keepalives".
func TestAQuietStreamIsKeptAliveEvery60Seconds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(1)
		stream := r.follow(orders, 10)
		start := time.Now()
		var latest []byte
		for i := range 3 {
			resp := recv(t, stream)
			if want := time.Duration(i+1) * time.Minute; time.Since(start) != want {
				t.Errorf("keepalive after %v, want %v", time.Since(start), want)
			}
			if len(resp.Events) != 0 || resp.PendingNumRequested != 10 || string(resp.LatestReplayId) <= string(latest) {
				t.Errorf("keepalive %v after %x", resp, latest)
			}
			latest = resp.LatestReplayId
		}
		// An id of a keepalive is a place to resume from.
		events := r.publish(1)
		if got := recvIDs(t, r.open(after(orders, latest, 10)), 1); got[0] != events[0].ID {
			t.Errorf("resumed with %v", got)
		}
		recvIDs(t, stream, 1)
		r.SilenceKeepalive(true)
		time.Sleep(10 * time.Minute)
		r.SilenceKeepalive(false)
		start = time.Now()
		recv(t, stream)
		if got := time.Since(start); got > time.Minute {
			t.Errorf("keepalive %v after the silence", got)
		}
	})
}

// See eventbus/PROTOCOL.md, "Idle streams".
func TestAStreamWithoutCreditIsClosedAfter60Seconds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(2)
		stream := r.open(earliest(orders, 1))
		if resp := recv(t, stream); resp.PendingNumRequested != 0 {
			t.Errorf("%d pending", resp.PendingNumRequested)
		}
		time.Sleep(59 * time.Second)
		check(t, stream.Send(&eventbus.FetchRequest{NumRequested: 1}))
		recvIDs(t, stream, 1)
		start := time.Now()
		if _, err := stream.Recv(); err != io.EOF {
			t.Errorf("ended with %v, want OK", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("closed after %v", got)
		}
		if got := r.Streams(orders); got != 0 {
			t.Errorf("%d streams are open", got)
		}
	})
}

func TestEventsAgeOutAfter72Hours(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(2)
		time.Sleep(71 * time.Hour)
		fresh := r.publish(1)
		r.login()
		if got := recvIDs(t, r.open(earliest(orders, 10)), 3); got[0] != old[0].ID {
			t.Errorf("got %v", got)
		}
		time.Sleep(2 * time.Hour)
		r.login()
		if got := recvIDs(t, r.open(earliest(orders, 10)), 1); got[0] != fresh[0].ID {
			t.Errorf("got %v", got)
		}
		wantEnd(t, r.open(after(orders, old[1].ReplayID, 1)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		r.publish(1)
		recvIDs(t, r.open(after(orders, fresh[0].ReplayID, 1)), 1)
	})
}

// The log is kept in chunks, and forgets events by the chunk.
func TestALongLog(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(2500)
		check(t, r.TruncateReplay(orders))
		events := r.publish(3000)
		stream := r.open(earliest(orders, 100))
		var got []string
		for len(got) < len(events) {
			resp := recv(t, stream)
			for _, e := range resp.Events {
				got = append(got, e.Event.Id)
			}
			check(t, stream.Send(&eventbus.FetchRequest{NumRequested: int32(len(resp.Events))}))
		}
		if !slices.Equal(got, idsOf(events)) {
			t.Error("other events than published")
		}
		recvIDs(t, r.open(after(orders, events[2990].ReplayID, 100)), 9)
	})
}

// A replay id that is not retained any more: eventbus/PROTOCOL.md, "Replay ids".
func TestTruncateReplay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := r.publish(3)
		check(t, r.TruncateReplay(orders))
		wantEnd(t, r.open(after(orders, old[2].ReplayID, 1)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		fresh := r.publish(1)
		if got := recvIDs(t, r.open(earliest(orders, 10)), 1); got[0] != fresh[0].ID {
			t.Errorf("got %v", got)
		}
		if string(fresh[0].ReplayID) <= string(old[2].ReplayID) {
			t.Error("replay ids began anew")
		}
	})
}

// See eventbus/PROTOCOL.md, "Opening a stream".
func TestLatestMissesWhatComesBeforeItIsRouted(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		latest := r.follow(orders, 10)
		missed := r.publish(1)
		first := r.open(earliest(orders, 10))
		if got := recvIDs(t, first, 1); got[0] != missed[0].ID {
			t.Errorf("EARLIEST waited for routing: %v", got)
		}
		time.Sleep(3*time.Second + 1)
		synctest.Wait()
		seen := r.publish(1)
		if got := recvIDs(t, latest, 1); got[0] != seen[0].ID {
			t.Errorf("got %v, want %v", got, seen[0].ID)
		}
	}, sfstreamtest.WithRoutingDelay(3*time.Second))
}

// See eventbus/PROTOCOL.md, "Schemas".
func TestOldAndNewSchemasInterleave(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(1)
		before, err := r.PublishRaw(orders, sfstreamtest.RawEvent{})
		check(t, err)
		wider := schemaFile(t, "order")
		wider = wider[:len(wider)-len("]}")] + `,{"name":"Note__c","type":["null","string"],"default":null}]}`
		check(t, r.DefineEvent(orders, wider))
		_, err = r.Publish(orders, map[string]any{"Note__c": "new"})
		check(t, err)
		_, err = r.PublishRaw(orders, sfstreamtest.RawEvent{SchemaID: before.SchemaID, Payload: []byte{0xff}, ID: "mine"})
		check(t, err)
		var ids []string
		stream := r.open(earliest(orders, 4))
		for len(ids) < 4 {
			for _, e := range recv(t, stream).Events {
				ids = append(ids, e.Event.SchemaId)
			}
		}
		old, now := before.SchemaID, getTopic(t, r, orders, codes.OK, "").SchemaId
		if want := []string{old, old, now, old}; !slices.Equal(ids, want) || old == now {
			t.Errorf("schemas %v, want %v", ids, want)
		}
		for _, id := range []string{old, now} {
			getSchema(t, r, id, codes.OK, "")
		}
	})
}

// A response has at most 3 MB: eventbus/PROTOCOL.md, "Connections".
func TestBatchesAreSplit(t *testing.T) {
	for name, test := range map[string]struct {
		events, size int
		opts         []sfstreamtest.Option
		most         int
	}{
		"at 3 MB":       {events: 100, size: 60 << 10, most: 52},
		"by the option": {events: 10, size: 10, opts: []sfstreamtest.Option{sfstreamtest.WithBatchEvents(3)}, most: 3},
		"huge events":   {events: 2, size: 3 << 20, opts: []sfstreamtest.Option{sfstreamtest.WithEventBytes(4 << 20)}, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				payload := make([]byte, test.size)
				for range test.events {
					_, err := r.PublishRaw(orders, sfstreamtest.RawEvent{Payload: payload})
					check(t, err)
				}
				stream := r.open(earliest(orders, 100))
				for got := 0; got < test.events; {
					resp := recv(t, stream)
					if n := len(resp.Events); n > test.most {
						t.Errorf("%d events in a response, want at most %d", n, test.most)
					}
					got += len(resp.Events)
					if int(resp.PendingNumRequested) != 100-got {
						t.Errorf("%d pending after %d", resp.PendingNumRequested, got)
					}
				}
			}, test.opts...)
		})
	}
}

// A stream ends when its client closes its side, or the connection. The first stream here has an
// event without a replay id.
func TestStreamsEndWithTheirClient(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, err := r.PublishRaw(orders, sfstreamtest.RawEvent{NoReplayID: true})
		check(t, err)
		stream := r.open(earliest(orders, 10))
		if resp := recv(t, stream); len(resp.Events[0].ReplayId) != 0 {
			t.Errorf("replay id %x, want none", resp.Events[0].ReplayId)
		}
		check(t, stream.CloseSend())
		wantEnd(t, stream, codes.OK, "")
		r.follow(orders, 1)
		check(t, r.conn.Close())
		r.await(orders, 0)
	})
}

func TestPayloadsAreChecked(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for name, payload := range map[string]map[string]any{
			"unknown field":   {"Colour__c": "red"},
			"wrong kind":      {"Amount__c": "many"},
			"required is nil": {"CreatedDate": nil},
			"too large":       {"City__c": string(make([]byte, 1<<20))},
		} {
			if _, err := r.Publish(orders, payload); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if _, err := r.Publish("/event/Unknown__e", nil); err == nil {
			t.Error("unknown channel: accepted")
		}
		for _, bad := range []string{"/topic/X", "/event/", "Order__e", "/u/x"} {
			if err := r.DefineEvent(bad, schemaFile(t, "order")); err == nil {
				t.Errorf("%s: defined", bad)
			}
		}
		if err := r.DefineEvent(orders, `"string"`); err == nil {
			t.Error("a schema that is not a record: defined")
		}
		if err := r.DefineObject("X", sfstreamtest.Field{Name: "A", Type: "Blob"}); err == nil {
			t.Error("an unknown type: defined")
		}
	})
}
