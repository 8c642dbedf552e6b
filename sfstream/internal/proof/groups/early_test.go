package groups

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// receiveNumbers receives the events of these numbers, in this order.
func receiveNumbers(t *testing.T, c *sfstream.Client, want ...int) {
	t.Helper()
	for _, want := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		m, err := c.Receive(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%d is lost: %v", want, err)
		}
		if n := lab.ChangeNumber(m.Raw()); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		m.Ack()
	}
}

// TestLostConnectBehindEarlyEvents: of a channel that is set to "new" beside a held
// connect an event comes with the reply to the subscription. It is let go after a
// while. Then the connect is lost, and all comes again: nothing that is new may count
// as old, also after a restart.
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
		{"a wrong CreatedDate", "/event/Order__e", written, []int{60, 61}, "", []int{61}},
		{"an overtaken event", "/data/AccountChangeEvent", lab.ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group", lab.AllChanges, lab.ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group, crash", lab.AllChanges, lab.ChangeJSON, []int{50, 60, 61}, "crash", []int{50, 61}},
		{"an overtaken event, polite end", "/data/AccountChangeEvent", lab.ChangeJSON, []int{50, 60}, "polite", []int{50}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				event := func(id int) string {
					return strings.Replace(test.event(id, began.Add(time.Duration(id)*100*time.Millisecond)), lab.AllChanges, test.channel, 1)
				}
				s := &lab.ScriptedOrg{}
				s.Answer = func(r *http.Request, kind string, n int, msgs []lab.ScriptedMessage) (*http.Response, error) {
					switch {
					case kind == "subscribe" && n == 2 && len(msgs) == 1 && time.Since(began) < time.Minute:
						<-time.After(time.Second) // 60 is of the sixth second
						return lab.ScriptedOK(kind, msgs, event(60)), nil
					case kind == "connect" && n == 2 && time.Since(began) < time.Minute:
						select {
						case <-time.After(30 * time.Second):
						case <-r.Context().Done():
						}
						return nil, errConnLost
					case kind == "connect" && (n == 4 || n == 2):
						var again []string
						for _, id := range test.again {
							again = append(again, event(id))
						}
						return lab.ScriptedOK(kind, msgs, strings.Join(again, ",")), nil
					case kind == "connect" && n > 2:
						return lab.ScriptedHold(r)
					}
					return nil, nil
				}
				store := &checkedStore{Memory: replaystore.NewMemory()}
				c := s.Client(t, sfstream.WithReplayStore(store))
				lab.Must(t, c.Subscribe(t.Context(), "/event/Other__e"))
				time.Sleep(5 * time.Second)
				lab.Must(t, c.Subscribe(t.Context(), test.channel))
				receiveNumbers(t, c, 60)
				time.Sleep(10 * time.Second)
				if test.end == "crash" {
					after := store.crash()
					lab.Must(t, c.Close())
					time.Sleep(2 * time.Minute)
					c = s.Client(t, sfstream.WithReplayStore(after))
					lab.Must(t, c.Subscribe(t.Context(), test.channel))
				}
				receiveNumbers(t, c, test.want...)
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

// scriptStream is a Subscribe call with a script: nil ends it.
type scriptStream struct {
	ctx   context.Context
	first chan *eventbus.FetchRequest
	next  func(first *eventbus.FetchRequest) *eventbus.FetchResponse
	asked *eventbus.FetchRequest
}

func (s *scriptStream) Header() (metadata.MD, error) { return nil, nil }
func (s *scriptStream) Trailer() metadata.MD         { return nil }
func (s *scriptStream) CloseSend() error             { return nil }
func (s *scriptStream) Context() context.Context     { return s.ctx }

func (s *scriptStream) SendMsg(m any) error {
	select {
	case s.first <- m.(*eventbus.FetchRequest):
	default:
	}
	return nil
}

func (s *scriptStream) RecvMsg(m any) error {
	time.Sleep(time.Millisecond)
	if s.asked == nil {
		s.asked = <-s.first
	}
	resp := s.next(s.asked)
	if s.ctx.Err() != nil {
		return status.FromContextError(s.ctx.Err()).Err()
	}
	if resp == nil {
		return io.EOF
	}
	frame, err := proto.Marshal(resp)
	if err != nil {
		return err
	}
	return eventbus.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(frame)}, m)
}

// scriptServer is a Pub/Sub API whose streams have scripts.
func scriptServer(next func(stream, response int, first *eventbus.FetchRequest) *eventbus.FetchResponse) []sfstream.Option {
	opened := 0
	return []sfstream.Option{sfstream.WithTransport(sfstream.PubSub),
		sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			opened++
			stream, n := opened, 0
			return &scriptStream{ctx: ctx, first: make(chan *eventbus.FetchRequest, 1), next: func(first *eventbus.FetchRequest) *eventbus.FetchResponse {
				n++
				resp := next(stream, n, first)
				if resp != nil && resp.RpcId == "hold" {
					<-ctx.Done()
				}
				return resp
			}}, nil
		})), (&pubsubServer{}).options()}
}

func eventsOf(at time.Time, ids ...[2]int) *eventbus.FetchResponse {
	resp := &eventbus.FetchResponse{PendingNumRequested: 10}
	for _, id := range ids { // replay id and number
		e := lab.AccountChange{N: id[1], ID: uint64(id[0]), At: at, Tx: fmt.Sprint("tx", id[0]), Seq: id[1]}
		resp.Events = append(resp.Events, &eventbus.ConsumerEvent{ReplayId: idBytes(e.ID),
			Event: &eventbus.ProducerEvent{Id: fmt.Sprint("id", e.N), SchemaId: "S", Payload: e.Avro()}})
		resp.LatestReplayId = idBytes(e.ID)
	}
	return resp
}

// TestKeepaliveInsideAnUnexpectedGroup: a keepalive names the event that the server
// has sent last, and then others of its id come on a channel of which nobody knew
// that it has groups. From then on none of them may be lost.
func TestKeepaliveInsideAnUnexpectedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		opts := scriptServer(func(stream, n int, first *eventbus.FetchRequest) *eventbus.FetchResponse {
			switch {
			case stream == 1 && n == 1:
				return eventsOf(now, [2]int{99, 1}, [2]int{100, 2})
			case stream == 1 && n == 2:
				return &eventbus.FetchResponse{PendingNumRequested: 10, LatestReplayId: idBytes(100)}
			case stream == 1 && n == 3:
				return eventsOf(now, [2]int{100, 3})
			case stream > 1 && n == 1 && binary.BigEndian.Uint64(first.ReplayId) < 100:
				return eventsOf(now, [2]int{100, 2}, [2]int{100, 3}, [2]int{100, 4}, [2]int{101, 5})
			case stream > 1 && n == 1:
				return eventsOf(now, [2]int{101, 5})
			case stream == 1:
				return nil
			}
			return &eventbus.FetchResponse{RpcId: "hold"}
		})
		c := (&lab.ScriptedOrg{}).Client(t, opts...)
		lab.Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
		receiveNumbers(t, c, 1, 2, 3, 4, 5)
	})
}
