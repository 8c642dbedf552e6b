package sfstream_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// Such an id is a number, but not JSON.
func TestAnIDWithLeadingZerosDisturbsNoOtherChannel(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		s := &scriptedOrg{}
		s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
			if kind == "connect" && n > 1 {
				return scriptedHold(r)
			}
			return nil, nil
		}
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Good"))
		<-time.After(time.Second)
		before := s.count("handshake")
		err := c.Subscribe(t.Context(), "/topic/Bad", sfstream.From(sfstream.ReplayAfter([]byte("0042"))))
		t.Logf("Subscribe: %v", err)
		if n := s.count("handshake") - before; n > 1 || s.count("subscribe") < 2 {
			t.Errorf("%d new sessions, %d subscribe requests: %v", n, s.count("subscribe"), c.Status())
		}
	})
}

// A server writes ids as text.
func TestAServerMayWriteIDsWithLeadingZeros(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		s := &scriptedOrg{}
		s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
			switch {
			case kind == "connect" && n == 2:
				return scriptedOK(kind, msgs, `{"channel":"/topic/Lab","data":{"event":{"replayId":"0042"},"sobject":{"Id":"a"}}}`), nil
			case kind == "connect" && n == 3:
				return scriptedFailure(msgs[0], "403::Unknown client"), nil
			case kind == "connect" && n > 4:
				return scriptedHold(r)
			}
			return nil, nil
		}
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Hour)
		if n := s.count("subscribe"); n < 2 {
			t.Errorf("%d subscribe requests, %d handshakes in an hour: %+v", n, s.count("handshake"), c.Status().Channels[0].LastError)
		}
	})
}
