package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/replaystore"
)

// wire is the network of one replica: to the engine, of which it is a register, and to Salesforce.
type wire struct {
	replaystore.Register

	mu          sync.Mutex
	cut         chan struct{} // closed when the engine can be reached again; nil: it can be
	slow        time.Duration // how late the replies to puts are
	sessionless bool          // Salesforce refuses all
}

// setCut cuts the way to the engine, or mends it. What is on it is lost.
func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case cut && w.cut == nil:
		w.cut = make(chan struct{})
	case !cut && w.cut != nil:
		close(w.cut)
		w.cut = nil
	}
}

// pass waits until something can be sent, or ctx ends.
func (w *wire) pass(ctx context.Context) error {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut == nil {
		return ctx.Err()
	}
	select {
	case <-cut:
		return errors.New("wire: connection reset")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *wire) Get(ctx context.Context, key string) ([]byte, string, error) {
	if err := w.pass(ctx); err != nil {
		return nil, "", err
	}
	return w.Register.Get(ctx, key)
}

func (w *wire) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	if err := w.pass(ctx); err != nil {
		return "", err
	}
	newRev, err := w.Register.Put(ctx, key, value, rev)
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	select {
	case <-time.After(slow):
		return newRev, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// setSlow makes the replies to puts late.
func (w *wire) setSlow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = d
}

// setSessionless makes Salesforce refuse the replica's calls, or take them again.
func (w *wire) setSessionless(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessionless = on
}

func (w *wire) refusal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessionless {
		return status.Error(codes.Unavailable, "not for this replica")
	}
	return nil
}

// dialOptions are of the replica's clients.
func (w *wire) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := w.refusal(); err != nil {
				return err
			}
			return invoke(ctx, method, req, reply, conn, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if err := w.refusal(); err != nil {
				return nil, err
			}
			return stream(ctx, desc, conn, method, opts...)
		}),
	}
}
