package streaming

import (
	"net/http"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// While a call is under way all events are held: the session asks for no more than there is room
// for.
func TestWhatIsHeldDuringACallIsBounded(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		s := &scripted.Org{}
		next := 0
		s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			switch {
			case kind == "subscribe" && n == 2:
				<-time.After(19 * time.Second)
			case kind == "connect" && n > 1 && s.Count("subscribe") > 1:
				next++
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", next)), nil
			case kind == "connect" && n > 1:
				<-time.After(time.Second)
			}
			return nil, nil
		}
		c := s.Client(t, sfstream.WithPrefetch(10))
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(3 * time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Other"))
		<-time.After(time.Second)
		if n := c.Pending(); n > 100 {
			t.Errorf("%d messages are pending with WithPrefetch(10), each of a reply of its own", n)
		}
	})
}
