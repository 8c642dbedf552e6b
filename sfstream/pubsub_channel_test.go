package sfstream_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubChannels is about channels that are not there, or not for this user.
func pubsubChannels() []scenario {
	return []scenario{
		{name: "14_no_such_channel", run: unknownChannelName},
		{name: "14_channel_changed_within_a_stream", run: channelChanged},
		{name: "17_channel_of_many_kinds", run: channelOfManyKinds},
		{name: "49_permission_removed", run: permissionRemoved},
	}
}

// unknownChannelName: the caller of Subscribe is told at once, once, and can go on with
// another channel.
func unknownChannelName(t *testing.T) {
	const forbidden = "/event/Forbidden__e"
	l := newLab(t)
	l.start()
	l.must(l.DefineEvent(forbidden, labSchema("Forbidden__e")))
	l.Revoke(forbidden)
	refused := func(channel string, code sfstream.Code, status string) {
		t.Helper()
		calls := l.GetTopicCalls()
		within(t, 0, func() {
			e := expectError[*sfstream.ServerError](t, l.client.Subscribe(t.Context(), channel))
			if e.Code != code || e.Channel != channel {
				t.Errorf("%s: %+v", channel, e)
			}
			contains(t, e.Error(), channel, status)
		})
		l.pass(time.Hour)
		if n := l.GetTopicCalls() - calls; n != 1 {
			t.Errorf("%s: %d GetTopic calls", channel, n)
		}
		if n := len(l.Subscribes(channel)); n != 0 {
			t.Errorf("%s: %d Subscribe calls", channel, n)
		}
	}
	refused("/event/Missing__e", sfstream.NotFound, "spelling")
	refused("/event/laborder__e", sfstream.NotFound, "spelling")
	refused("/data/LeadChangeEvent", sfstream.NotFound, "Change Data Capture is enabled")
	refused(forbidden, sfstream.PermissionDenied, "Read on the event")
	for code, want := range map[string]sfstream.Code{
		"topic.meta.permission": sfstream.PermissionDenied, "service.tenant.license": sfstream.PermissionDenied,
		"topic.validation.empty": sfstream.Invalid, "NOT_FOUND topic.meta.permission": sfstream.PermissionDenied,
		"PERMISSION_DENIED": sfstream.PermissionDenied, "UNIMPLEMENTED": sfstream.NotFound,
	} {
		l.FailGetTopic(1, code)
		refused(labOrders, want, "")
	}
	for _, name := range []string{"", "/", "event/LabOrder__e", "/Event/LabOrder__e", labOrders + "/", "Order"} {
		if err := l.client.Subscribe(t.Context(), name); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%q: %v", name, err)
		}
	}
	l.must(l.client.Err())
	l.subscribe(labOrders)
	l.publish(1)
	l.expect(1)
	l.expectCalls(1, 1)
	l.finishStream(labOrders)
}

// channelChanged: a request on the stream names another channel, or the first one
// names none. A client of ours sends no such thing, and would end if it did.
func channelChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  bool
		reason string
	}{
		{"/event/LabUndated__e", false, "subscription.fetch.topic.mismatch"},
		{"", true, "topic.validation.empty"},
	} {
		l := newLab(t)
		requests := 0
		l.follow(sfstream.WithPrefetch(1), grpcWire{request: func(r *eventbus.FetchRequest) {
			if requests++; test.first == (requests == 1) {
				r.TopicName = test.name
			}
		}}.option())
		l.publish(1)
		if !test.first {
			l.receive().Ack() // and more is asked for
		}
		e := expectEnd[*sfstream.ServerError](l)
		if e.Reason != "sfdc.platform.eventbus.grpc."+test.reason || e.Code != sfstream.Invalid || status.Code(e) != codes.InvalidArgument {
			t.Errorf("%+v", e)
		}
		l.pass(time.Hour)
		if n := len(l.Subscribes(labOrders)); n > 1 || requests > 2 || l.Logins() != 1 {
			t.Errorf("%d Subscribe calls, %d requests, %d logins", n, requests, l.Logins())
		}
		l.closeStreams()
		l.follow()
		if test.first {
			l.expect(1)
		}
		l.finishStream(labOrders)
	}
}

