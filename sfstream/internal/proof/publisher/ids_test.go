package publisher

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// merging is a bus that publishes one event of those that have one id, and answers with one result.
type merging struct{ splitter }

func (merging) PublishStream(stream grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	for n := byte(1); ; n++ {
		req, err := stream.Recv()
		if err != nil {
			return nil
		}
		resp := new(eventbus.PublishResponse)
		seen := map[string]bool{}
		for _, e := range req.Events {
			if !seen[e.Id] {
				resp.Results = append(resp.Results, &eventbus.PublishResult{ReplayId: []byte{n, byte(len(seen))}, CorrelationKey: e.Id})
			}
			seen[e.Id] = true
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// The result of an event must not pass for that of another one with its id. When it is known what
// has become of the first one, its id may be used again.
func TestTwoEventsOfOneIDAreNotUnderWayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := reporting(t, merging{})
		p, err := c.Publisher("/event/A__e", sfstream.WithLinger(time.Second), sfstream.WithInFlight(2, 1<<20))
		lab.Must(t, err)
		event := sfstream.Event{ID: "0f1c1cd0-8a1c-4d9c-9c5a-000000000001", Value: map[string]any{}}
		first, err := p.Publish(t.Context(), event)
		lab.Must(t, err)
		for range 3 { // no room is lost
			if second, err := p.Publish(t.Context(), event); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Fatalf("a second event of one id under way: %v, error %v", second, err)
			}
		}
		began := time.Now()
		_, err = p.Publish(t.Context(), map[string]any{})
		lab.Must(t, err)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it waited %s for room", waited)
		}
		lab.Must(t, p.Flush(t.Context()))
		again, err := p.Publish(t.Context(), event)
		lab.Must(t, err)
		lab.Must(t, p.Close(t.Context()))
		lab.Must(t, errors.Join(first.Err(), again.Err()))
	})
}
