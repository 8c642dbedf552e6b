package pubsub

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// skewed is the org's HTTP with Date headers that have moved on while our monotonic clock stood
// still: a suspended laptop, a paused VM.
type skewed struct {
	base  http.RoundTripper
	ahead atomic.Int64
}

func (s *skewed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.base.RoundTrip(r)
	if err == nil {
		if at, e := http.ParseTime(resp.Header.Get("Date")); e == nil {
			resp.Header.Set("Date", at.Add(time.Duration(s.ahead.Load())).UTC().Format(http.TimeFormat))
		}
	}
	return resp, err
}

// A machine is suspended for five days. All that the channel retained has aged out, events among it
// that nobody got. Awake, the client logs in anew (its session has timed out), hears the time from
// Salesforce, and is told that its id is stale: that is a Gap, and FallbackFail ends it.
func TestADaysLongSleepOfTheComputerIsAGap(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			clock := &skewed{base: s.HTTPClient().Transport}
			var gaps int
			c := s.FollowFromOldest(
				sfstream.WithHTTPClient(&http.Client{Transport: clock}),
				sfstream.WithReplayFallback(sfstream.FallbackAll),
				sfstream.WithHooks(sfstream.Hooks{OnGap: func(sfstream.Gap) { gaps++ }}),
			)
			s.PublishNext(lab.Orders, 1)
			lab.ExpectID(t, c, "1")
			<-time.After(2 * time.Minute) // a keepalive
			// Asleep for 5 days.
			clock.ahead.Store(int64(120 * time.Hour))
			s.Refuse(true)
			s.DropConnections()
			s.PublishNext(lab.Orders, 3) // 2 to 4: lost for good
			s.TruncateReplay(lab.Orders)
			s.ExpireToken()
			s.Refuse(false)
			<-time.After(5 * time.Minute)
			s.PublishNext(lab.Orders, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, err := c.Receive(ctx)
			t.Log(m, err, "logins", s.Logins())
			if gaps != 1 {
				t.Errorf("%d gaps reported, want 1: events 2 to 4 are lost", gaps)
			}
		})
	})
}
