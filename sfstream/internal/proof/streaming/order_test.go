package streaming

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// overtaking is a server that writes event 1 into the held connect, whose reply is slow, and event
// 2 into the reply to the next subscribe. lost: the slow reply is cut in the end, else it comes.
func overtakingOrg(lost bool, after *string) *scripted.Org {
	s := &scripted.Org{}
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case kind == "connect" && n == 2:
			body := "[" + scripted.Event("/topic/Lab", 1)
			<-time.After(12 * time.Second) // written at once, and under way so long
			if lost {
				return scripted.Body(200, body[:len(body)/2]), nil
			}
			return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", 1)), nil
		case kind == "connect" && n > 3:
			return scripted.Hold(r)
		case kind == "subscribe" && n == 2:
			return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", 2)), nil
		case kind == "subscribe" && n == 3:
			for _, m := range msgs {
				if m.Subscription == "/topic/Lab" {
					*after = string(m.Ext.Replay)
				}
			}
			if !strings.Contains(*after, ":2}") { // what is retained behind the asked id
				return scripted.OK(kind, msgs, scripted.Event("/topic/Lab", 1)+","+scripted.Event("/topic/Lab", 2)), nil
			}
		}
		return nil, nil
	}
	return s
}

// The reply that it was in is lost.
func TestAnEventThatACallOvertookIsNotLost(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(true, &after)
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Other"))
		got := lab.TakeReplayIDs(t, c, 10*time.Minute)
		if strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2; the new session subscribed after %s", got, after)
		}
	})
}

// The reply that it was in comes late.
func TestAnEventThatACallOvertookComesFirst(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		var after string
		s := overtakingOrg(false, &after)
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		<-time.After(time.Second)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Other"))
		if got := lab.TakeReplayIDs(t, c, time.Minute); strings.Join(got, " ") != "1 2" {
			t.Errorf("got %v, want 1 2", got)
		}
	})
}
