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
func overtakingOrg(lost bool, after *string) *ScriptedOrg {
	s := &ScriptedOrg{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []ScriptedMessage) (*http.Response, error) {
		switch {
		case kind == "connect" && n == 2:
			body := "[" + ScriptedEvent("/topic/Lab", 1)
			<-time.After(12 * time.Second) // written at once, and under way so long
			if lost {
				return ScriptedBody(200, body[:len(body)/2]), nil
			}
			return ScriptedOK(kind, msgs, ScriptedEvent("/topic/Lab", 1)), nil
		case kind == "connect" && n > 3:
			return ScriptedHold(r)
		case kind == "subscribe" && n == 2:
			return ScriptedOK(kind, msgs, ScriptedEvent("/topic/Lab", 2)), nil
		case kind == "subscribe" && n == 3:
			for _, m := range msgs {
				if m.Subscription == "/topic/Lab" {
					*after = string(m.Ext.Replay)
				}
			}
			if !strings.Contains(*after, ":2}") { // what is retained behind the asked id
				return ScriptedOK(kind, msgs, ScriptedEvent("/topic/Lab", 1)+","+ScriptedEvent("/topic/Lab", 2)), nil
			}
		}
		return nil, nil
	}
	return s
}

func TakeIDs(t *testing.T, c *sfstream.Client, d time.Duration) (ids []string) {
	t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		for c.Pending() > 0 {
			m, err := c.Receive(t.Context())
			Must(t, err)
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
	InStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(true, &after)
		c := s.Client(t)
		Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		Must(t, c.Subscribe(t.Context(), "/topic/Other"))
		got := TakeIDs(t, c, 10*time.Minute)
		if strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2; the new session subscribed after %s", got, after)
		}
	})
}

// The reply that it was in comes late.
func TestAnEventThatACallOvertookComesFirst(t *testing.T) {
	InStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(false, &after)
		c := s.Client(t)
		Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		Must(t, c.Subscribe(t.Context(), "/topic/Other"))
		if got := TakeIDs(t, c, time.Minute); strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2", got)
		}
	})
}
