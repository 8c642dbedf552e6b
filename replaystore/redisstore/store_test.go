package redisstore_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/redisstore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

var order = replaystore.Key{OrgID: "00D000000000062EAA", API: "pubsub", Channel: "/event/Order__e"}

func open(t *testing.T, client redis.UniversalClient, opts ...redisstore.StoreOption) *redisstore.Store {
	t.Helper()
	store, err := redisstore.NewStore(client, append([]redisstore.StoreOption{redisstore.WithPrefix("test-" + rand.Text() + ":")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	t.Parallel()
	client := serve(t).client(t)
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store { return open(t, client) })
}

func TestStoreInACluster(t *testing.T) {
	t.Parallel()
	client := cluster(t)
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store { return open(t, client) })
}

func TestStoreOverTheRegister(t *testing.T) {
	t.Parallel()
	client := serve(t).client(t)
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store { return replaystore.FromRegister(newRegister(t, client)) })
}

// durable is a store whose server is killed by Close.
type durable struct {
	replaystore.Store
	server *server
}

func (d durable) Close() error {
	d.server.kill()
	return nil
}

// TestDurable kills the server right after each Save, and starts it again.
func TestDurable(t *testing.T) {
	t.Parallel()
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		server := start(t, place, "--appendonly", "yes", "--appendfsync", "always")
		register, err := redisstore.New(server.client(t))
		if err != nil {
			t.Fatal(err)
		}
		return durable{replaystore.FromRegister(register), server}
	})
}

func TestTTL(t *testing.T) {
	client := serve(t).client(t)
	for _, test := range []struct {
		opts []redisstore.StoreOption
		want time.Duration
	}{
		{nil, -1},
		{[]redisstore.StoreOption{redisstore.WithTTL(redisstore.Retention)}, 72 * time.Hour},
		{[]redisstore.StoreOption{redisstore.WithTTL(100 * time.Hour)}, 100 * time.Hour},
	} {
		prefix := rand.Text()
		store := open(t, client, append(test.opts, redisstore.WithPrefix(prefix))...)
		if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{order: {ReplayID: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		got, err := client.PTTL(t.Context(), prefix+"00D000000000062EAA/pubsub//event/Order__e").Result()
		if err != nil || got > test.want || got < test.want-time.Minute {
			t.Errorf("%v: the marker lives for %v, %v; want %v", test.opts, got, err, test.want)
		}
	}
	for _, ttl := range []time.Duration{-1, 0, 12 * time.Hour, 72*time.Hour - 1} {
		if _, err := redisstore.NewStore(client, redisstore.WithTTL(ttl)); err == nil || !strings.Contains(err.Error(), "WithTTL") {
			t.Errorf("WithTTL(%v): %v", ttl, err)
		}
	}
}

func TestDamage(t *testing.T) {
	client := serve(t).client(t)
	const name = "x:00D000000000062EAA/pubsub//event/Order__e"
	store, err := redisstore.NewStore(client, redisstore.WithPrefix("x:"))
	if err != nil {
		t.Fatal(err)
	}
	register, err := redisstore.New(client, redisstore.WithPrefix("x:"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimPrefix(name, "x:")
	for what, write := range map[string]func() error{
		"text":                func() error { return client.Set(t.Context(), name, "17", 0).Err() },
		"nothing":             func() error { return client.Set(t.Context(), name, "", 0).Err() },
		"a hash without both": func() error { return client.HSet(t.Context(), name, "rev", "1").Err() },
		"a list":              func() error { return client.LPush(t.Context(), name, "1").Err() },
	} {
		client.Del(t.Context(), name)
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Load(t.Context(), order); err == nil || errors.Is(err, replaystore.ErrNotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Load: %v", what, err)
		}
		if _, _, err := register.Get(t.Context(), key); err == nil || errors.Is(err, replaystore.ErrNotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Get: %v", what, err)
		}
		if _, err := register.Put(t.Context(), key, []byte("mine"), ""); err == nil {
			t.Errorf("%s: Put overwrote it", what)
		}
	}
}

func TestClientsThatAreRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	for _, client := range []redis.UniversalClient{nil, ring} {
		if _, err := redisstore.New(client); err == nil {
			t.Errorf("New(%T) accepted it", client)
		}
		if _, err := redisstore.NewStore(client); err == nil {
			t.Errorf("NewStore(%T) accepted it", client)
		}
	}
}
