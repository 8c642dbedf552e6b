package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore/natsstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
)

// bucket is the key-value bucket of the markers.
const bucket = "sfstream"

// replica is one of several processes that are all the same. It ends with ctx, in good order: another
// replica goes on at once.
func replica(ctx context.Context, name, servers, channel string) error {
	auth, loginURL, err := authenticator.FromEnv()
	if err != nil {
		return err
	}
	auth = authenticator.NewCache(auth) // all clients share one login
	conn, err := nats.Connect(servers, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	register, err := natsstore.New(ctx, js, bucket)
	if err != nil {
		return err
	}
	newClient := func(opts ...sfstream.Option) (*sfstream.Client, error) {
		own := []sfstream.Option{sfstream.WithLoginURL(loginURL), sfstream.WithReplay(sfstream.ReplayAll)}
		if endpoint := os.Getenv("SALESFORCE_PUBSUB_ENDPOINT"); endpoint != "" {
			own = append(own, sfstream.WithPubSubEndpoint(endpoint))
		}
		return sfstream.New(auth, append(own, opts...)...)
	}
	handle := func(_ context.Context, msg *sfstream.Message) error {
		fields, err := msg.Fields()
		if err != nil {
			return err
		}
		// It may come twice after a takeover: msg.Key() is the same then.
		fmt.Println("handled", fields["Number__c"])
		return nil
	}
	fmt.Println("ready")
	return cluster.Run(ctx, newClient, []string{channel}, register, handle,
		cluster.WithName(name),
		cluster.WithLease(3*time.Second), // the default is 10 seconds
		cluster.WithHooks(cluster.Hooks{OnState: func(_ string, state cluster.State, _ error) { fmt.Println("state", state) }}),
	)
}
