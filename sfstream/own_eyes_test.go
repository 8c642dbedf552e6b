package sfstream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// eyesReceive receives the events of these numbers, in this order.
func eyesReceive(t *testing.T, c *sfstream.Client, want ...int) {
	t.Helper()
	for _, want := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		m, err := c.Receive(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%d is lost: %v", want, err)
		}
		if n := ChangeNumber(m.Raw()); n != want {
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
		{"an overtaken event", "/data/AccountChangeEvent", ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group", AllChanges, ChangeJSON, []int{50, 60, 61}, "", []int{50, 61}},
		{"an overtaken group, crash", AllChanges, ChangeJSON, []int{50, 60, 61}, "crash", []int{50, 61}},
		{"an overtaken event, polite end", "/data/AccountChangeEvent", ChangeJSON, []int{50, 60}, "polite", []int{50}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				event := func(id int) string {
					return strings.Replace(test.event(id, began.Add(time.Duration(id)*100*time.Millisecond)), AllChanges, test.channel, 1)
				}
				s := &ScriptedOrg{}
				s.Answer = func(r *http.Request, kind string, n int, msgs []ScriptedMessage) (*http.Response, error) {
					switch {
					case kind == "subscribe" && n == 2 && len(msgs) == 1 && time.Since(began) < time.Minute:
						<-time.After(time.Second) // 60 is of the sixth second
						return ScriptedOK(kind, msgs, event(60)), nil
					case kind == "connect" && n == 2 && time.Since(began) < time.Minute:
						select {
						case <-time.After(30 * time.Second):
						case <-r.Context().Done():
						}
						return nil, errOwnLost
					case kind == "connect" && (n == 4 || n == 2):
						var again []string
						for _, id := range test.again {
							again = append(again, event(id))
						}
						return ScriptedOK(kind, msgs, strings.Join(again, ",")), nil
					case kind == "connect" && n > 2:
						return ScriptedHold(r)
					}
					return nil, nil
				}
				store := &ownStore{Memory: replaystore.NewMemory()}
				c := s.Client(t, sfstream.WithReplayStore(store))
				Must(t, c.Subscribe(t.Context(), "/event/Other__e"))
				time.Sleep(5 * time.Second)
				Must(t, c.Subscribe(t.Context(), test.channel))
				eyesReceive(t, c, 60)
				time.Sleep(10 * time.Second)
				if test.end == "crash" {
					after := store.crash()
					Must(t, c.Close())
					time.Sleep(2 * time.Minute)
					c = s.Client(t, sfstream.WithReplayStore(after))
					Must(t, c.Subscribe(t.Context(), test.channel))
				}
				eyesReceive(t, c, test.want...)
				if test.end == "polite" {
					Must(t, c.Close())
					all, err := store.All(t.Context())
					Must(t, err)
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

// eyesStream is a Subscribe call with a script: nil ends it.
type eyesStream struct {
	ctx   context.Context
	first chan *eventbus.FetchRequest
	next  func(first *eventbus.FetchRequest) *eventbus.FetchResponse
	asked *eventbus.FetchRequest
}

func (s *eyesStream) Header() (metadata.MD, error) { return nil, nil }
func (s *eyesStream) Trailer() metadata.MD         { return nil }
func (s *eyesStream) CloseSend() error             { return nil }
func (s *eyesStream) Context() context.Context     { return s.ctx }

func (s *eyesStream) SendMsg(m any) error {
	select {
	case s.first <- m.(*eventbus.FetchRequest):
	default:
	}
	return nil
}

func (s *eyesStream) RecvMsg(m any) error {
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

// eyesBus is a Pub/Sub API whose streams have scripts.
func eyesBus(next func(stream, response int, first *eventbus.FetchRequest) *eventbus.FetchResponse) []sfstream.Option {
	opened := 0
	return []sfstream.Option{sfstream.WithTransport(sfstream.PubSub),
		sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			opened++
			stream, n := opened, 0
			return &eyesStream{ctx: ctx, first: make(chan *eventbus.FetchRequest, 1), next: func(first *eventbus.FetchRequest) *eventbus.FetchResponse {
				n++
				resp := next(stream, n, first)
				if resp != nil && resp.RpcId == "hold" {
					<-ctx.Done()
				}
				return resp
			}}, nil
		})), (&ownBus{}).options()}
}

func eyesEvents(at time.Time, ids ...[2]int) *eventbus.FetchResponse {
	resp := &eventbus.FetchResponse{PendingNumRequested: 10}
	for _, id := range ids { // replay id and number
		e := AccountChange{N: id[1], ID: uint64(id[0]), At: at, Tx: fmt.Sprint("tx", id[0]), Seq: id[1]}
		resp.Events = append(resp.Events, &eventbus.ConsumerEvent{ReplayId: ownBytes(e.ID),
			Event: &eventbus.ProducerEvent{Id: fmt.Sprint("id", e.N), SchemaId: "S", Payload: e.Avro()}})
		resp.LatestReplayId = ownBytes(e.ID)
	}
	return resp
}

// TestKeepaliveInsideAnUnexpectedGroup: a keepalive names the event that the server
// has sent last, and then others of its id come on a channel of which nobody knew
// that it has groups. From then on none of them may be lost.
func TestKeepaliveInsideAnUnexpectedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		opts := eyesBus(func(stream, n int, first *eventbus.FetchRequest) *eventbus.FetchResponse {
			switch {
			case stream == 1 && n == 1:
				return eyesEvents(now, [2]int{99, 1}, [2]int{100, 2})
			case stream == 1 && n == 2:
				return &eventbus.FetchResponse{PendingNumRequested: 10, LatestReplayId: ownBytes(100)}
			case stream == 1 && n == 3:
				return eyesEvents(now, [2]int{100, 3})
			case stream > 1 && n == 1 && binary.BigEndian.Uint64(first.ReplayId) < 100:
				return eyesEvents(now, [2]int{100, 2}, [2]int{100, 3}, [2]int{100, 4}, [2]int{101, 5})
			case stream > 1 && n == 1:
				return eyesEvents(now, [2]int{101, 5})
			case stream == 1:
				return nil
			}
			return &eventbus.FetchResponse{RpcId: "hold"}
		})
		c := (&ScriptedOrg{}).Client(t, opts...)
		Must(t, c.Subscribe(t.Context(), "/data/AccountChangeEvent"))
		eyesReceive(t, c, 1, 2, 3, 4, 5)
	})
}

