package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// service is one of the programs behind the proxy. It knows nothing of Salesforce but the names of
// its events, and handles updates of any object.
func service(ctx context.Context, js jetstream.JetStream, count int, enough func()) (stop func(), err error) {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "salesforce", jetstream.ConsumerConfig{
		Durable: "updates", FilterSubject: "salesforce.*.updated", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return nil, err
	}
	got := 0
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		var event struct{ ID, Subject string }
		if err := json.Unmarshal(m.Data(), &event); err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%s  %s  %s\n", m.Subject(), event.Subject, event.ID)
		_ = m.Ack()
		if got++; got == count {
			enough()
		}
	})
	if err != nil {
		return nil, err
	}
	return func() { consuming.Stop(); <-consuming.Closed() }, nil
}

// engine is a NATS server in this process, with its data in a directory of its own.
type engine struct {
	*server.Server
	dir string
}

func startNATS() (*engine, error) {
	dir, err := os.MkdirTemp("", "proxy-")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	e := &engine{s, dir}
	if !s.ReadyForConnections(20 * time.Second) {
		e.stop()
		return nil, fmt.Errorf("the NATS server does not start")
	}
	return e, nil
}

func (e *engine) stop() {
	e.Shutdown()
	e.WaitForShutdown()
	_ = os.RemoveAll(e.dir)
}
