package sfstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingSubscribes are about what is asked for and what is refused.
func streamingSubscribes() []scenario {
	return []scenario{
		{name: "filtered_topic", run: filteredTopic},
		{name: "no_such_channel", run: noSuchChannel},
		{name: "bulk_partial", run: bulkPartial},
		{name: "oversize_request", run: oversizeRequest},
		{name: "api_version_retired", run: apiVersionRetired},
	}
}

// subscribeMessage is a subscribe as it was sent.
type subscribeMessage struct {
	Channel      string `json:"channel"`
	Subscription string `json:"subscription"`
	Ext          struct {
		Replay map[string]json.Number `json:"replay"`
	} `json:"ext"`
}

// subscribeBodies are the subscribes that a wire has seen.
type subscribeBodies struct {
	mu   sync.Mutex
	list []subscribeMessage
}

func (s *subscribeBodies) all() []subscribeMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

func (s *subscribeBodies) look(t *testing.T) func(r *http.Request) {
	return func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_ = r.Body.Close()
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"/meta/subscribe"`)) {
			return
		}
		var messages []subscribeMessage
		if err := json.Unmarshal(body, &messages); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = append(s.list, messages...)
	}
}

func filteredTopic(t *testing.T) {
	const filtered = labTopic + "?Name='A'&City__c='B'"
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithBareFilteredChannel()}} {
		l := newStreaming(t, opts...)
		publish := func(number int, name, city string) sfstreamtest.Event {
			e, err := l.PublishTopic("LabTopic", "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": number, "Name": name, "City__c": city})
			l.must(err)
			return seenBy(t, e)
		}
		l.start()
		l.subscribe(filtered)
		l.subscribe(labOrders)
		publish(1, "A", "X")
		publish(0, "X", "X")
		publish(2, "X", "B")
		last := publish(3, "A", "B")
		l.put(labOrders, 1)
		l.expectEach(map[string][]int{filtered: {1, 2, 3}, labOrders: {1}})
		if err := l.client.Subscribe(t.Context(), labTopic); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
			t.Errorf("subscribed to the same topic twice: %v", err)
		}
		l.UnknownClient(1)
		publish(4, "A", "A")
		l.put(labOrders, 2)
		publish(0, "Y", "Y")
		publish(5, "A", "A")
		l.expectEach(map[string][]int{filtered: {4, 5}, labOrders: {2}})
		l.expectCounts(2, 1)
		publish(6, "A", "A")
		l.expectEach(map[string][]int{filtered: {6}})
		l.leave()
		if got := l.marker(labTopic); len(got.ReplayID) == 0 || string(got.ReplayID) == string(last.ReplayID) {
			t.Errorf("the marker of %s is at %q", labTopic, got.ReplayID)
		}

		// A restart finds the marker, with another filter too.
		publish(7, "Z", "B")
		l.start()
		l.subscribe(labTopic + "?Name='Z'")
		l.expectEach(map[string][]int{labTopic + "?Name='Z'": {7}})
		l.leave()
	}
}

func noSuchChannel(t *testing.T) {
	l := newStreaming(t)
	l.must(l.DefineEvent("/event/Denied__e", labSchema("Denied__e")))
	l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.subscribe(labOrders)
	l.Reject("/event/Denied__e", 2, "403:denied_by_security_policy:create_denied")
	for _, refused := range []struct {
		channel string
		code    sfstream.Code
	}{
		{"/topic/Nope", sfstream.NotFound},
		{"/event/Nope__e", sfstream.NotFound},
		{"/data/NopeChangeEvent", sfstream.NotFound},
		{"/u/nope", sfstream.NotFound},
		{"/u/LAB", sfstream.NotFound},
		{"/event/Denied__e", sfstream.PermissionDenied},
		{labTopic + "?Nope__c='1'", sfstream.Invalid},
	} {
		err := l.client.Subscribe(t.Context(), refused.channel)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != refused.code || e.Channel != refused.channel {
			t.Errorf("%s: %v is %v of %s", refused.channel, e, e.Code, e.Channel)
		}
		l.put(labOrders, 1)
		l.expect(1)
	}
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	if got := l.client.Subscriptions(); !slices.Equal(got, []string{labOrders}) {
		t.Errorf("subscriptions %v", got)
	}
	l.expectCounts(1, 1)
	l.finish(labOrders)
}

// bulkPartial: after a reconnect one request asks for three channels, and the
// second one is refused.
func bulkPartial(t *testing.T) {
	l := newStreaming(t)
	var refused []string
	l.start(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
		refused = append(refused, channel+" "+err.Error())
		return true
	}}))
	channels := []string{labTopic, labOrders, labGeneric}
	for _, channel := range channels {
		l.subscribe(channel)
	}
	l.Reject(labOrders, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
	l.DropConnections()
	for _, channel := range channels {
		l.put(channel, 1)
	}
	l.expectEach(map[string][]int{labTopic: {1}, labGeneric: {1}})
	var together []sfstreamtest.CometDRequest
	for _, r := range l.CometDRequests() {
		if r.Kind == "subscribe" {
			together = append(together, r)
		}
	}
	if together = together[3:]; len(together) != 3 || together[0].Bytes != together[2].Bytes || together[0].Bytes < 400 {
		t.Errorf("they were not asked for in one request: %+v", together)
	}
	if len(refused) != 1 || !strings.HasPrefix(refused[0], labOrders) {
		t.Errorf("refused: %v", refused)
	}
	if got := l.client.Subscriptions(); !slices.Equal(got, []string{labTopic, labGeneric}) {
		t.Errorf("subscriptions %v", got)
	}
	l.expectCounts(2, 1)
	l.awaitForgotten()
	l.finish(labTopic)
}

// oversizeRequest: what is asked for after a reconnect does not fit into a request,
// because the server takes less, or because it takes no more than all servers do.
func oversizeRequest(t *testing.T) {
	small := sfstreamtest.WithCometDRequestBytes(2000)
	for _, opts := range [][]sfstreamtest.Option{{small}, {small, sfstreamtest.WithCometDHTTPStatus()}, nil} {
		l := newStreaming(t, opts...)
		l.start()
		want := make(map[string][]int)
		n := 40
		if opts == nil {
			n = 200
		}
		for i := range n {
			channel := fmt.Sprintf("/u/%s%d", strings.Repeat("x", 70), i)
			l.must(l.DefineGenericChannel(channel))
			l.must(l.client.Subscribe(t.Context(), channel))
			want[channel] = []int{i}
		}
		before := len(l.CometDRequests())
		l.DropConnections()
		for channel, numbers := range want {
			l.put(channel, numbers...)
		}
		l.expectEach(want)
		for _, r := range l.CometDRequests()[before:] {
			if r.Bytes > 32768 {
				t.Errorf("a request of %d bytes", r.Bytes)
			}
		}
		l.expectCounts(2, 1)
		l.subscribe(labOrders)
		l.awaitForgotten()
		l.finish(labOrders)
	}
}

func apiVersionRetired(t *testing.T) {
	l := newStreaming(t, sfstreamtest.WithAPIVersions("40.0"))
	if _, err := sfstream.New(l.Authenticator(), sfstream.WithAPIVersion("36.0")); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("version 36.0: %v", err)
	}
	l.start(sfstream.WithAPIVersion("66.0"))
	refused := func(parts ...string) {
		t.Helper()
		began := time.Now()
		err := l.client.Subscribe(t.Context(), labTopic)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.Invalid {
			t.Errorf("%v is %v", e, e.Code)
		}
		contains(t, err.Error(), parts...)
		if took := time.Since(began); took > 0 {
			t.Errorf("Subscribe took %v", took)
		}
	}
	refused("Unsupported API version", "'/cometd/40.0'")
	l.expectCounts(1, 1)
	l.leave()

	l.start()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Error: "400::API version in the URI is mandatory. URI format: '/cometd/40.0'"})
	refused("API version in the URI is mandatory. URI format: '/cometd/40.0'")
	l.expectCounts(2, 2)
	l.subscribe(labTopic)
	l.finish(labTopic)
}
