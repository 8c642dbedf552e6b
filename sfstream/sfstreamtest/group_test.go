package sfstreamtest_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// withGroup publishes an event, a group of three and another event on sales.
func withGroup(t *testing.T, r *rig) []sfstreamtest.Event {
	t.Helper()
	withMembers(t, r)
	changed(t, r, account("CREATE", map[string]any{"Name": "Zero"}, "0010"))
	group := changed(t, r, account("CREATE", map[string]any{"Name": "Acme"}, "001A", "001B", "001C"))
	changed(t, r, account("CREATE", map[string]any{"Name": "Last"}, "001D"))
	if own := r.Retained("/data/AccountChangeEvent"); len(own) != 3 || own[1].Number != group.Number {
		t.Errorf("the object's channel has %+v", own)
	}
	return r.Retained(sales)
}

func idSet(events []sfstreamtest.Event) int {
	ids := make(map[string]bool)
	for _, e := range events {
		ids[e.ID] = true
	}
	return len(ids)
}

func TestAGroupIsOneEventPerRecordWithOneReplayID(t *testing.T) {
	for ids, opts := range map[int][]sfstreamtest.Option{5: nil, 3: {sfstreamtest.WithSharedEventID()}} {
		bubble(t, func(t *testing.T, r *rig) {
			events := withGroup(t, r)
			if len(events) != 5 {
				t.Fatalf("retained are %+v", events)
			}
			n := numbersOf(events)
			if n[0] >= n[1] || n[1] != n[2] || n[2] != n[3] || n[3] >= n[4] {
				t.Errorf("the replay ids are %v", n)
			}
			if got := idSet(events); got != ids {
				t.Errorf("%d event ids in %+v, want %d", got, events, ids)
			}
			var records []string
			for _, e := range recv(t, r.open(earliest(sales, 100))).Events {
				records = append(records, recordIDs(decoded(t, r, e)))
			}
			if want := []string{"[0010]", "[001A]", "[001B]", "[001C]", "[001D]"}; !slices.Equal(records, want) {
				t.Errorf("got %v, want %v", records, want)
			}
			wantEvents(t, r.shaken().follow(sales, -2), events...)
			// A subscription after the id begins after the whole group; one after the id before
			// gets all of it.
			for _, face := range []func(e sfstreamtest.Event, n int) []string{r.replayed, r.replayedCometD} {
				if got := face(events[0], 4); !slices.Equal(got, keys(events[1:])) {
					t.Errorf("after the id before: %v, want %v", got, keys(events[1:]))
				}
				if got := face(events[1], 1); !slices.Equal(got, keys(events[4:])) {
					t.Errorf("after the group's id: %v, want %v", got, keys(events[4:]))
				}
			}
		}, opts...)
	}
}

func keys(events []sfstreamtest.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.ReplayID))
	}
	return all
}

// replayed returns the replay ids of n events after another.
func (r *rig) replayed(e sfstreamtest.Event, n int) []string {
	r.tb.Helper()
	var got []string
	for stream := r.open(after(sales, e.ReplayID, 100)); len(got) < n; {
		for _, e := range recv(r.tb, stream).Events {
			got = append(got, string(e.ReplayId))
		}
	}
	return got
}

func (r *rig) replayedCometD(e sfstreamtest.Event, _ int) []string {
	r.tb.Helper()
	var got []sfstreamtest.Event
	for _, n := range numbers(r.tb, r.shaken().follow(sales, e.Number)) {
		i := slices.IndexFunc(r.Retained(sales), func(e sfstreamtest.Event) bool { return e.Number == n })
		got = append(got, r.Retained(sales)[i])
	}
	return keys(got)
}

func TestGroupsAreCutAnywhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := withGroup(t, r)
		stream := r.open(earliest(sales, 100))
		for i, want := range [][]sfstreamtest.Event{events[:3], events[3:]} {
			resp := recv(t, stream)
			if got := len(resp.Events); got != len(want) || resp.PendingNumRequested != int32(100-3-2*i) {
				t.Errorf("response %d has %d events, pending %d", i, got, resp.PendingNumRequested)
			}
			if string(resp.LatestReplayId) != string(want[len(want)-1].ReplayID) {
				t.Errorf("response %d ends at %x", i, resp.LatestReplayId)
			}
		}
		b := r.shaken()
		wantEvents(t, b.follow(sales, -2), events[:3]...)
		rest, _ := b.connect()
		wantEvents(t, rest, events[3:]...)

		r.CutGroups(-1)
		seen := make(map[int]bool)
		for range 50 {
			first := len(recv(t, r.open(earliest(sales, 100))).Events)
			seen[first] = true
		}
		if !seen[2] || !seen[3] || !seen[5] || seen[1] || seen[4] {
			t.Errorf("first responses of %v events", seen)
		}
		r.CutGroups(0)
		if n := len(recv(t, r.open(earliest(sales, 100))).Events); n != 5 {
			t.Errorf("%d events in a response", n)
		}
	}, sfstreamtest.WithGroupCut(2))
}

func TestTheDailyLimitFinishesAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := withGroup(t, r)
		b := r.shaken()
		wantEvents(t, b.follow(sales, -2), events[:3]...)
		r.DailyLimit(time.Hour)
		rest, _ := b.connect()
		wantEvents(t, rest, events[3])
		if none, m := b.connect(); len(none) > 0 || !m.ok() {
			t.Errorf("%v %+v", none, m)
		}
	}, sfstreamtest.WithGroupCut(2))
}

func TestStreamsEndInsideOfGroups(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := withGroup(t, r)
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 2})
		stream := r.open(earliest(sales, 100))
		wantCut := func(n int) {
			t.Helper()
			if got := recv(t, stream).Events; len(got) != n {
				t.Errorf("got %d events, want %d", len(got), n)
			}
			if _, err := stream.Recv(); err == nil || err == io.EOF {
				t.Errorf("the stream goes on: %v", err)
			}
		}
		wantCut(3)
		if got := recv(t, r.open(earliest(sales, 100))).Events; len(got) != 5 {
			t.Errorf("it broke twice: %d events", len(got))
		}
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 1, Code: "service.unavailable"})
		stream = r.open(earliest(sales, 100))
		if got := recv(t, stream).Events; len(got) != 2 {
			t.Errorf("got %d events", len(got))
		}
		wantEnd(t, stream, codes.Internal, "service.unavailable")
		r.BreakGroups(sfstreamtest.GroupBreak{After: 3, Code: "OK"})
		stream = r.open(earliest(sales, 100))
		if got := recv(t, stream).Events; len(got) != 4 {
			t.Errorf("got %d events", len(got))
		}
		wantEnd(t, stream, codes.OK, "")

		b := r.shaken()
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 2})
		wantEvents(t, b.follow(sales, -2), events[:3]...)
		_, m := b.connect()
		wantError(t, m, "403::Unknown client")
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 2, Times: -1})
		r.ClearFaults()
		wantEvents(t, r.shaken().follow(sales, -2), events...)
	})
}

func TestStreamsEndAfterEventsNotSentBefore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		changed(t, r, account("CREATE", nil, "0010"))
		ids := make([]string, 10)
		for i := range ids {
			ids[i] = "001" + string(rune('A'+i))
		}
		changed(t, r, account("CREATE", nil, ids...))
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 4, NewOnly: true, Times: -1, Code: "OK"})
		first := r.Retained(sales)[0]
		for i, want := range []int{4, 8, 10} {
			stream := r.open(after(sales, first.ReplayID, 100))
			if n := len(recv(t, stream).Events); n != want {
				t.Errorf("stream %d had %d events, want %d", i, n, want)
			}
			if want < 10 {
				wantEnd(t, stream, codes.OK, "")
			}
		}
		r.ClearFaults()
		r.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 4, Times: -1})
		for range 3 { // this client never gets further
			b := r.shaken()
			if n := len(b.follow(sales, first.Number)); n != 4 {
				t.Errorf("a session had %d events", n)
			}
		}
	})
}

func TestAnyChannelCanRepeatAReplayID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		publishTopic(t, r, map[string]any{"Id": "1"})
		r.RepeatReplayID("/topic/Accts", 1)
		publishTopic(t, r, map[string]any{"Id": "2"})
		last := publishTopic(t, r, map[string]any{"Id": "3"})
		events := r.Retained("/topic/Accts")
		if events[0].Number != events[1].Number || events[1].Number == last.Number {
			t.Errorf("replay ids are %v", numbersOf(events))
		}
		wantEvents(t, r.shaken().follow("/topic/Accts", events[0].Number), last)

		r.RepeatReplayID(orders, 2) // there is no event before the first
		got := r.publish(4)
		if got[0].Number != got[1].Number || got[1].Number != got[2].Number || got[2].Number == got[3].Number {
			t.Errorf("replay ids are %v", numbersOf(got))
		}
	})
}

