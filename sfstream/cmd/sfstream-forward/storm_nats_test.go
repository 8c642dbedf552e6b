package main

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore/natsstore"
)

// startNATS starts a server in this process, with a bucket for markers and a stream for events.
func startNATS(t *testing.T) (address string, js jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "markers"}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "salesforce", Subjects: []string{"salesforce.>"}}); err != nil {
		t.Fatal(err)
	}
	return s.Addr().String(), js
}

func TestStormOnNATS(t *testing.T) {
	address, js := startNATS(t)
	register, err := natsstore.New(t.Context(), js, "markers")
	if err != nil {
		t.Fatal(err)
	}
	runStorm(t, stormEngine{
		address: address, shared: register,
		register: func(address string) string { return "nats://" + address + "?bucket=markers" },
		sink:     func(address string) string { return "nats://" + address + "/salesforce.{entity}.{change}" },
		follow: func(ctx context.Context, entry func(text []byte)) error {
			consumer, err := js.OrderedConsumer(ctx, "salesforce", jetstream.OrderedConsumerConfig{})
			if err != nil {
				return err
			}
			messages, err := consumer.Messages()
			if err != nil {
				return err
			}
			defer context.AfterFunc(ctx, messages.Stop)()
			for {
				m, err := messages.Next()
				if err != nil {
					return err
				}
				entry(m.Data())
			}
		},
	})
}
