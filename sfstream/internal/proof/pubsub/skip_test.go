package pubsub

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

type slowStream struct{ grpc.ClientStream }

func (s slowStream) RecvMsg(m any) error {
	<-time.After(10 * time.Millisecond)
	return s.ClientStream.RecvMsg(m)
}

func slowly() sfstream.Option {
	return sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := streamer(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, err
		}
		return slowStream{s}, nil
	}))
}

const datedSchema = `{"type":"record","name":"Dated__e","fields":[{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},{"name":"CreatedById","type":"string"},{"name":"N__c","type":["null","double"],"default":null}]}`

// ReplaySince(T), and a deploy in the middle of what is skipped: what is older than T by a day is
// not wanted after it either.
func TestSkippingOutlivesARestart(t *testing.T) {
	for _, how := range []string{"since", "new"} {
		t.Run(how+"/pubsub/", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := lab.New(t, sfstreamtest.WithBatchEvents(1))
				const channel = "/event/Dated__e"
				lab.Must(t, s.DefineEvent(channel, datedSchema))
				for i := range 300 {
					_, err := s.Publish(channel, map[string]any{"N__c": float64(i)})
					lab.Must(t, err)
				}
				<-time.After(24 * time.Hour)
				since := time.Now()
				opts := []sfstream.SubscribeOption{sfstream.From(sfstream.ReplaySince(since))}
				if how == "new" {
					// A program that wants new events only, and was stopped before the first one.
					c := s.StartFromOldest(sfstream.WithReplay(sfstream.ReplayNew))
					lab.Must(t, c.Subscribe(t.Context(), channel))
					lab.Must(t, c.Close())
					opts = nil
				}
				c := s.StartFromOldest(slowly(), sfstream.WithReplay(sfstream.ReplayNew))
				lab.Must(t, c.Subscribe(t.Context(), channel, opts...))
				<-time.After(time.Second) // about 100 of 300 are skipped
				t.Log("before:", c.Status().Channels[0].Received, "received,", c.Pending(), "pending")
				lab.Must(t, c.Close())

				c = s.StartFromOldest(sfstream.WithReplay(sfstream.ReplayNew))
				lab.Must(t, c.Subscribe(t.Context(), channel))
				<-time.After(time.Minute)
				if n := c.Pending(); n > 0 {
					m, err := c.Receive(t.Context())
					lab.Must(t, err)
					t.Errorf("after the restart %d events are handed out that are older than wanted by %v", n, since.Sub(m.Date()))
				}
			})
		})
	}
}
