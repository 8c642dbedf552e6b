package pubsub

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubChannels is about channels that are not there, or not for this user.
func pubsubChannels() []scenario {
	return []scenario{
		{name: "no_such_channel", run: unknownChannelName},
		{name: "channel_changed_within_a_stream", run: channelChanged},
		{name: "channel_of_many_kinds", run: channelOfManyKinds},
		{name: "permission_removed", run: permissionRemoved},
	}
}

// unknownChannelName: the caller of Subscribe is told at once, once, and can go on with another
// channel.
func unknownChannelName(t *testing.T) {
	const forbidden = "/event/Forbidden__e"
	l := lab.New(t)
	l.Start()
	l.Must(l.DefineEvent(forbidden, lab.Schema("Forbidden__e")))
	l.Revoke(forbidden)
	refused := func(channel string, code sfstream.Code, status string) {
		t.Helper()
		calls := l.GetTopicCalls()
		lab.Within(t, 0, func() {
			e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), channel))
			if e.Code != code || e.Channel != channel {
				t.Errorf("%s: %+v", channel, e)
			}
			lab.Contains(t, e.Error(), channel, status)
		})
		l.Pass(time.Hour)
		if n := l.GetTopicCalls() - calls; n != 1 {
			t.Errorf("%s: %d GetTopic calls", channel, n)
		}
		if n := len(l.Subscribes(channel)); n != 0 {
			t.Errorf("%s: %d Subscribe calls", channel, n)
		}
	}
	refused("/event/Missing__e", sfstream.NotFound, "spelling and case, and that the user may see the event")
	refused("/event/laborder__e", sfstream.NotFound, "spelling")
	refused("/data/LeadChangeEvent", sfstream.NotFound, "Change Data Capture is enabled")
	refused("/data/Missing__chn", sfstream.NotFound, "case of the custom channel")
	refused("/event/Missing__chn", sfstream.NotFound, "case of the custom channel")
	refused(forbidden, sfstream.PermissionDenied, "Read on the event")
	for code, want := range map[string]sfstream.Code{
		"topic.meta.permission": sfstream.PermissionDenied, "service.tenant.license": sfstream.PermissionDenied,
		"topic.validation.empty": sfstream.Invalid, "NOT_FOUND topic.meta.permission": sfstream.PermissionDenied,
		"PERMISSION_DENIED": sfstream.PermissionDenied, "UNIMPLEMENTED": sfstream.NotFound,
	} {
		l.FailGetTopic(1, code)
		refused(lab.Orders, want, "")
	}
	for _, name := range []string{"", "/", "event/Order__e", "/Event/Order__e", lab.Orders + "/", "Order"} {
		if err := l.Client.Subscribe(t.Context(), name); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%q: %v", name, err)
		}
	}
	l.Must(l.Client.Err())
	l.Subscribe(lab.Orders)
	l.PublishOrders(1)
	l.Expect(1)
	expectCalls(l, 1, 1)
	finishStream(l, lab.Orders)
}

// channelChanged: a request on the stream names another channel, or the first one names none. A
// client of ours sends no such thing, and would end if it did.
func channelChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  bool
		reason string
	}{
		{"/event/Undated__e", false, "subscription.fetch.topic.mismatch"},
		{"", true, "topic.validation.empty"},
	} {
		l := lab.New(t)
		requests := 0
		l.Follow(sfstream.WithPrefetch(1), grpcWire{request: func(r *eventbus.FetchRequest) {
			if requests++; test.first == (requests == 1) {
				r.TopicName = test.name
			}
		}}.option())
		l.PublishOrders(1)
		if !test.first {
			l.Receive().Ack() // and more is asked for
		}
		e := lab.ExpectEnd[*sfstream.ServerError](l)
		if e.Reason != "sfdc.platform.eventbus.grpc."+test.reason || e.Code != sfstream.Invalid || status.Code(e) != codes.InvalidArgument {
			t.Errorf("%+v", e)
		}
		l.Pass(time.Hour)
		if n := len(l.Subscribes(lab.Orders)); n > 1 || requests > 2 || l.Logins() != 1 {
			t.Errorf("%d Subscribe calls, %d requests, %d logins", n, requests, l.Logins())
		}
		closeStreams(l)
		l.Follow()
		if test.first {
			l.Expect(1)
		}
		finishStream(l, lab.Orders)
	}
}

