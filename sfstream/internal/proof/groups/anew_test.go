package groups

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// TestIDsThatBeginAnewBehindOneReply: the position was reached within a reply that went on. After
// that, the ids begin anew, and the server accepts the old one.
func TestIDsThatBeginAnewBehindOneReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := make(chan sfstream.Gap, 10)
		s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
			if kind != "connect" {
				return nil, nil
			}
			switch n {
			case 2:
				now := time.Now()
				return scripted.OK(kind, msgs, scripted.ChangeJSON(100, now)+","+scripted.ChangeJSON(101, now)+","+scripted.ChangeJSON(102, now)), nil
			case 3:
				return scripted.Failure(msgs[0], "403::Unknown client"), nil
			case 4:
				return nil, nil // the first one of a session is not held
			case 5:
				return scripted.OK(kind, msgs, scripted.ChangeJSON(7, time.Now().Add(time.Second))), nil
			}
			return scripted.Hold(r)
		}}
		c := s.Client(t, sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { gaps <- g }}))
		lab.Must(t, c.Subscribe(t.Context(), lab.AllChanges))
		for range 3 {
			_, err := c.Receive(t.Context())
			lab.Must(t, err)
		}
		time.Sleep(time.Minute)
		lab.Must(t, c.Close())
		if len(gaps) == 0 {
			t.Error("replay ids began anew, and nobody was told")
		}
	})
}

// TestLiveIsNotAheadOfWhatWaits: an event of now is proof for what comes behind it, and not for
// what came with it and still waits.
func TestLiveIsNotAheadOfWhatWaits(t *testing.T) {
	for _, channel := range []string{lab.AllChanges, "/data/AccountChangeEvent"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			down := start.Add(5 * time.Second)
			up := start.Add(40 * time.Minute)
			log := []string{
				strings.ReplaceAll(scripted.ChangeJSON(5, start.Add(-30*time.Minute)), lab.AllChanges, channel),
				strings.ReplaceAll(scripted.ChangeJSON(6, start.Add(10*time.Minute)), lab.AllChanges, channel),
				strings.ReplaceAll(scripted.ChangeJSON(7, up.Add(-time.Second)), lab.AllChanges, channel),
			}
			var sent atomic.Bool
			s := &scripted.Org{}
			s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
				switch {
				case time.Now().After(down) && time.Now().Before(up):
					return nil, errConnLost
				case kind == "subscribe":
					var ids map[string]json.Number
					_ = json.Unmarshal(msgs[0].Ext.Replay, &ids)
					sent.Store(ids[channel] != "-2")
				case kind == "connect" && time.Now().Before(down):
					<-time.After(10 * time.Second)
					return nil, errConnLost
				case kind == "connect" && !sent.Swap(true):
					return scripted.OK(kind, msgs, strings.Join(log, ",")), nil
				case kind == "connect":
					return scripted.Hold(r)
				}
				return nil, nil
			}
			store := replaystore.NewMemory()
			c := s.Client(t, sfstream.WithReplayStore(store))
			lab.Must(t, c.Subscribe(t.Context(), channel))
			time.Sleep(45 * time.Minute)
			lab.Must(t, c.Close()) // nothing was taken
			sent.Store(false)
			c = s.Client(t, sfstream.WithReplayStore(store))
			lab.Must(t, c.Subscribe(t.Context(), channel))
			for _, want := range []int{6, 7} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				m, err := c.Receive(ctx)
				cancel()
				lab.Must(t, err)
				if n := scripted.ChangeNumber(m.Raw()); n != want {
					t.Errorf("%s: got %d, want %d", channel, n, want)
				}
			}
			lab.Must(t, c.Close())
		})
	}
}
