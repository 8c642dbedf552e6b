package sfstreamtest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orders = "/event/Order_Event__e"

// rig is an org and a raw client of its Pub/Sub API.
type rig struct {
	*sfstreamtest.Server
	tb     testing.TB
	conn   *grpc.ClientConn
	client eventbus.Client
	auth   metadata.MD

	options string // the header Sforce-Call-Options of requests of the REST API
}

// bubble runs a test in virtual time against an org in memory.
func bubble(t *testing.T, do func(t *testing.T, r *rig), opts ...sfstreamtest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		do(t, newRig(t, append(opts, sfstreamtest.InMemory())...))
	})
}

func newRig(tb testing.TB, opts ...sfstreamtest.Option) *rig {
	tb.Helper()
	r := &rig{Server: sfstreamtest.NewServer(tb, opts...), tb: tb}
	r.conn = r.dial()
	r.client = eventbus.Client{Conn: r.conn}
	check(tb, r.DefineEvent(orders, schemaFile(tb, "order")))
	r.login()
	return r
}

func (r *rig) dial() *grpc.ClientConn {
	r.tb.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(r.PubSubEndpoint(), "http://"), r.DialOptions()...)
	check(r.tb, err)
	r.tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// login logs in with the password and uses the session from then on.
func (r *rig) login() map[string]string {
	r.tb.Helper()
	resp, reply := r.post(r.passwordForm())
	if resp.StatusCode != http.StatusOK {
		r.tb.Fatalf("login: %s %v", resp.Status, reply)
	}
	r.auth = metadata.Pairs("accesstoken", reply["access_token"], "instanceurl", reply["instance_url"], "tenantid", r.Account().OrgID)
	return reply
}

func (r *rig) passwordForm() url.Values {
	a := r.Account()
	return url.Values{
		"grant_type": {"password"}, "client_id": {a.ConsumerKey}, "client_secret": {a.ConsumerSecret},
		"username": {a.Username}, "password": {a.Password + a.SecurityToken},
	}
}

func (r *rig) post(form url.Values) (*http.Response, map[string]string) {
	r.tb.Helper()
	resp, err := r.HTTPClient().PostForm(r.LoginURL()+"/services/oauth2/token", form)
	check(r.tb, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(r.tb, err)
	var reply map[string]string
	_ = json.Unmarshal(body, &reply) // HTML has no fields
	return resp, reply
}

// ctx returns the context of one RPC, with the session's headers.
func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.tb.Context(), 96*time.Hour)
	r.tb.Cleanup(cancel)
	return metadata.NewOutgoingContext(ctx, r.auth)
}

// open begins a stream with its first request. The server may have ended the stream before the
// request is sent: Send then returns EOF, and Recv the reason.
func (r *rig) open(first *eventbus.FetchRequest) eventbus.SubscribeStream {
	r.tb.Helper()
	stream, err := r.client.Subscribe(r.ctx())
	check(r.tb, err)
	if err := stream.Send(first); err != io.EOF {
		check(r.tb, err)
	}
	return stream
}

// follow opens a stream of new events and returns when the stream has its place in the channel.
func (r *rig) follow(channel string, n int32) eventbus.SubscribeStream {
	r.tb.Helper()
	before := r.Streams(channel)
	stream := r.open(&eventbus.FetchRequest{TopicName: channel, NumRequested: n})
	r.await(channel, before+1)
	return stream
}

func (r *rig) await(channel string, n int) {
	r.tb.Helper()
	check(r.tb, r.AwaitStreams(r.ctx(), channel, n))
}

func earliest(channel string, n int32) *eventbus.FetchRequest {
	return &eventbus.FetchRequest{TopicName: channel, ReplayPreset: eventbus.ReplayPreset_EARLIEST, NumRequested: n}
}

func after(channel string, id []byte, n int32) *eventbus.FetchRequest {
	return &eventbus.FetchRequest{TopicName: channel, ReplayPreset: eventbus.ReplayPreset_CUSTOM, ReplayId: id, NumRequested: n}
}

func (r *rig) publish(n int) []sfstreamtest.Event {
	r.tb.Helper()
	events := make([]sfstreamtest.Event, n)
	for i := range events {
		var err error
		events[i], err = r.Publish(orders, map[string]any{"Amount__c": i})
		check(r.tb, err)
	}
	return events
}

// recv returns the next response.
func recv(tb testing.TB, stream eventbus.SubscribeStream) *eventbus.FetchResponse {
	tb.Helper()
	resp, err := stream.Recv()
	check(tb, err)
	return resp
}

// recvIDs returns the ids of the next n events, however they are batched.
func recvIDs(tb testing.TB, stream eventbus.SubscribeStream, n int) []string {
	tb.Helper()
	var ids []string
	for len(ids) < n {
		for _, e := range recv(tb, stream).Events {
			ids = append(ids, e.Event.Id)
		}
	}
	if len(ids) != n {
		tb.Errorf("got %d events, want %d", len(ids), n)
	}
	return ids
}

func idsOf(events []sfstreamtest.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// wantEnd receives until the stream ends, with a status and an error code ("": without trailers).
func wantEnd[Req, Resp any](tb testing.TB, stream grpc.BidiStreamingClient[Req, Resp], want codes.Code, code string) {
	tb.Helper()
	for {
		_, err := stream.Recv()
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = nil
		}
		wantFailure(tb, err, stream.Trailer(), want, code)
		return
	}
}

func wantFailure(tb testing.TB, err error, trailer metadata.MD, want codes.Code, code string) {
	tb.Helper()
	if status.Code(err) != want {
		tb.Errorf("ended with %v, want %v", err, want)
	}
	got := strings.TrimPrefix(strings.Join(trailer.Get("error-code"), ","), "sfdc.platform.eventbus.grpc.")
	if got != code {
		tb.Errorf("error-code is %q, want %q", got, code)
	}
	rpcID := strings.Join(trailer.Get("rpc-id"), ",")
	if code != "" && (len(rpcID) != 36 || !strings.HasSuffix(status.Convert(err).Message(), " rpcId: "+rpcID)) {
		tb.Errorf("rpc-id %q does not end the message %q", rpcID, err)
	}
}

func schemaFile(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name + ".avsc")
	check(tb, err)
	return strings.TrimSpace(string(text))
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
