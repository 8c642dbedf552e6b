package sfstream_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// overtaking is a server that writes event 1 into the held connect, whose reply is
// slow, and event 2 into the reply to the next subscribe. lost: the slow reply is
// cut in the end, else it comes.
func overtakingOrg(lost bool, after *string) *scriptedOrg {
	s := &scriptedOrg{}
	s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
		switch {
		case kind == "connect" && n == 2:
			body := "[" + scriptedEvent("/topic/Lab", 1)
			<-time.After(12 * time.Second) // written at once, and under way so long
			if lost {
				return scriptedBody(200, body[:len(body)/2]), nil
			}
			return scriptedOK(kind, msgs, scriptedEvent("/topic/Lab", 1)), nil
		case kind == "connect" && n > 3:
			return scriptedHold(r)
		case kind == "subscribe" && n == 2:
			return scriptedOK(kind, msgs, scriptedEvent("/topic/Lab", 2)), nil
		case kind == "subscribe" && n == 3:
			for _, m := range msgs {
				if m.Subscription == "/topic/Lab" {
					*after = string(m.Ext.Replay)
				}
			}
			if !strings.Contains(*after, ":2}") { // what is retained behind the asked id
				return scriptedOK(kind, msgs, scriptedEvent("/topic/Lab", 1)+","+scriptedEvent("/topic/Lab", 2)), nil
			}
		}
		return nil, nil
	}
	return s
}

func scriptedTake(t *testing.T, c *sfstream.Client, d time.Duration) (ids []string) {
	t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		for c.Pending() > 0 {
			m, err := c.Receive(t.Context())
			must(t, err)
			ids = append(ids, string(m.ReplayID))
			m.Ack()
		}
		<-time.After(time.Second)
		synctest.Wait()
	}
	return ids
}

// The reply that it was in is lost.
func TestAnEventThatACallOvertookIsNotLost(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(true, &after)
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		must(t, c.Subscribe(t.Context(), "/topic/Other"))
		got := scriptedTake(t, c, 10*time.Minute)
		if strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2; the new session subscribed after %s", got, after)
		}
	})
}

// The reply that it was in comes late.
func TestAnEventThatACallOvertookComesFirst(t *testing.T) {
	inStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(false, &after)
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		must(t, c.Subscribe(t.Context(), "/topic/Other"))
		if got := scriptedTake(t, c, time.Minute); strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2", got)
		}
	})
}
