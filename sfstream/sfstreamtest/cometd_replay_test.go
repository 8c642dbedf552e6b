package sfstreamtest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestReplayIDsAreExclusiveAndNumbersOrTexts(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		old := r.publish(4)
		want := map[any][]sfstreamtest.Event{
			-2: old, "-2": old, -1: nil, "-1": nil, nil: nil,
			old[1].Number: old[2:], strconv.FormatUint(old[1].Number, 10): old[2:], old[3].Number: nil,
		}
		for replay, events := range want {
			wantEvents(t, b.follow(orders, replay), events...) // event_in_subscribe_reply
			b.post(object{"channel": "/meta/unsubscribe", "subscription": orders})
		}
		var presets []string
		for _, c := range r.Subscribes(orders) {
			presets = append(presets, c.Preset+string(c.ReplayID))
		}
		slices.Sort(presets)
		a, z := fmt.Sprint("CUSTOM", old[1].Number), fmt.Sprint("CUSTOM", old[3].Number)
		if want := []string{a, a, z, "EARLIEST", "EARLIEST", "LATEST", "LATEST", "LATEST"}; !slices.Equal(presets, want) {
			t.Errorf("got %v, want %v", presets, want)
		}
	})
}

func TestReplayInvalid(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		old := r.publish(1)
		for _, replay := range []any{old[0].Number + 1, 0, 12, -3, "x", 1.5, true} {
			_, m := b.subscribe(orders, replay)
			wantError(t, m, fmt.Sprintf("400::The replayId {%v} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.", replay))
			wantAdvice(t, m, "")
		}
		if r.Streams(orders) != 0 || r.Sessions() != 1 {
			t.Errorf("%d streams, %d sessions", r.Streams(orders), r.Sessions())
		}
		time.Sleep(time.Minute)
		b = r.shaken()
		check(t, r.TruncateReplay(orders))
		_, m := b.subscribe(orders, old[0].Number)
		if m.ok() {
			t.Error("a truncated id is valid")
		}
	})
}

func TestReplayAgedIdle(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		topic := publishTopic(t, r, map[string]any{"Id": "1"})
		event := r.publish(1)[0]
		for _, step := range []struct {
			after            time.Duration
			topicOK, eventOK bool
		}{{23 * time.Hour, true, true}, {25 * time.Hour, false, true}, {73 * time.Hour, false, false}} {
			time.Sleep(step.after - time.Since(event.Date))
			b := r.shaken()
			_, m := b.subscribe(accounts, topic.Number)
			_, n := b.subscribe(orders, event.Number)
			if m.ok() != step.topicOK || n.ok() != step.eventOK {
				t.Errorf("after %v: topic %v, event %v", step.after, m.ok(), n.ok())
			}
		}
	})
}

func TestReplayKeyMissing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		b := r.shaken()
		const rest = "}. Ensure that the channel name you provided in the replay map is valid and matches the channel name used for subscribing."
		for channel, cases := range map[string]map[string]string{
			orders: {`{}`: "{}", `{"/event/order_event__e":-1,"/u/x":"7"}`: "{/event/order_event__e=-1, /u/x=7}"},
			accounts + "?Name='Smith'": {
				`{"/topic/Accts?Name='Smith'":-1}`: "{/topic/Accts?Name='Smith'=-1}",
			},
		} {
			bare := orders
			if channel != orders {
				bare = accounts
			}
			for replay, printed := range cases {
				m := b.only(b.post(object{
					"channel": "/meta/subscribe", "subscription": channel, "ext": object{"replay": json.RawMessage(replay)},
				}))
				wantError(t, m, "400::The replayId for channel {"+bare+"} wasn't found using the provided replay ID map {"+printed+rest)
			}
		}
	})
}

func TestAPositionOfAKeepaliveIsNoneOnCometD(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		resp := recv(t, r.follow(orders, 1))
		if len(resp.Events) > 0 {
			t.Fatal("no keepalive")
		}
		b := r.shaken()
		var id uint64
		for _, c := range resp.LatestReplayId[:8] {
			id = id<<8 | uint64(c)
		}
		if _, m := b.subscribe(orders, id); m.ok() {
			t.Error("subscribed from the position of a keepalive")
		}
		wantEvents(t, b.follow(orders, -2))
	})
}

func TestReplayMinus2BacklogWithLiveEventsBetween(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		want := r.publish(5000)
		b := r.shaken()
		got := b.follow(orders, -2)
		for len(got) < len(want) {
			if len(want) < 5200 {
				want = append(want, r.publish(10)...)
			}
			events, _ := b.connect()
			got = append(got, events...)
		}
		wantEvents(t, got, want...)
	}, sfstreamtest.WithReplyEvents(200))
}

func TestBigReplayIDAndOrgMigration(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		old := r.publish(1)[0]
		const big = 1<<53 + 1
		check(t, r.RestartReplay(orders, big))
		e := r.publish(1)[0]
		events, _ := b.connect()
		if e.Number != big || len(events) != 1 || !containsText(events[0].Data, `"replayId":9007199254740993`) {
			t.Errorf("number %d, got %+v", e.Number, events)
		}
		check(t, r.RestartReplay(orders, 7))
		low := r.publish(2)
		if low[0].Number != 7 {
			t.Errorf("number %d", low[0].Number)
		}
		for _, id := range []uint64{old.Number, big} {
			if _, m := b.subscribe(orders, id); m.ok() {
				t.Errorf("%d is valid", id)
			}
		}
		wantEvents(t, b.follow(orders, 7), low[1])
	})
}
