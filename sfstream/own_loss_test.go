package sfstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

func ownChange(id int, at time.Time) string {
	return ownEvent{n: id, id: uint64(id), at: at, tx: fmt.Sprint("tx", id), seq: 1}.json()
}

// TestIDsThatBeginAnewBehindOneReply: the position was reached within a reply that
// went on. After that, the ids begin anew, and the server accepts the old one.
func TestIDsThatBeginAnewBehindOneReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := make(chan sfstream.Gap, 10)
		s := &scriptedOrg{answer: func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
			if kind != "connect" {
				return nil, nil
			}
			switch n {
			case 2:
				now := time.Now()
				return scriptedOK(kind, msgs, ownChange(100, now)+","+ownChange(101, now)+","+ownChange(102, now)), nil
			case 3:
				return scriptedFailure(msgs[0], "403::Unknown client"), nil
			case 4:
				return nil, nil // the first one of a session is not held
			case 5:
				return scriptedOK(kind, msgs, ownChange(7, time.Now().Add(time.Second))), nil
			}
			return scriptedHold(r)
		}}
		c := s.client(t, sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { gaps <- g }}))
		must(t, c.Subscribe(t.Context(), ownChannel))
		for range 3 {
			_, err := c.Receive(t.Context())
			must(t, err)
		}
		time.Sleep(time.Minute)
		must(t, c.Close())
		if len(gaps) == 0 {
			t.Error("replay ids began anew, and nobody was told")
		}
	})
}

// TestLiveIsNotAheadOfWhatWaits: an event of now is proof for what comes behind it,
// and not for what came with it and still waits.
func TestLiveIsNotAheadOfWhatWaits(t *testing.T) {
	for _, channel := range []string{ownChannel, "/data/AccountChangeEvent"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			down := start.Add(5 * time.Second)
			up := start.Add(40 * time.Minute)
			log := []string{
				strings.ReplaceAll(ownChange(5, start.Add(-30*time.Minute)), ownChannel, channel),
				strings.ReplaceAll(ownChange(6, start.Add(10*time.Minute)), ownChannel, channel),
				strings.ReplaceAll(ownChange(7, up.Add(-time.Second)), ownChannel, channel),
			}
			var sent atomic.Bool
			s := &scriptedOrg{}
			s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
				switch {
				case time.Now().After(down) && time.Now().Before(up):
					return nil, errOwnLost
				case kind == "subscribe":
					var ids map[string]json.Number
					_ = json.Unmarshal(msgs[0].Ext.Replay, &ids)
					sent.Store(ids[channel] != "-2")
				case kind == "connect" && time.Now().Before(down):
					<-time.After(10 * time.Second)
					return nil, errOwnLost
				case kind == "connect" && !sent.Swap(true):
					return scriptedOK(kind, msgs, strings.Join(log, ",")), nil
				case kind == "connect":
					return scriptedHold(r)
				}
				return nil, nil
			}
			store := replaystore.NewMemory()
			c := s.client(t, sfstream.WithReplayStore(store))
			must(t, c.Subscribe(t.Context(), channel))
			time.Sleep(45 * time.Minute)
			must(t, c.Close()) // nothing was taken
			sent.Store(false)
			c = s.client(t, sfstream.WithReplayStore(store))
			must(t, c.Subscribe(t.Context(), channel))
			for _, want := range []int{6, 7} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				m, err := c.Receive(ctx)
				cancel()
				must(t, err)
				if n := ownNumber(m.Raw()); n != want {
					t.Errorf("%s: got %d, want %d", channel, n, want)
				}
			}
			must(t, c.Close())
		})
	}
}
