package redissink_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/sfstream/sink/redissink"
)

// TestCluster has streams in several slots, which no script may have at once.
func TestCluster(t *testing.T) {
	t.Parallel()
	ports := make([]string, 2)
	for i := range ports {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer free.Close()
		ports[i] = strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
		if err := free.Close(); err != nil {
			t.Fatal(err)
		}
	}
	socket := serve(t, "--port", ports[0], "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", ports[1])
	if err := connect(t, &redis.Options{Network: "unix", Addr: socket}).ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + ports[0]}})
	t.Cleanup(func() { _ = client.Close() })
	queue, err := redissink.New(client, "{entity}")
	if err != nil {
		t.Fatal(err)
	}
	records := batch()
	for i := range records { // runs of 3
		records[i].Entity = [...]string{"Lead", "Account"}[i/3%2]
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = queue.Send(t.Context(), records); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster is not ready:", err)
		}
	}
	for stream, want := range map[string]string{"lead": "[id0 id1 id2 id6 id7 id8]", "account": "[id3 id4 id5 id9]"} {
		entries, err := client.XRange(t.Context(), stream, "-", "+").Result()
		if got := ids(entries); err != nil || got != want {
			t.Errorf("%s has %s, %v; want %s", stream, got, err, want)
		}
	}
}
