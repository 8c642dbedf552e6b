package groups

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// TestALongSilenceIsNoProofAfterARestart: a session has had an event of now, and then nothing for
// longer than the retention, in which the server may have been seeking. When the id is refused,
// events may be missing, and that is told, be it in the same process or after its end.
func TestALongSilenceIsNoProofAfterARestart(t *testing.T) {
	for _, end := range []string{"none", "polite", "crash"} {
		synctest.Test(t, func(t *testing.T) {
			gaps := make(chan sfstream.Gap, 10)
			var refuse, lose atomic.Bool
			s := &scripted.Org{}
			s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
				switch {
				case kind == "subscribe" && refuse.Load() && !strings.Contains(string(msgs[0].Ext.Replay), "-2"):
					return scripted.Failure(msgs[0], "400::The replayId {100} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."), nil
				case kind == "connect" && lose.CompareAndSwap(true, false):
					return nil, errConnLost
				case kind == "connect" && n == 2:
					return scripted.OK(kind, msgs, strings.Replace(scripted.ChangeJSON(100, time.Now()), lab.AllChanges, "/data/AccountChangeEvent", 1)), nil
				case kind == "connect" && n > 2:
					return scripted.Hold(r)
				}
				return nil, nil
			}
			store := lab.NewStore(t)
			opts := []sfstream.Option{sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { gaps <- g }})}
			c := s.Client(t, append(opts, sfstream.WithReplayStore(store))...)
			lab.Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
			m, err := c.Receive(t.Context())
			lab.Must(t, err)
			m.Ack()
			time.Sleep(80 * time.Hour)
			refuse.Store(true)
			switch end {
			case "none":
				lose.Store(true)
				time.Sleep(time.Hour)
			case "crash":
				store = store.Snapshot()
				fallthrough
			case "polite":
				lab.Must(t, c.Close())
				c = s.Client(t, append(opts, sfstream.WithReplayStore(store))...)
				lab.Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
				time.Sleep(time.Minute)
			}
			lab.Must(t, c.Err())
			lab.Must(t, c.Close())
			if len(gaps) != 1 {
				t.Errorf("%s: %d gaps told, want one", end, len(gaps))
			}
		})
	}
}
