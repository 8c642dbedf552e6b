// Command proxy forwards change events to NATS, under subjects such as salesforce.lead.updated, so that
// many programs get what one subscription receives. An event is acked when the stream has it, so none
// is lost where the proxy is killed.
//
//	GOWORK=$PWD/.ci/go.work go run ./examples/proxy -count 6
//
// Without a Salesforce account in the environment, whose variables authenticator.FromEnv lists, it
// starts a simulated org in which leads come and go. Without -nats it starts a NATS server, too, and
// prints what a service gets that is interested in updates only. forward.go is the proxy. Who writes
// no Go runs sfstream-forward in its place.
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
	servers := flag.String("nats", "", "the `URL` of a NATS server; without it one is started")
	channel := flag.String("channel", leads, "forward this channel")
	count := flag.Int("count", 0, "end when a service has got this `many` updates; 0 means never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *servers, *channel, *count); err != nil {
		log.Fatal("proxy: ", err)
	}
}

func run(ctx context.Context, servers, channel string, count int) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	if servers == "" {
		engine, err := startNATS()
		if err != nil {
			return err
		}
		defer engine.stop()
		servers = engine.ClientURL()
	}
	account, err := findAccount(ctx)
	if err != nil {
		return err
	}
	defer account.close()
	js, err := connect(ctx, servers)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	stop, err := service(ctx, js, count, enough)
	if err != nil {
		return err
	}
	defer stop()
	return forward(ctx, account, js, channel)
}
