package pubsub

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// A server (or proxy) repeats the token in a trailer.
func TestATokenInATrailerIsNotPrinted(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			token := ""
			c := s.StartFromOldest(sfstream.WithPubSubDialOptions(grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				md, _ := metadata.FromOutgoingContext(ctx)
				token = md.Get("accesstoken")[0]
				for _, o := range opts {
					if tr, ok := o.(grpc.TrailerCallOption); ok {
						*tr.TrailerAddr = metadata.Pairs("rpc-id", "call of "+token, "error-code", "x."+token)
					}
				}
				return status.Error(codes.Internal, "no")
			})))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := c.Subscribe(ctx, lab.Orders)
			if token == "" || strings.Contains(fmt.Sprintf("%v %+v", err, err), token) {
				t.Errorf("%q in %.300v", token, err)
			}
		})
	})
}

// A sandbox is refreshed: the same user logs in to a new org, with another id. Its positions are
// not those of the old one.
func TestEventsOfAnotherOrgAreNotSavedAsThisOnes(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			var mu sync.Mutex
			logins := 0
			const first, second = "00D000000000001AAA", "00D000000000002AAA"
			auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
				mu.Lock()
				defer mu.Unlock()
				logins++
				org := first
				if logins > 1 {
					org = second
				}
				return &authenticator.Credentials{AccessToken: fmt.Sprintf("T%d", logins), InstanceURL: "https://acme.my.salesforce.com", OrgID: org}, nil
			})
			script := &scripted.Streams{}
			script.Answer = func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
				switch {
				case n == 1 && sent == 0:
					return &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{ReplayId: []byte{0, 0, 0, 0, 0, 0, 9, 9, 0, 0}, Event: &eventbus.ProducerEvent{Id: "old", Payload: []byte{0}}}}}, nil
				case n == 1:
					return nil, status.Error(codes.Unauthenticated, "x")
				case sent == 0:
					return &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{ReplayId: []byte{0, 0, 0, 0, 0, 0, 10, 9, 0, 0}, Event: &eventbus.ProducerEvent{Id: "new", Payload: []byte{0}}}}}, nil
				}
				return nil, nil
			}
			unary := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if info, ok := reply.(*eventbus.TopicInfo); ok {
					info.CanSubscribe = true
				}
				return nil
			})
			c, err := sfstream.New(auth, sfstream.WithOrg(s), sfstream.WithReplayStore(s.Store), script.Option(), sfstream.WithPubSubDialOptions(unary), sfstream.WithAck(sfstream.AckOnReceive))
			lab.Must(t, err)
			defer c.Close()
			lab.Must(t, c.Open(t.Context()))
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			lab.ExpectID(t, c, "old")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, err := c.Receive(ctx)
			if err != nil {
				t.Log("good, the client says so:", err, c.Err())
				return
			}
			<-time.After(time.Second)
			ms, _ := s.Store.Memory.All(context.Background())
			for k, v := range ms {
				t.Logf("%+v %x", k, v.ReplayID)
			}
			at, err := s.Store.Memory.Load(context.Background(), replaystore.Key{OrgID: second, API: "pubsub", Channel: lab.Orders})
			t.Log(m.ID, at, err)
			t.Logf("second stream asked %v after %x", script.First[1].ReplayPreset, script.First[1].ReplayId)
			if err != nil {
				t.Error("events of the new org are saved under the id of the old one: a restart finds no marker and starts at new")
			}
		})
	})
}

// GetSchema is down for an hour while a channel has a backlog: what is delivered counts against the
// org's daily allocation (10,000 of a Developer Edition).
func TestAChannelThatWaitsForItsSchemaSparesTheAllocation(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			s.PublishNext(lab.Orders, 200)
			s.FailGetSchema(-1, "schema.api.unavailable")
			events := 0
			c := s.StartFromOldest(sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				st, err := streamer(ctx, desc, cc, method, opts...)
				return countingStream{st, &events}, err
			})))
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			<-time.After(2 * time.Hour)
			t.Log(events, "events delivered,", s.GetSchemaCalls(), "GetSchema calls")
			if events > 2000 {
				t.Errorf("%d events delivered in two hours, none of them handed out", events)
			}
			lab.Must(t, c.Close())
		})
	})
}

type countingStream struct {
	grpc.ClientStream
	n *int
}

func (s countingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if r, ok := m.(*eventbus.Response); ok && err == nil {
		*s.n += len(r.Events)
	}
	return err
}
