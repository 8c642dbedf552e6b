package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
)

// startThree starts a cluster of three servers in this process.
func startThree(tb testing.TB) (servers []*server.Server) {
	tb.Helper()
	ports := make([]int, 3)
	var routes []*url.URL
	for i := range ports {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		ports[i] = free.Addr().(*net.TCPAddr).Port
		routes = append(routes, &url.URL{Scheme: "nats", Host: free.Addr().String()})
		if err := free.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: tb.TempDir(), NoSigs: true, NoLog: true,
			ServerName: fmt.Sprint("s", i), Routes: routes,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: port},
		})
		if err != nil {
			tb.Fatal(err)
		}
		s.Start()
		servers = append(servers, s)
		tb.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
	}
	return servers
}

// TestThreeServers raises a number at two clients while the leader of the bucket moves: no client
// reads less than was acked before it asked, and no put is lost or done twice.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	servers := startThree(t)
	config := jetstream.KeyValueConfig{Bucket: "markers", Replicas: 3}
	var clients []jetstream.JetStream
	for _, s := range servers {
		clients = append(clients, connect(t, s.ClientURL()))
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := clients[0].CreateKeyValue(ctx, config)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster is not ready:", err)
		}
	}
	var acked, unknown atomic.Int64
	var all sync.WaitGroup
	ctx, end := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer end()
	for _, client := range clients[:2] {
		register, _ := open(t, client, config)
		all.Go(func() {
			for ctx.Err() == nil {
				raise(t, register, &acked, &unknown)
			}
		})
	}
	for moves := 0; moves < 3 && ctx.Err() == nil; moves++ {
		time.Sleep(300 * time.Millisecond)
		_, _ = clients[2].Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_markers", nil, 2*time.Second)
	}
	all.Wait()
	register, _ := open(t, clients[2], config)
	value, _, err := register.Get(t.Context(), "key")
	got, _ := strconv.ParseInt(string(value), 10, 64)
	if err != nil || got < acked.Load() || got > acked.Load()+unknown.Load() {
		t.Errorf("the number is %q, %v, after %d puts that were acked and %d that may be", value, err, acked.Load(), unknown.Load())
	}
	t.Logf("%d puts, %d unknown", acked.Load(), unknown.Load())
}

// raise raises the number by one.
func raise(t *testing.T, register replaystore.Register, acked, unknown *atomic.Int64) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	before := acked.Load()
	value, rev, err := register.Get(ctx, "key")
	if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
		return
	}
	n, _ := strconv.ParseInt(string(value), 10, 64)
	if n < before {
		t.Errorf("the number is %d after %d acked puts", n, before)
	}
	switch _, err = register.Put(ctx, "key", strconv.AppendInt(nil, n+1, 10), rev); {
	case err == nil:
		acked.Add(1)
	case !errors.Is(err, replaystore.ErrConflict):
		unknown.Add(1)
	}
}
