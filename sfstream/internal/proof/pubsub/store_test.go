package pubsub

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// A disk hangs (NFS, a full or broken volume: an fsync that does not return, which Bolt cannot
// interrupt). Rule 3: a failing store is logged, and ends the client after 5 minutes.
func TestAStoreThatHangsIsTold(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.FollowFromOldest()
			release := make(chan struct{})
			defer close(release)
			s.Store.BeforeSave(func(context.Context) error { <-release; return nil })
			s.PublishNext(lab.Orders, 3)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			for {
				if _, err := c.Receive(ctx); err != nil {
					break
				}
			}
			if c.Err() == nil && len(s.Log.Warnings("")) == 0 {
				t.Errorf("no Save has returned for 20 minutes: no error, no warning")
			}
			t.Log(c.Err(), s.Log.Warnings(""))
		})
	})
}
