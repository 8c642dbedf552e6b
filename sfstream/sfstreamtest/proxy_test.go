package sfstreamtest_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestAProxyAnswersInPlaceOfThePubSubAPI(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithTLS()}} {
		bubble(t, func(t *testing.T, r *rig) {
			for code, want := range map[int]codes.Code{
				401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.Unimplemented, 407: codes.Unknown,
				302: codes.Unknown, 451: codes.Unknown, 200: codes.Unknown,
			} {
				open := r.follow(orders, 10)
				body := ""
				if code == 401 {
					body = `{"error":"denied"}`
				}
				r.ProxyPage(2, code, body)
				if _, err := open.Recv(); err == nil {
					t.Error("the stream goes on")
				}
				stream := r.open(earliest(orders, 10))
				_, streamErr := stream.Recv()
				_, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders})
				for _, err := range []error{err, streamErr} {
					text := fmt.Sprint(err)
					if status.Code(err) != want || code != 200 && !strings.Contains(text, fmt.Sprintf("unexpected HTTP status code received from server: %d", code)) {
						t.Errorf("%d: %v, want %v", code, err, want)
					}
				}
				if n := len(stream.Trailer().Get("error-code")); n > 0 {
					t.Errorf("%d: an error-code", code)
				}
				r.settle()
				getTopic(t, r, orders, codes.OK, "")
			}
			r.ProxyPage(-1, 403, "")
			r.settle()
			for range 3 {
				getTopicOf(t, r, codes.PermissionDenied)
			}
			r.ClearFaults()
			r.settle()
			getTopic(t, r, orders, codes.OK, "")
			r.ProxyPage(-1, 403, "") // Close must work with the proxy in place
		}, opts...)
	}
}

func getTopicOf(t *testing.T, r *rig, want codes.Code) {
	t.Helper()
	if _, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: orders}); status.Code(err) != want {
		t.Errorf("got %v, want %v", err, want)
	}
}