// TestTokenInAnAddress: Salesforce and proxies put the token into addresses, as of
// frontdoor.jsp, where it is escaped. It must not show there either.
func TestTokenInAnAddress(t *testing.T) {
	escaped := url.QueryEscape(plantedToken)
	redirect := func(to string) func(ScriptedMessage) *http.Response {
		return func(ScriptedMessage) *http.Response {
			resp := ScriptedBody(http.StatusFound, "")
			resp.Header.Set("Location", to)
			return resp
		}
	}
	page := func(text string) func(ScriptedMessage) *http.Response {
		return func(ScriptedMessage) *http.Response { return ScriptedBody(http.StatusInternalServerError, text) }
	}
	for name, answer := range map[string]func(m ScriptedMessage) *http.Response{
		"page":     page(`<a href="/secur/frontdoor.jsp?sid=` + escaped + `">`),
		"cut page": page(strings.Repeat("x", 175) + escaped),
		"JSON":     page(`{"sid":"` + strings.Replace(plantedToken, "!", `\u0021`, 1) + `"}`),
		"refusal": func(m ScriptedMessage) *http.Response {
			return ScriptedFailure(m, "500::see /secur/frontdoor.jsp?sid="+escaped)
		},
		"path":         redirect("https://elsewhere.my.salesforce.com/sid/" + plantedToken),
		"escaped path": redirect("https://elsewhere.my.salesforce.com/sid/" + escaped),
		"no address":   redirect("https://else where/%zz" + escaped),
		"gRPC":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				s := &ScriptedOrg{Counts: make(map[string]int), Answer: func(r *http.Request, kind string, n int, msgs []ScriptedMessage) (*http.Response, error) {
					return answer(msgs[0]), nil
				}}
				via := sfstream.CometD
				if answer == nil {
					via = sfstream.PubSub
				}
				c, err := sfstream.New(authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
					return &authenticator.Credentials{AccessToken: plantedToken, InstanceURL: plantedHost, OrgID: "00D000000000001AAA"}, nil
				}), sfstream.WithAPIVersion("62.0"), sfstream.WithTransport(via), sfstream.WithHTTPClient(&http.Client{Transport: s}),
					sfstream.WithLogger(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))),
					sfstream.WithPubSubDialOptions(grpc.WithChainUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
						return status.Error(codes.Unavailable, "sid="+escaped)
					})))
				Must(t, err)
				Must(t, c.Open(t.Context()))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				err = c.Subscribe(ctx, "/event/Order__e")
				cancel()
				fmt.Fprintf(&said, "%v %#v %+v", err, err, c.Status())
				Must(t, ignore(c.Close(), err))
				if shown := said.String(); strings.Contains(shown, "planted-") {
					t.Error(shown)
				}
			})
		})
	}
}
