package pubsub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// The last event that was handled has a CreatedDate that its publisher wrote wrongly: some hours
// ahead. The program then changes to the other API. What was published meanwhile, with true dates,
// is not older than the marker.
func TestAWrongDateInTheMarkerLosesNothing(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			const channel = "/event/Dated__e"
			lab.Must(t, s.DefineEvent(channel, datedSchema))
			c := s.StartFromOldest()
			lab.Must(t, c.Subscribe(t.Context(), channel))
			_, err := s.Publish(channel, map[string]any{"N__c": 1.0, "CreatedDate": time.Now().Add(5 * time.Hour)})
			lab.Must(t, err)
			m, err := c.Receive(t.Context())
			lab.Must(t, err)
			m.Ack()
			lab.Must(t, c.Close())
			<-time.After(time.Minute)
			for n := range 3 {
				_, err := s.Publish(channel, map[string]any{"N__c": float64(n + 2)})
				lab.Must(t, err)
			}
			<-time.After(time.Minute)
			c = s.StartFromOldest(sfstream.WithTransport(sfstream.CometD))
			lab.Must(t, c.Subscribe(t.Context(), channel))
			var got []any
			for range 4 {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				m, err := c.Receive(ctx)
				cancel()
				if err != nil {
					break
				}
				f, err := m.Fields()
				lab.Must(t, err)
				got = append(got, f["N__c"])
				m.Ack()
			}
			if len(got) < 3 {
				t.Errorf("got %v, want 2, 3 and 4 at least", got)
			}
		})
	})
}

// A publisher has taken microseconds for milliseconds: the event's date has a year that no text has,
// and a store that keeps texts could save no marker with it.
func TestADateThatNoTextHasIsNotInTheMarker(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			const channel = "/event/Dated__e"
			lab.Must(t, s.DefineEvent(channel, datedSchema))
			store := replaystore.NewMemory()
			c := s.StartFromOldest(sfstream.WithReplayStore(store))
			lab.Must(t, c.Subscribe(t.Context(), channel))
			_, err := s.Publish(channel, map[string]any{"N__c": 1.0, "CreatedDate": time.UnixMilli(time.Now().UnixMicro())})
			lab.Must(t, err)
			m, err := c.Receive(t.Context())
			lab.Must(t, err)
			if m.Date().Year() <= 9999 {
				t.Errorf("the event's date is %v", m.Date())
			}
			m.Ack()
			lab.Must(t, c.Close())
			marker, err := store.Load(t.Context(), replaystore.Key{OrgID: s.Account().OrgID, API: "pubsub", Channel: channel})
			lab.Must(t, err)
			if _, err := json.Marshal(marker); err != nil || !bytes.Equal(marker.ReplayID, m.ReplayID) {
				t.Errorf("the marker %+v: %v", marker, err)
			}
		})
	})
}

// Close ends an Open that waits for its login (rule 11: nothing is left running).
func TestCloseEndsOpen(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			s.FailLogin(-1, "timeout")
			c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
			lab.Must(t, err)
			done := make(chan error)
			go func() { done <- c.Open(context.Background()) }()
			<-time.After(time.Second)
			lab.Must(t, c.Close())
			start := time.Now()
			err = <-done
			if took := time.Since(start); took > time.Second || !errors.Is(err, sfstream.ErrClosed) {
				t.Errorf("Open went on for %v after Close: %v", took, err)
			}
		})
	})
}
