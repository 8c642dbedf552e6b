package streaming

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
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
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
	const filtered = lab.Topic + "?Name='A'&City__c='B'"
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithBareFilteredChannel()}} {
		l := lab.NewStreaming(t, opts...)
		publish := func(number int, name, city string) sfstreamtest.Event {
			e, err := l.PublishTopic("LabTopic", "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": number, "Name": name, "City__c": city})
			l.Must(err)
			return lab.SeenBy(t, e)
		}
		l.Start()
		l.Subscribe(filtered)
		l.Subscribe(lab.Orders)
		publish(1, "A", "X")
		publish(0, "X", "X")
		publish(2, "X", "B")
		last := publish(3, "A", "B")
		l.PublishNumbers(lab.Orders, 1)
		l.ExpectEach(map[string][]int{filtered: {1, 2, 3}, lab.Orders: {1}})
		if err := l.Client.Subscribe(t.Context(), lab.Topic); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
			t.Errorf("subscribed to the same topic twice: %v", err)
		}
		l.UnknownClient(1)
		publish(4, "A", "A")
		l.PublishNumbers(lab.Orders, 2)
		publish(0, "Y", "Y")
		publish(5, "A", "A")
		l.ExpectEach(map[string][]int{filtered: {4, 5}, lab.Orders: {2}})
		l.ExpectCounts(2, 1)
		publish(6, "A", "A")
		l.ExpectEach(map[string][]int{filtered: {6}})
		leave(l)
		if got := l.Marker(lab.Topic); len(got.ReplayID) == 0 || string(got.ReplayID) == string(last.ReplayID) {
			t.Errorf("the marker of %s is at %q", lab.Topic, got.ReplayID)
		}

		// A restart finds the marker, with another filter too.
		publish(7, "Z", "B")
		l.Start()
		l.Subscribe(lab.Topic + "?Name='Z'")
		l.ExpectEach(map[string][]int{lab.Topic + "?Name='Z'": {7}})
		leave(l)
	}
}

func noSuchChannel(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Must(l.DefineEvent("/event/Denied__e", lab.Schema("Denied__e")))
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders)
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
		{lab.Topic + "?Nope__c='1'", sfstream.Invalid},
	} {
		err := l.Client.Subscribe(t.Context(), refused.channel)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != refused.code || e.Channel != refused.channel {
			t.Errorf("%s: %v is %v of %s", refused.channel, e, e.Code, e.Channel)
		}
		l.PublishNumbers(lab.Orders, 1)
		l.Expect(1)
	}
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.Orders}) {
		t.Errorf("subscriptions %v", got)
	}
	l.ExpectCounts(1, 1)
	finish(l, lab.Orders)
}

// bulkPartial: after a reconnect one request asks for three channels, and the second one is
// refused.
func bulkPartial(t *testing.T) {
	l := lab.NewStreaming(t)
	var refused []string
	l.Start(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
		refused = append(refused, channel+" "+err.Error())
		return true
	}}))
	channels := []string{lab.Topic, lab.Orders, lab.Generic}
	for _, channel := range channels {
		l.Subscribe(channel)
	}
	l.Reject(lab.Orders, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
	l.DropConnections()
	for _, channel := range channels {
		l.PublishNumbers(channel, 1)
	}
	l.ExpectEach(map[string][]int{lab.Topic: {1}, lab.Generic: {1}})
	var together []sfstreamtest.CometDRequest
	for _, r := range l.CometDRequests() {
		if r.Kind == "subscribe" {
			together = append(together, r)
		}
	}
	if together = together[3:]; len(together) != 3 || together[0].Bytes != together[2].Bytes || together[0].Bytes < 400 {
		t.Errorf("they were not asked for in one request: %+v", together)
	}
	if len(refused) != 1 || !strings.HasPrefix(refused[0], lab.Orders) {
		t.Errorf("refused: %v", refused)
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.Topic, lab.Generic}) {
		t.Errorf("subscriptions %v", got)
	}
	l.ExpectCounts(2, 1)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

// oversizeRequest: what is asked for after a reconnect does not fit into a request, because the
// server takes less, or because it takes no more than all servers do.
func oversizeRequest(t *testing.T) {
	small := sfstreamtest.WithCometDRequestBytes(2000)
	for _, opts := range [][]sfstreamtest.Option{{small}, {small, sfstreamtest.WithCometDHTTPStatus()}, nil} {
		l := lab.NewStreaming(t, opts...)
		l.Start()
		want := make(map[string][]int)
		n := 40
		if opts == nil {
			n = 200
		}
		for i := range n {
			channel := fmt.Sprintf("/u/%s%d", strings.Repeat("x", 70), i)
			l.Must(l.DefineGenericChannel(channel))
			l.Must(l.Client.Subscribe(t.Context(), channel))
			want[channel] = []int{i}
		}
		before := len(l.CometDRequests())
		l.Pass(10 * time.Second) // so that a connect is under way, which is torn
		l.DropConnections()
		for channel, numbers := range want {
			l.PublishNumbers(channel, numbers...)
		}
		l.ExpectEach(want)
		for _, r := range l.CometDRequests()[before:] {
			if r.Bytes > 32768 {
				t.Errorf("a request of %d bytes", r.Bytes)
			}
		}
		l.ExpectCounts(2, 1)
		l.Subscribe(lab.Orders)
		awaitForgotten(l)
		finish(l, lab.Orders)
	}
}

func apiVersionRetired(t *testing.T) {
	l := lab.NewStreaming(t, sfstreamtest.WithAPIVersions("40.0"))
	if _, err := sfstream.New(l.Authenticator(), sfstream.WithAPIVersion("36.0")); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("version 36.0: %v", err)
	}
	l.Start(sfstream.WithAPIVersion("66.0"))
	refused := func(parts ...string) {
		t.Helper()
		began := time.Now()
		err := l.Client.Subscribe(t.Context(), lab.Topic)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Invalid {
			t.Errorf("%v is %v", e, e.Code)
		}
		lab.Contains(t, err.Error(), parts...)
		if took := time.Since(began); took > 0 {
			t.Errorf("Subscribe took %v", took)
		}
	}
	refused("Unsupported API version", "'/cometd/40.0'")
	l.ExpectCounts(1, 1)
	leave(l)

	l.Start()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Error: "400::API version in the URI is mandatory. URI format: '/cometd/40.0'"})
	refused("API version in the URI is mandatory. URI format: '/cometd/40.0'")
	l.ExpectCounts(2, 2)
	l.Subscribe(lab.Topic)
	finish(l, lab.Topic)
}
