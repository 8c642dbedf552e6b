package sfstream_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// TestALongSilenceIsNoProofAfterARestart: a session has had an event of now, and then
// nothing for longer than the retention, in which the server may have been seeking.
// When the id is refused, events may be missing, and that is told, be it in the same
// process or after its end.
func TestALongSilenceIsNoProofAfterARestart(t *testing.T) {
	for _, end := range []string{"none", "polite", "crash"} {
		synctest.Test(t, func(t *testing.T) {
			gaps := make(chan sfstream.Gap, 10)
			var refuse, lose atomic.Bool
			s := &ScriptedOrg{}
			s.Answer = func(r *http.Request, kind string, n int, msgs []ScriptedMessage) (*http.Response, error) {
				switch {
				case kind == "subscribe" && refuse.Load() && !strings.Contains(string(msgs[0].Ext.Replay), "-2"):
					return ScriptedFailure(msgs[0], "400::The replayId {100} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."), nil
				case kind == "connect" && lose.CompareAndSwap(true, false):
					return nil, errOwnLost
				case kind == "connect" && n == 2:
					return ScriptedOK(kind, msgs, strings.Replace(ChangeJSON(100, time.Now()), AllChanges, "/data/AccountChangeEvent", 1)), nil
				case kind == "connect" && n > 2:
					return ScriptedHold(r)
				}
				return nil, nil
			}
			store := &ownStore{Memory: replaystore.NewMemory()}
			opts := []sfstream.Option{sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { gaps <- g }})}
			c := s.Client(t, append(opts, sfstream.WithReplayStore(store))...)
			Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
			m, err := c.Receive(t.Context())
			Must(t, err)
			m.Ack()
			time.Sleep(80 * time.Hour)
			refuse.Store(true)
			switch end {
			case "none":
				lose.Store(true)
				time.Sleep(time.Hour)
			case "crash":
				store = store.crash()
				fallthrough
			case "polite":
				Must(t, c.Close())
				c = s.Client(t, append(opts, sfstream.WithReplayStore(store))...)
				Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
				time.Sleep(time.Minute)
			}
			Must(t, c.Err())
			Must(t, c.Close())
			if len(gaps) != 1 {
				t.Errorf("%s: %d gaps told, want one", end, len(gaps))
			}
		})
	}
}
