package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// sinks are the queues that -sink may name.
var sinks = kinds[sink.Sink]{
	{"kafka", "kafka://HOST[:9092][,HOST…]/TOPIC[?sasl=scram-sha-512&tls=true]", openKafkaSink},
	{"nats", "nats://HOST[:4222][,HOST…]/SUBJECT[?creds=FILE&tls=true]", openNATSSink},
	{"postgres", "postgres://HOST[:5432][,HOST…]/DATABASE[?table=NAME&sslmode=…]", openPostgresSink},
	{"redis", "redis://HOST[:6379][,HOST…]/STREAM[?db=N&master=NAME&tls=true&maxlen=N]", openRedisSink},
	{"stdout", "stdout:", openStdout},
}

func openStdout(_ context.Context, a address, p *proxy) (opened[sink.Sink], error) {
	_, err := a.take()
	if p.envelope == "raw" {
		err = errors.Join(err, mistaken("-sink stdout: writes lines: choose another -envelope than raw"))
	}
	return opened[sink.Sink]{it: &printer{lines{w: p.stdout}}, close: func() error { return nil }}, err
}

// printer writes the value of each record as a line.
type printer struct{ lines }

// Send writes records. None is acked after an error, because a line may be half there.
func (p *printer) Send(_ context.Context, records []sink.Record) error {
	var text []byte
	for _, r := range records {
		text = append(append(text, r.Value...), '\n')
	}
	if err := p.write(text); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}
