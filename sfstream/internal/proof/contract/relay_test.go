package contract

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// relay is an org behind one address: the server behind it can be replaced.
type relay struct {
	*sfstreamtest.Server // the first one
	now                  atomic.Pointer[sfstreamtest.Server]
}

func (r *relay) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	return r.now.Load().HTTPClient().Transport.(*http.Transport).DialContext(ctx, "tcp", addr)
}

func (r *relay) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: r.dial, DisableKeepAlives: true}}
}

func (r *relay) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return r.dial(ctx, "tcp", addr) }),
	}
}
