package streaming

import (
	"net/http"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// Such an id is a number, but not JSON.
func TestAnIDWithLeadingZerosDisturbsNoOtherChannel(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind == "connect" && n > 1 {
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Good"))
		<-time.After(time.Second)
		before := s.Count("handshake")
		err := c.Subscribe(t.Context(), "/topic/Bad", sfstream.From(sfstream.ReplayAfter([]byte("0042"))))
		t.Logf("Subscribe: %v", err)
		if n := s.Count("handshake") - before; n > 1 || s.Count("subscribe") < 2 {
			t.Errorf("%d new sessions, %d subscribe requests: %v", n, s.Count("subscribe"), c.Status())
		}
	})
}

// A server writes ids as text.
func TestAServerMayWriteIDsWithLeadingZeros(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			switch {
			case kind == "connect" && n == 2:
				return scripted.OK(kind, msgs, `{"channel":"/topic/Lab","data":{"event":{"replayId":"0042"},"sobject":{"Id":"a"}}}`), nil
			case kind == "connect" && n == 3:
				return scripted.Failure(msgs[0], "403::Unknown client"), nil
			case kind == "connect" && n > 4:
				return scripted.Hold(r)
			}
			return nil, nil
		}
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Hour)
		if n := s.Count("subscribe"); n < 2 {
			t.Errorf("%d subscribe requests, %d handshakes in an hour: %+v", n, s.Count("handshake"), c.Status().Channels[0].LastError)
		}
	})
}
