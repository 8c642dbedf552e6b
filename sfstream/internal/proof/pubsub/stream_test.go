package pubsub

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

func againstStreams(t *testing.T, limit int, answer func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error), opts ...sfstream.Option) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			script := &scripted.Streams{Answer: answer}
			c := s.StartFromOldest(append([]sfstream.Option{script.Option()}, opts...)...)
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			start := time.Now()
			<-time.After(10 * time.Minute)
			n := script.Count()
			t.Logf("%d streams in %v, %d logins, Err %v", n, time.Since(start), s.Logins(), c.Err())
			if n > limit {
				t.Errorf("%d streams in 10 minutes", n)
			}
			lab.Must(t, c.Close())
		})
	})
}

// A server greets each stream with a keepalive and ends it politely.
func TestAStreamThatEndsAfterItsKeepaliveIsNotStormed(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return scripted.Keepalive(1), nil
		}
		return nil, io.EOF
	})
}

// A server greets each stream with a keepalive and then says that it is down.
func TestAStreamThatFailsAfterItsKeepaliveIsNotStormed(t *testing.T) {
	againstStreams(t, 200, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return scripted.Keepalive(1), nil
		}
		return nil, status.Error(codes.Unavailable, "going down")
	})
}

// A server refuses the ids that it names in its keepalives.
func TestAServerThatRefusesItsOwnIDsIsNotStormed(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if req.ReplayPreset == eventbus.ReplayPreset_CUSTOM {
			return nil, status.Error(codes.InvalidArgument, "The Replay ID validation failed. Ensure that")
		}
		if sent == 0 {
			return scripted.Keepalive(1), nil
		}
		return nil, io.EOF
	}, sfstream.WithReplayFallback(sfstream.FallbackAll))
}

// A server sends the same event at the begin of each stream.
func TestTheSameEventAgainAndAgainIsNoProgress(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{ReplayId: []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, Event: &eventbus.ProducerEvent{Id: "1", Payload: []byte{0}}}}}, nil
		}
		return nil, io.EOF
	})
}
