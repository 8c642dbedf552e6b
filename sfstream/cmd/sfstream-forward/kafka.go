package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/kafkasink"
)

func openKafkaSink(_ context.Context, a address, _ *proxy) (none opened[sink.Sink], err error) {
	values, err := a.take("sasl", "tls")
	if err != nil {
		return none, err
	}
	if len(a.hosts) == 0 || a.path == "" {
		return none, mistaken("-sink: want kafka://host:port/TOPIC, such as salesforce.{entity}")
	}
	options := []kgo.Opt{kgo.SeedBrokers(a.withPorts("9092")...), kgo.ClientID("sfstream-forward"), kgo.DialTimeout(dialTimeout)}
	config, err := a.tls(values)
	if err != nil {
		return none, err
	}
	if config != nil {
		options = append(options, kgo.DialTLSConfig(config))
	}
	mechanisms := map[string]sasl.Mechanism{
		"plain":         plain.Auth{User: a.user, Pass: a.password}.AsMechanism(),
		"scram-sha-256": scram.Auth{User: a.user, Pass: a.password}.AsSha256Mechanism(),
		"scram-sha-512": scram.Auth{User: a.user, Pass: a.password}.AsSha512Mechanism(),
	}
	switch mechanism, name := mechanisms[values["sasl"]], values["sasl"]; {
	case mechanism != nil:
		options = append(options, kgo.SASL(mechanism))
	case name != "":
		return none, mistaken("-sink: sasl=%s is none of plain, scram-sha-256, scram-sha-512", name)
	case a.user != "" || a.password != "":
		return none, mistaken("-sink: kafka:// has a user or a password: say how to log in, as by sasl=scram-sha-512")
	}
	queue, err := kafkasink.New(a.path, options...)
	if err != nil {
		return none, err
	}
	return opened[sink.Sink]{queue, queue.Ping, func() error { queue.Close(); return nil }}, nil
}
