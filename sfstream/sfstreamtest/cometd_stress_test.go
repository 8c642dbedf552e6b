package sfstreamtest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestConcurrentSubscribeUnsubscribe lets clients and faults loose on each other: there must be no
// race and no deadlock, and no session may be left over.
func TestConcurrentSubscribeUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		channels := []string{orders, accounts, "/u/ops", accounts + "?Name='x'"}
		clients := make([]*bayeux, 8)
		for i := range clients {
			clients[i] = r.cometd()
		}
		var wg sync.WaitGroup
		for seed, b := range clients {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(seed), 1))
				for range 60 {
					b.wander(rnd, channels)
				}
				b.tell(`{"channel":"/meta/disconnect","clientId":"` + b.clientID + `"}`)
			})
		}
		done := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case <-time.After(7 * time.Second):
				}
				r.publish(3)
				publishTopic(t, r, map[string]any{"Id": "1", "Name": "x"})
				_, err := r.Push("/u/ops", "x", r.Account().UserID)
				check(t, err)
				switch i % 6 {
				case 0:
					r.RotateLBCookie()
				case 1:
					r.EndStreams(orders, "")
				case 2:
					r.Revoke("/u/ops")
				case 3:
					r.Grant("/u/ops")
					r.LoseResponse(1)
				case 4:
					r.DropConnections()
				case 5:
					check(t, r.TruncateReplay(accounts))
				}
			}
		})
		time.Sleep(time.Hour)
		close(done)
		wg.Wait()
		time.Sleep(5 * time.Minute)
		if r.Sessions() != 0 || r.Streams("") != 0 || r.OpenConnects() != 0 {
			t.Errorf("left: %d sessions, %d streams, %d connects", r.Sessions(), r.Streams(""), r.OpenConnects())
		}
	})
}

// tell posts a message and keeps the clientId of a handshake. It reports whether the session is
// unknown, and ignores all else.
func (b *bayeux) tell(body string) (unknown bool) {
	resp, text, err := b.send(body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	var got []message
	if json.Unmarshal(text, &got) != nil {
		return false
	}
	for _, m := range got {
		if m.Channel == "/meta/handshake" {
			b.clientID = m.ClientID
		}
		unknown = unknown || m.Error == "403::Unknown client" || m.Error == "403::Client has not completed handshake"
	}
	return unknown
}

// wander does something at random.
func (b *bayeux) wander(rnd *rand.Rand, channels []string) {
	channel := channels[rnd.IntN(len(channels))]
	unknown := false
	switch rnd.IntN(6) {
	case 0, 1, 2:
		unknown = b.tell(`{"channel":"/meta/connect","clientId":"` + b.clientID + `"}`)
	case 3:
		unknown = b.tell(fmt.Sprintf(`{"channel":"/meta/subscribe","subscription":%q,"clientId":%q}`, channel, b.clientID))
	case 4:
		unknown = b.tell(fmt.Sprintf(`{"channel":"/meta/unsubscribe","subscription":%q,"clientId":%q}`, channel, b.clientID))
	case 5:
		// This is a second connect while one is held.
		first := make(chan struct{})
		go func() {
			defer close(first)
			b.tell(`{"channel":"/meta/connect","clientId":"` + b.clientID + `"}`)
		}()
		time.Sleep(time.Millisecond)
		unknown = b.tell(`{"channel":"/meta/connect","clientId":"` + b.clientID + `","advice":{"timeout":1000}}`)
		<-first
	}
	if unknown || b.clientID == "" {
		b.tell(`{"channel":"/meta/handshake"}`)
	}
}
