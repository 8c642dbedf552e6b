package streaming

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// TestLostConnectBehindEarlyEvents: of a channel that is set to "new" beside a held connect an
// event comes with the reply to the subscription. It is let go after a while. Then the connect is
// lost, and all comes again: nothing that is new may count as old, also after a restart.
func TestLostConnectBehindEarlyEvents(t *testing.T) {
	written := func(id int, at time.Time) string { // by a publisher whose clock is wrong
		return fmt.Sprintf(`{"channel":"/event/Order__e","data":{"schema":"S","payload":{"CreatedDate":%q,"N":"001N%09dEAAAA"},"event":{"replayId":%d,"EventUuid":"7c1b2c3d-0000-4000-8000-%012d"}}}`,
			at.Add(-5*time.Hour).UTC().Format("2006-01-02T15:04:05.000Z"), id, id, id)
	}
	for _, test := range []struct {
		name, channel string
		event         func(id int, at time.Time) string
		again         []int
		end           string
		want          []int
	}{
		{"a wrong CreatedDate", lab.Orders, written, []int{60, 61}, "", []int{61}},
		{"an overtaken event", lab.Accounts, scripted.ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group", lab.AllChanges, scripted.ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group, crash", lab.AllChanges, scripted.ChangeJSON, []int{50, 60, 61}, "crash", []int{50, 61}},
		{"an overtaken event, polite end", lab.Accounts, scripted.ChangeJSON, []int{50, 60}, "polite", []int{50}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				event := func(id int) string {
					return strings.Replace(test.event(id, began.Add(time.Duration(id)*100*time.Millisecond)), lab.AllChanges, test.channel, 1)
				}
				s := &scripted.Org{}
				s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
					switch {
					case kind == "subscribe" && n == 2 && len(msgs) == 1 && time.Since(began) < time.Minute:
						<-time.After(time.Second) // 60 is of the sixth second
						return scripted.OK(kind, msgs, event(60)), nil
					case kind == "connect" && n == 2 && time.Since(began) < time.Minute:
						select {
						case <-time.After(30 * time.Second):
						case <-r.Context().Done():
						}
						return nil, errors.New("read: connection reset by peer")
					case kind == "connect" && (n == 4 || n == 2):
						var again []string
						for _, id := range test.again {
							again = append(again, event(id))
						}
						return scripted.OK(kind, msgs, strings.Join(again, ",")), nil
					case kind == "connect" && n > 2:
						return scripted.Hold(r)
					}
					return nil, nil
				}
				store := lab.NewStore(t)
				c := s.Client(t, sfstream.WithReplayStore(store))
				lab.Must(t, c.Subscribe(t.Context(), "/event/Other__e"))
				time.Sleep(5 * time.Second)
				lab.Must(t, c.Subscribe(t.Context(), test.channel))
				scripted.ExpectChanges(t, c, 60)
				time.Sleep(10 * time.Second)
				if test.end == "crash" {
					after := store.Snapshot()
					lab.Must(t, c.Close())
					time.Sleep(2 * time.Minute)
					c = s.Client(t, sfstream.WithReplayStore(after))
					lab.Must(t, c.Subscribe(t.Context(), test.channel))
				}
				scripted.ExpectChanges(t, c, test.want...)
				if test.end == "polite" {
					lab.Must(t, c.Close())
					all, err := store.All(t.Context())
					lab.Must(t, err)
					for key, marker := range all {
						if key.Channel == test.channel && string(marker.ReplayID) != "60" {
							t.Errorf("all is handled, and the marker is at %s", marker.ReplayID)
						}
					}
				}
			})
		})
	}
}
