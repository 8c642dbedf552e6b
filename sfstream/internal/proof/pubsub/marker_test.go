package pubsub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Unsubscribe waits for the goodbye of its session. Another goroutine subscribes to the channel
// meanwhile, handles events and has them saved. Then Unsubscribe's last save comes.
func TestUnsubscribeTakesNoMarkerBack(t *testing.T) {
	t.Run("cometd/cometd/", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.FollowFromOldest()
			s.PublishNext(lab.Orders, 1)
			lab.ExpectID(t, c, "1")
			<-time.After(10 * time.Minute) // quiet: Live moves, and is not saved yet
			s.ExpectSaved("1")
			s.FailCometD(sfstreamtest.CometDFault{Kind: "disconnect", NoAnswer: true})
			done := make(chan error)
			go func() { done <- c.Unsubscribe(t.Context(), lab.Orders) }()
			<-time.After(10 * time.Millisecond)
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			s.PublishNext(lab.Orders, 3)
			for _, want := range lab.IDs(2, 4) {
				lab.ExpectID(t, c, want)
			}
			<-time.After(200 * time.Millisecond)
			s.ExpectSaved("4")
			lab.Must(t, <-done)
			<-time.After(time.Minute)
			s.ExpectSaved("4")
			got := s.Crash(c)
			s.PublishNext(lab.Orders, 1)
			lab.ExpectID(t, got, "5")
		})
	})
}