// channelOfManyKinds: GetTopic has no schema for it, and GetSchema of none fails.
func channelOfManyKinds(t *testing.T) {
	const custom = "/event/Lab__chn"
	l := lab.New(t)
	l.Must(l.DefineObject("Contact", sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	l.Must(l.DefineChannel(custom, lab.Orders, lab.Undated))
	l.Start()
	l.Subscribe("/data/ChangeEvents")
	l.Subscribe(custom)
	if n := l.GetSchemaCalls(); n != 0 {
		t.Errorf("%d GetSchema calls before there are events", n)
	}
	for n := range 3 {
		l.ChangeAccount(4 * n)
		_, err := l.Change(sfstreamtest.Change{
			Object: "Contact", Type: "UPDATE", RecordIDs: []string{"003000000000001AAA"}, Set: map[string]any{"NumberOfEmployees": 4*n + 1},
		})
		l.Must(err)
		l.PublishOrders(4*n + 2)
		l.PublishNumbers(lab.Undated, 4*n+3)
		l.ExpectEach(map[string][]int{"/data/ChangeEvents": {4 * n, 4*n + 1}, custom: {4*n + 2, 4*n + 3}})
		endStreams(l, "", "UNAVAILABLE")
	}
	if n := l.GetSchemaCalls(); n != 4 {
		t.Errorf("%d GetSchema calls for 4 kinds of event", n)
	}
	l.ChangeAccount(100)
	l.PublishNumbers(lab.Undated, 101)
	l.ExpectEach(map[string][]int{"/data/ChangeEvents": {100}, custom: {101}})
	for _, channel := range []string{"/data/ChangeEvents", custom} {
		if n := len(l.Subscribes(channel)); n != 4 {
			t.Errorf("%s: %d Subscribe calls", channel, n)
		}
	}
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	l.Must(l.Client.Err())
	closeStreams(l)
}

// permissionRemoved: it may be a mistake that an administrator takes back, within the 10 minutes in
// which such changes show.
func permissionRemoved(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	last := l.PublishOrders(1)[0]
	l.Expect(1)
	l.Revoke(lab.Orders)
	l.PublishOrders(2)
	l.Pass(9 * time.Minute)
	l.Grant(lab.Orders)
	lab.Within(t, time.Minute, func() { l.Expect(2) })
	if n := len(l.Subscribes(lab.Orders)); n > 2+2*10 || l.Logins() != 2 {
		t.Errorf("%d Subscribe calls and %d logins", n, l.Logins())
	}
	l.ExpectSubscribe(lab.Orders, "CUSTOM", last.ReplayID)

	// It was none. Other channels go on if the program says so.
	l.Stop()
	dropped := ""
	l.Start(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, _ error) bool {
		dropped = channel
		return true
	}}))
	l.Subscribe(lab.Orders)
	l.Subscribe(lab.Undated)
	subscribes, logins := len(l.Subscribes(lab.Orders)), l.Logins()
	l.Revoke(lab.Orders)
	l.Pass(time.Hour)
	if n := len(l.Subscribes(lab.Orders)) - subscribes; n > 2*10+2 || l.Logins()-logins > 1 || dropped != lab.Orders {
		t.Errorf("%d Subscribe calls and %d logins more, dropped %q", n, l.Logins()-logins, dropped)
	}
	l.PublishNumbers(lab.Undated, 1)
	l.Expect(1)
	finishStream(l, lab.Undated)

	l.Grant(lab.Orders)
	l.PublishOrders(3)
	l.Follow()
	l.Expect(3)
	l.Revoke(lab.Orders)
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.PermissionDenied || e.Channel != lab.Orders {
		t.Errorf("%+v", e)
	}
	closeStreams(l)
	l.Grant(lab.Orders)
	l.Follow()
	finishStream(l, lab.Orders)
}
