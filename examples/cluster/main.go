// Command cluster shows three replicas of a service that share a channel: one follows it, two stand by
// without a subscription, and when the leader is killed another one goes on where it was.
//
//	GOWORK=$PWD/.ci/go.work go run ./examples/cluster
//
// The replicas are processes. The org is simulated, and the NATS server that has the markers and the
// lease is in this process. replica.go is all that a service needs: with an account in the
// environment, which authenticator.FromEnv lists, and a NATS server of your own it is the service:
//
//	nats kv add sfstream
//	GOWORK=$PWD/.ci/go.work go run ./examples/cluster -replica one -nats nats://localhost:4222 -channel /data/ChangeEvents
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(0)
	name := flag.String("replica", "", "be one replica, of this `name`")
	servers := flag.String("nats", "nats://localhost:4222", "the `URL` of the NATS server of a replica")
	channel := flag.String("channel", orders, "what a replica follows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if *name != "" {
		err = replica(ctx, *name, *servers, *channel)
	} else {
		err = show(ctx)
	}
	if err != nil {
		log.Fatal("cluster: ", err)
	}
}
