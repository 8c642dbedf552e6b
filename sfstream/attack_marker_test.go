package sfstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Unsubscribe waits for the goodbye of its session. Another goroutine subscribes to
// the channel meanwhile, handles events and has them saved. Then Unsubscribe's last
// save comes.
func TestUnsubscribeTakesNoMarkerBack(t *testing.T) {
	t.Run("cometd/cometd/", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			c := s.following()
			s.publish(orders, 1)
			nextIs(t, c, "1")
			<-time.After(10 * time.Minute) // quiet: Live moves, and is not saved yet
			s.savedIs("1")
			s.FailCometD(sfstreamtest.CometDFault{Kind: "disconnect", NoAnswer: true})
			done := make(chan error)
			go func() { done <- c.Unsubscribe(t.Context(), orders) }()
			<-time.After(10 * time.Millisecond)
			must(t, c.Subscribe(t.Context(), orders))
			s.publish(orders, 3)
			for _, want := range numbered(2, 4) {
				nextIs(t, c, want)
			}
			<-time.After(200 * time.Millisecond)
			s.savedIs("4")
			must(t, <-done)
			<-time.After(time.Minute)
			s.savedIs("4")
			got := s.crash(c)
			s.publish(orders, 1)
			nextIs(t, got, "5")
		})
	})
}
