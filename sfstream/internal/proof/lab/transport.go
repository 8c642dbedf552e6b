package lab

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// TransportOf is the API that a test of the contract is about, by its name. Other tests are about
// the Pub/Sub API.
func TransportOf(t *testing.T) sfstream.Transport {
	if strings.Contains(t.Name(), "/cometd/") {
		return sfstream.CometD
	}
	return sfstream.PubSub
}

// APIOf is the name that the transport of a test has in markers and errors.
func APIOf(t *testing.T) string { return strings.ToLower(TransportOf(t).String()) }

// SeenBy is an event as subscribers of the test's transport see it: the replay id of the Streaming
// API is a number.
func SeenBy(t *testing.T, e sfstreamtest.Event) sfstreamtest.Event {
	if TransportOf(t) == sfstream.CometD && len(e.ReplayID) > 0 {
		e.ReplayID = strconv.AppendUint(nil, e.Number, 10)
	}
	return e
}

// InStreamingBubble runs a test in a bubble, over the Streaming API.
func InStreamingBubble(t *testing.T, run func(t *testing.T)) {
	t.Run("cometd", func(t *testing.T) { synctest.Test(t, run) })
}
