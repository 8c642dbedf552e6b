package pubsub

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// The login goes to a node whose clock is five hours fast (or through a proxy that writes its own
// Date). The program wants new events. Later Dates are right.
func TestAFastFirstDateSkipsNothing(t *testing.T) {
	for _, how := range []string{"reconnect", "restart"} {
		t.Run(how+"/pubsub/", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := lab.New(t)
				const channel = "/event/Dated__e"
				lab.Must(t, s.DefineEvent(channel, datedSchema))
				clock := &skewed{base: s.HTTPClient().Transport}
				clock.ahead.Store(int64(5 * time.Hour))
				opts := []sfstream.Option{sfstream.WithHTTPClient(&http.Client{Transport: clock}), sfstream.WithReplay(sfstream.ReplayNew)}
				c := s.StartFromOldest(opts...)
				lab.Must(t, c.Subscribe(t.Context(), channel))
				clock.ahead.Store(0)
				<-time.After(10 * time.Second)
				publish := func(n float64) {
					_, err := s.Publish(channel, map[string]any{"N__c": n})
					lab.Must(t, err)
				}
				if how == "restart" {
					lab.Must(t, c.Close())
					publish(1)
					c = s.StartFromOldest(opts...)
					lab.Must(t, c.Subscribe(t.Context(), channel))
				} else {
					s.ExpireToken()
					s.Refuse(true)
					s.DropConnections()
					publish(1)
					<-time.After(time.Second)
					s.Refuse(false)
				}
				<-time.After(10 * time.Minute)
				publish(2)
				<-time.After(10 * time.Minute)
				publish(3)
				var got []any
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					m, err := c.Receive(ctx)
					cancel()
					if err != nil {
						break
					}
					f, err := m.Fields()
					lab.Must(t, err)
					got = append(got, f["N__c"])
				}
				if len(got) != 3 {
					t.Errorf("got %v, want 1, 2 and 3", got)
				}
			})
		})
	}
}

// For a minute after a release every token is refused. Each login succeeds.
func TestAMinuteOfRefusedTokensIsNoEnd(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.FollowFromOldest()
			s.Reject("", -1, "service.auth.error")
			s.EndStreams("", "service.auth.error")
			start := time.Now()
			for c.Err() == nil && time.Since(start) < 5*time.Minute {
				<-time.After(time.Second)
			}
			t.Logf("after %v: %v; %d logins", time.Since(start), c.Err(), s.Logins())
		})
	})
}
