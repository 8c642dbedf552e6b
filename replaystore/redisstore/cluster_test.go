package redisstore_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// cluster starts a cluster of one server, and returns a client that would read from replicas.
func cluster(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	ports := make([]string, 2)
	for i := range ports {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer free.Close()
		ports[i] = strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
		if err := free.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	server := start(tb, shortDir(tb), "--port", ports[0], "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", ports[1])
	admin := server.client(tb)
	if err := admin.ClusterAddSlotsRange(tb.Context(), 0, 16383).Err(); err != nil {
		tb.Fatal(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + ports[0]}, ReadOnly: true})
	tb.Cleanup(func() { client.Close() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := client.Set(tb.Context(), "ready", 1, 0).Err()
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			tb.Fatal("the cluster is not ready:", err)
		}
	}
}
