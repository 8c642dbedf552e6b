package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore/redisstore"
)

// engineBinary returns the path of an engine's program, which is on the PATH or where Debian has it.
// Without it a person's test is skipped.
func engineBinary(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if path, err = exec.LookPath(debian + "/" + name); err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: apt-get install it", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

// freeAddress returns an address at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startRedis starts a server on a free port, and returns its address when it answers.
func startRedis(t *testing.T) (address string, client *redis.Client) {
	t.Helper()
	path := engineBinary(t, "redis-server", "/usr/bin")
	address = freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	client = redis.NewClient(&redis.Options{Addr: address})
	t.Cleanup(func() { client.Close() })
	for deadline := time.Now().Add(20 * time.Second); client.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return address, client
}

func TestStormOnRedis(t *testing.T) {
	if !*stormAll {
		t.Skip("NATS has the storm of the gate: say -storm.all")
	}
	address, client := startRedis(t)
	register, err := redisstore.New(client)
	if err != nil {
		t.Fatal(err)
	}
	runStorm(t, stormEngine{
		address: address, shared: register,
		register: func(address string) string { return "redis://" + address },
		sink:     func(address string) string { return "redis://" + address + "/salesforce" },
		follow: func(ctx context.Context, entry func(text []byte)) error {
			for last := "0"; ; {
				streams, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{"salesforce", last}, Count: 1000, Block: 100 * time.Millisecond}).Result()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				for _, stream := range streams {
					for _, message := range stream.Messages {
						last = message.ID
						text, _ := message.Values["value"].(string)
						entry([]byte(strings.TrimSpace(text)))
					}
				}
			}
		},
	})
}
