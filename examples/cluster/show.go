package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	orders = "/event/Order__e"
	pace   = 100 * time.Millisecond // between two orders
	enough = 100                    // orders
)

// said is a line that a replica has printed.
type said struct {
	by   *process
	what string
	arg  string
}

// process is a replica.
type process struct {
	*exec.Cmd
	name string
}

// show starts three replicas, kills the leader when a third of the orders is handled, and tells what
// happens until all are.
func show(ctx context.Context) error {
	org, err := startOrg()
	if err != nil {
		return err
	}
	defer org.Close()
	engine, err := startNATS(ctx)
	if err != nil {
		return err
	}
	defer engine.stop()
	lines := make(chan said)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // whoever still runs then is killed
	var replicas []*process
	for _, name := range []string{"ana", "ben", "cleo"} {
		p, err := start(ctx, name, engine.url, org, lines)
		if err != nil {
			return err
		}
		replicas = append(replicas, p)
	}
	go publish(ctx, org) // it ends with ctx

	began := time.Now()
	tell := func(format string, args ...any) {
		fmt.Printf("%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	handled := make(map[int]int) // how often
	var killed *process
	var last, longest time.Duration
	for len(handled) < enough {
		select {
		case <-ctx.Done():
			return nil
		case s := <-lines:
			switch s.what {
			case "state":
				tell("%s: %s", s.by.name, s.arg)
			case "handled":
				n, err := strconv.Atoi(s.arg)
				if err != nil {
					return err
				}
				handled[n]++
				if now := time.Since(began); handled[n] == 1 {
					if killed != nil {
						longest = max(longest, now-last)
					}
					last = now
				}
				if killed == nil && len(handled) == enough/3 {
					killed = s.by
					tell("kill -9 %s, which has handled %d orders", killed.name, len(handled))
					if err := killed.Process.Kill(); err != nil {
						return err
					}
				}
			}
		}
	}
	twice := 0
	for _, times := range handled {
		if times > 1 {
			twice++
		}
	}
	tell("all %d orders are handled, %d of them twice; the longest pause was %.1f s", enough, twice, longest.Seconds())
	return stop(replicas, lines)
}

// start starts a replica and sends what it prints to lines.
func start(ctx context.Context, name, servers string, org *sfstreamtest.Server, lines chan<- said) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{exec.CommandContext(ctx, self, "-replica", name, "-nats", servers), name}
	account := org.Account()
	p.Env = append(os.Environ(),
		"SALESFORCE_LOGIN_FLOW=client_credentials",
		"SALESFORCE_LOGIN_URL="+org.LoginURL(), "SALESFORCE_PUBSUB_ENDPOINT="+org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY="+account.ConsumerKey, "SALESFORCE_CONSUMER_SECRET="+account.ConsumerSecret)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			what, arg, _ := strings.Cut(scanner.Text(), " ")
			select {
			case lines <- said{p, what, arg}:
			case <-ctx.Done():
			}
		}
	}()
	return p, nil
}

// stop ends the replicas as a deployment does.
func stop(replicas []*process, lines <-chan said) error {
	done := make(chan error, 1)
	go func() { // ends with the replicas
		var failed []error
		for _, p := range replicas {
			_ = p.Process.Signal(os.Interrupt) // unless it was killed
			if err := p.Wait(); err != nil && p.ProcessState.Exited() {
				failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			}
		}
		done <- errors.Join(failed...)
	}()
	for {
		select {
		case <-lines:
		case err := <-done:
			return err
		}
	}
}

// publish publishes orders until there are enough.
func publish(ctx context.Context, org *sfstreamtest.Server) {
	for n := range enough {
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return
		}
		if _, err := org.Publish(orders, map[string]any{"Number__c": strconv.Itoa(n)}); err != nil {
			fmt.Fprintln(os.Stderr, "cluster: publishing:", err)
			return
		}
	}
}

// startOrg starts a simulated org.
func startOrg() (*sfstreamtest.Server, error) {
	org, err := sfstreamtest.Start()
	if err != nil {
		return nil, err
	}
	return org, org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`)
}

// engine is a NATS server in this process, with its data in a directory of its own.
type engine struct {
	*server.Server
	url, dir string
}

// startNATS starts a server and makes the bucket.
func startNATS(ctx context.Context) (*engine, error) {
	dir, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.Start()
	e := &engine{s, s.ClientURL(), dir}
	conn, err := nats.Connect(e.url, nats.RetryOnFailedConnect(true))
	if err == nil {
		defer conn.Close()
		var js jetstream.JetStream
		if js, err = jetstream.New(conn); err == nil {
			_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket})
		}
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *engine) stop() {
	e.Shutdown()
	e.WaitForShutdown()
	_ = os.RemoveAll(e.dir)
}
