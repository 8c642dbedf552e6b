package bench

import (
	"context"
	"encoding/json"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

func dialBench(addr string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
}

// receiveBare is the floor that clients are compared with: grpc-go with its standard codec and
// nothing done with the events. It prints its cost.
func receiveBare(args receiveArgs) error {
	conn, err := dialBench(args.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		mu       sync.Mutex
		received int
		started  *meter
		ended    = make(chan error, len(args.Channels))
	)
	// count is called once per response, not per event.
	count := func(r *eventbus.FetchResponse) (done bool) {
		mu.Lock()
		defer mu.Unlock()
		received += len(r.Events)
		if started == nil && received >= benchWarmup {
			received, started = 0, startMeter()
		}
		return started != nil && received >= args.Events
	}
	for _, channel := range args.Channels {
		go func() { ended <- receiveStream(ctx, conn, channel, count) }() // ends with ctx, as the process does
	}
	if err := <-ended; err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(started.read(received))
}

// receiveStream receives until use says that it is enough. It asks as a client does: for what is
// free of 100, and in steps of 20 at least. It is faster than the network, and so gets its events
// by the hundred.
func receiveStream(ctx context.Context, conn *grpc.ClientConn, channel string, use func(*eventbus.FetchResponse) bool) error {
	stream, err := eventbus.Client{Conn: conn}.Subscribe(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&eventbus.FetchRequest{TopicName: channel, NumRequested: 100})
	for outstanding := 100; err == nil; {
		var response *eventbus.FetchResponse
		if response, err = stream.Recv(); err != nil {
			break
		}
		if use(response) {
			return nil
		}
		outstanding -= len(response.Events)
		if free := 100 - outstanding; free >= 20 {
			outstanding += free
			err = stream.Send(&eventbus.FetchRequest{TopicName: channel, NumRequested: int32(free)})
		}
	}
	return err
}
