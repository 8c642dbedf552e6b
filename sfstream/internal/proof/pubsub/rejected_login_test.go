package pubsub

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// A hook drops channels that cannot be followed. The password has changed; streams end in the
// course of an hour, as Salesforce closes them. Each sends the password that was rejected once
// more: Salesforce locks a user after 3 to 10.
func TestDroppedChannelsRepeatNoRejectedLogin(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			dropped := 0
			c := s.StartFromOldest(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
				dropped++
				return true
			}}))
			const n = 20
			for i := range n {
				channel := fmt.Sprintf("/event/C%d__e", i)
				s.Define(channel)
				lab.Must(t, c.Subscribe(t.Context(), channel))
			}
			s.ExpireToken()
			s.FailLogin(-1, "invalid_grant/authentication failure")
			before := s.Logins()
			for i := range n {
				s.EndStreams(fmt.Sprintf("/event/C%d__e", i), "service.auth.error")
				<-time.After(3 * time.Minute)
			}
			if got := s.Logins() - before; got > 3 {
				t.Errorf("%d rejected logins in an hour (%d channels dropped, Err %v)", got, dropped, c.Err())
			}
		})
	})
}

// All streams end at the same moment.
func TestChannelsDroppedAtOnceRepeatNoRejectedLogin(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.StartFromOldest(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool { return true }}))
			const n = 20
			for i := range n {
				channel := fmt.Sprintf("/event/C%d__e", i)
				s.Define(channel)
				lab.Must(t, c.Subscribe(t.Context(), channel))
			}
			s.ExpireToken()
			s.FailLogin(-1, "invalid_grant/authentication failure")
			before := s.Logins()
			s.DropConnections()
			<-time.After(time.Hour)
			if got := s.Logins() - before; got > 3 {
				t.Errorf("%d rejected logins (Err %v)", got, c.Err())
			}
		})
	})
}
