package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/natsstore"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/natssink"
)

// fields are those of a template.
var fields = regexp.MustCompile(`\{[^}]*\}`)

// connectNATS connects to one of the servers of nats://user@host:port,host:port. A user without a
// password is a token.
func connectNATS(a address, values map[string]string, log *slog.Logger) (jetstream.JetStream, error) {
	if len(a.hosts) == 0 {
		return nil, mistaken("-%s: nats:// has no host", a.name)
	}
	options := []nats.Option{
		nats.Name("sfstream-forward"), nats.MaxReconnects(-1), nats.Timeout(dialTimeout),
		nats.ReconnectBufSize(-1), // what cannot be sent now fails now, and is not sent later
		// By default it goes to standard error as it is.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats: a connection has an error", "url", a.String(), "error", err)
		}),
	}
	switch {
	case values["creds"] != "":
		options = append(options, nats.UserCredentials(values["creds"]))
	case a.password != "":
		options = append(options, nats.UserInfo(a.user, a.password))
	case a.user != "":
		options = append(options, nats.Token(a.user))
	}
	config, err := a.tls(values)
	if err != nil {
		return nil, err
	}
	if config != nil {
		options = append(options, nats.Secure(config))
	}
	conn, err := nats.Connect("nats://"+strings.Join(a.withPorts("4222"), ",nats://"), options...)
	if err != nil {
		return nil, fmt.Errorf("-%s %s: %w", a.name, a, err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("-%s %s: %w", a.name, a, err)
	}
	return js, nil
}

func openNATSRegister(ctx context.Context, a address, p *proxy) (none opened[replaystore.Register], err error) {
	values, err := a.take("bucket", "creds", "tls")
	if err != nil {
		return none, err
	}
	if values["bucket"] == "" || a.path != "" {
		return none, mistaken("-register: want nats://host:port?bucket=NAME, of a key-value bucket that is there")
	}
	js, err := connectNATS(a, values, p.log)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	register, err := natsstore.New(ctx, js, values["bucket"])
	if err != nil {
		js.Conn().Close()
		return none, fmt.Errorf("-register %s: %w", a, err)
	}
	return opened[replaystore.Register]{register, asks(register), func() error { js.Conn().Close(); return nil }}, nil
}

func openNATSSink(_ context.Context, a address, p *proxy) (none opened[sink.Sink], err error) {
	values, err := a.take("creds", "tls")
	if err != nil {
		return none, err
	}
	if a.path == "" {
		return none, mistaken("-sink: want nats://host:port/SUBJECT, such as salesforce.{entity}.{change}")
	}
	js, err := connectNATS(a, values, p.log)
	if err != nil {
		return none, err
	}
	queue, err := natssink.New(js, a.path)
	if err != nil {
		js.Conn().Close()
		return none, err
	}
	check := func(ctx context.Context) error {
		subject := fields.ReplaceAllString(a.path, "x")
		if _, err := js.StreamNameBySubject(ctx, subject); errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("no stream takes %s: make one, or name another subject", subject)
		} else if err != nil {
			return err
		}
		return nil
	}
	return opened[sink.Sink]{queue, check, func() error { js.Conn().Close(); return nil }}, nil
}
