package sfstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// The failure of a session comes some microseconds before the state in which the channel waits for
// the next one. Virtual time stands still between them, so only this test tells the two apart.
func TestAReconnectTellsTheErrorOfItsOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s channelStatus
		step := func(state State) *Reconnect {
			time.Sleep(time.Microsecond)
			_, again := s.set(state)
			return again
		}
		fail := func() {
			time.Sleep(time.Microsecond)
			s.failed(errTrouble)
		}
		fail() // while subscribing: of no outage
		if again := step(StateLive); again != nil {
			t.Errorf("the first session: %+v", again)
		}
		step(StateOpening)
		if again := step(StateLive); again == nil || again.Err != nil || again.Down != time.Microsecond {
			t.Errorf("after a polite end: %+v", again)
		}
		fail()
		step(StateWaiting)
		time.Sleep(time.Second)
		step(StateOpening)
		if again := step(StateLive); again == nil || again.Err != errTrouble || again.Down != time.Second+2*time.Microsecond {
			t.Errorf("after a failure: %+v", again)
		}
		step(StateParked)
		if again := step(StateLive); again == nil || again.Err != nil {
			t.Errorf("after a pause for room: %+v", again)
		}
	})
}