func TestGroupsOutliveTheOrg(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var events []sfstreamtest.Event
	bubble(t, func(t *testing.T, r *rig) { events = withGroup(t, r) }, sfstreamtest.WithLog(path))
	bubble(t, func(t *testing.T, r *rig) {
		wantEvents(t, r.shaken().follow(sales, -2), events...)
		changed(t, r, account("CREATE", nil, "001E", "001F"))
		if n := len(r.Retained(sales)); n != 7 {
			t.Errorf("%d events: the member is not enriched any more", n)
		}
	}, sfstreamtest.WithLog(path))
}

func TestGroupsAgeOutAsAWhole(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		changed(t, r, account("CREATE", nil, "0010"))
		time.Sleep(time.Hour)
		changed(t, r, account("CREATE", nil, "001A", "001B"))
		events := r.Retained(sales)
		time.Sleep(71*time.Hour + time.Minute)
		r.login()
		wantEnd(t, r.open(after(sales, events[0].ReplayID, 10)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		if n := len(recv(t, r.open(earliest(sales, 10))).Events); n != 2 {
			t.Errorf("%d events of the group", n)
		}
	})
}

func TestControlDefinesMembers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		body := `{"channel":"/data/Two__chn","members":["/data/AccountChangeEvent"]}`
		resp, err := r.HTTPClient().Post(r.ControlURL()+"/control/define", "application/json", strings.NewReader(body))
		check(t, err)
		check(t, resp.Body.Close())
		body = `{"channel":"/data/Three__chn","members":[{"channel":"/data/AccountChangeEvent","enriched":["Name"]}]}`
		resp, err = r.HTTPClient().Post(r.ControlURL()+"/control/define", "application/json", strings.NewReader(body))
		check(t, err)
		var reply struct{ Channel, Error string }
		check(t, json.NewDecoder(resp.Body).Decode(&reply))
		check(t, resp.Body.Close())
		changed(t, r, account("CREATE", nil, "001A", "001B"))
		if two, three := len(r.Retained("/data/Two__chn")), len(r.Retained("/data/Three__chn")); two != 1 || three != 2 {
			t.Errorf("%d and %d events; %+v", two, three, reply)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestChangeEventsHasMembersToo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", fieldList("Name Text, Industry DynamicEnum")...))
		check(t, r.DefineObject("Contact", fieldList("Name Text")...))
		check(t, r.DefineMembers("/data/ChangeEvents", sfstreamtest.Member{Channel: "/data/AccountChangeEvent", Enriched: []string{"Industry"}}))
		changed(t, r, account("CREATE", nil, "001A", "001B"))
		changed(t, r, sfstreamtest.Change{Object: "Contact", Type: "CREATE", RecordIDs: []string{"003A", "003B"}})
		check(t, r.DefineMembers("/data/ChangeEvents", sfstreamtest.Member{Channel: "/data/AccountChangeEvent"})) // its changes are plain again
		changed(t, r, account("CREATE", nil, "001C", "001D"))
		n := numbersOf(r.Retained("/data/ChangeEvents"))
		if len(n) != 4 || n[0] != n[1] || n[1] == n[2] || n[2] == n[3] {
			t.Errorf("the replay ids are %v", n)
		}
		wantEvents(t, r.shaken().follow("/data/ChangeEvents", -2), r.Retained("/data/ChangeEvents")...)
	})
}

func TestALargeGroupIsSentAsTheClientAsks(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		ids := make([]string, 10_000)
		for i := range ids {
			ids[i] = fmt.Sprintf("001%012dAAA", i)
		}
		changed(t, r, account("CREATE", nil, ids...))
		stream := r.open(earliest(sales, 100))
		var id []byte
		for n := 0; n < len(ids); {
			resp := recv(t, stream)
			for _, e := range resp.Events {
				if id = slices.Clone(e.ReplayId); string(id) != string(resp.LatestReplayId) {
					t.Fatalf("event %d has %x", n, id)
				}
				n++
			}
			if resp.PendingNumRequested == 0 {
				check(t, stream.Send(&eventbus.FetchRequest{NumRequested: 100}))
			}
		}
		if got := len(r.shaken().follow(sales, -2)); got != len(ids) {
			t.Errorf("%d events over CometD", got)
		}
		if b := r.shaken(); len(b.follow(sales, binary.BigEndian.Uint64(id))) != 0 {
			t.Error("something comes after the group's id")
		}
	})
}
