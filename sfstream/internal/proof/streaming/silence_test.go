package streaming

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A server shakes hands and then never answers.
func TestASessionThatAnswersNothingIsAnOutage(t *testing.T) {
	for _, hung := range []string{"subscribe", "connect"} {
		t.Run(hung, func(t *testing.T) {
			lab.InStreamingBubble(t, func(t *testing.T) {
				var broken atomic.Bool
				s := &scripted.Org{}
				s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
					if broken.Load() && kind == hung {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					if kind == "connect" && n > 1 {
						if broken.Load() {
							return scripted.Failure(msgs[0], "403::Unknown client"), nil
						}
						return scripted.Hold(r)
					}
					return nil, nil
				}
				c := s.Client(t, sfstream.WithReconnectTimeout(5*time.Minute))
				lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
				<-time.After(time.Minute)
				broken.Store(true)
				before := s.Count("handshake")
				<-time.After(24 * time.Hour)
				var timeout *sfstream.TimeoutError
				if !errors.As(c.Err(), &timeout) {
					t.Errorf("after a day without a word on %s, Err is %v; %d handshakes", hung, c.Err(), s.Count("handshake")-before)
				}
			})
		})
	}
}