// channelOfManyKinds: GetTopic has no schema for it, and GetSchema of none fails.
func channelOfManyKinds(t *testing.T) {
	const custom = "/event/Lab__chn"
	l := newLab(t)
	l.must(l.DefineObject("Contact", sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	l.must(l.DefineChannel(custom, labOrders, labUndated))
	l.start()
	l.subscribe("/data/ChangeEvents")
	l.subscribe(custom)
	if n := l.GetSchemaCalls(); n != 0 {
		t.Errorf("%d GetSchema calls before there are events", n)
	}
	for n := range 3 {
		l.change(4 * n)
		_, err := l.Change(sfstreamtest.Change{
			Object: "Contact", Type: "UPDATE", RecordIDs: []string{"003000000000001AAA"}, Set: map[string]any{"NumberOfEmployees": 4*n + 1},
		})
		l.must(err)
		l.publish(4*n + 2)
		l.publishOn(labUndated, 4*n+3)
		l.expectEach(map[string][]int{"/data/ChangeEvents": {4 * n, 4*n + 1}, custom: {4*n + 2, 4*n + 3}})
		l.endStreams("", "UNAVAILABLE")
	}
	if n := l.GetSchemaCalls(); n != 4 {
		t.Errorf("%d GetSchema calls for 4 kinds of event", n)
	}
	l.change(100)
	l.publishOn(labUndated, 101)
	l.expectEach(map[string][]int{"/data/ChangeEvents": {100}, custom: {101}})
	for _, channel := range []string{"/data/ChangeEvents", custom} {
		if n := len(l.Subscribes(channel)); n != 4 {
			t.Errorf("%s: %d Subscribe calls", channel, n)
		}
	}
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	l.must(l.client.Err())
	l.closeStreams()
}

// permissionRemoved: it may be a mistake that an administrator takes back, within the
// 10 minutes in which such changes show.
func permissionRemoved(t *testing.T) {
	l := newLab(t)
	l.follow()
	last := l.publish(1)[0]
	l.expect(1)
	l.Revoke(labOrders)
	l.publish(2)
	l.pass(9 * time.Minute)
	l.Grant(labOrders)
	within(t, time.Minute, func() { l.expect(2) })
	if n := len(l.Subscribes(labOrders)); n > 2+2*10 || l.Logins() != 2 {
		t.Errorf("%d Subscribe calls and %d logins", n, l.Logins())
	}
	l.expectSubscribe(labOrders, "CUSTOM", last.ReplayID)

	// It was none. Other channels go on if the program says so.
	l.stop()
	dropped := ""
	l.start(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, _ error) bool {
		dropped = channel
		return true
	}}))
	l.subscribe(labOrders)
	l.subscribe(labUndated)
	subscribes, logins := len(l.Subscribes(labOrders)), l.Logins()
	l.Revoke(labOrders)
	l.pass(time.Hour)
	if n := len(l.Subscribes(labOrders)) - subscribes; n > 2*10+2 || l.Logins()-logins > 1 || dropped != labOrders {
		t.Errorf("%d Subscribe calls and %d logins more, dropped %q", n, l.Logins()-logins, dropped)
	}
	l.publishOn(labUndated, 1)
	l.expect(1)
	l.finishStream(labUndated)

	l.Grant(labOrders)
	l.publish(3)
	l.follow()
	l.expect(3)
	l.Revoke(labOrders)
	if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.PermissionDenied || e.Channel != labOrders {
		t.Errorf("%+v", e)
	}
	l.closeStreams()
	l.Grant(labOrders)
	l.follow()
	l.finishStream(labOrders)
}
