package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/natsstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/natssink"
)

// connect makes the stream and the bucket of the markers, if they are not there.
func connect(ctx context.Context, servers string) (jetstream.JetStream, error) {
	conn, err := nats.Connect(servers, nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err == nil {
		// An event that comes again within the hour is dropped.
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "salesforce", Subjects: []string{"salesforce.>"}, Duplicates: time.Hour})
	}
	if err == nil {
		_, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "sfstream"})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return js, nil
}

// forward is the proxy. It ends with ctx, when what is on its way is acked.
func forward(ctx context.Context, a *account, js jetstream.JetStream, channel string) error {
	register, err := natsstore.New(ctx, js, "sfstream")
	if err != nil {
		return err
	}
	queue, err := natssink.New(js, "salesforce.{entity}.{change}")
	if err != nil {
		return err
	}
	client, err := sfstream.New(a.auth, append(a.options,
		sfstream.WithAck(sfstream.AckManual),
		sfstream.WithReplayStore(replaystore.FromRegister(register)))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, channel); err != nil {
		return err
	}
	return sink.Forward(ctx, client, queue, sink.WithEnvelope(sink.CloudEvents))
}
