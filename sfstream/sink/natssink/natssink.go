package natssink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Sink is a [sink.Sink] in streams of JetStream.
type Sink struct {
	js      jetstream.JetStream
	subject sink.Template
}

// New returns a sink whose subjects are made by a template, see [sink.ParseTemplate], such as
// salesforce.{entity}.{change}. The connection of js stays the caller's to close. New asks the
// servers nothing.
func New(js jetstream.JetStream, subject string) (*Sink, error) {
	template, err := sink.ParseTemplate(subject)
	if err != nil {
		return nil, fmt.Errorf("natssink.New: subject: %w", err)
	}
	if js == nil {
		return nil, fmt.Errorf("%w: natssink.New: js is nil", sfstream.ErrInvalidOption)
	}
	example := sink.Record{Entity: "e", Change: "c", Channel: "/n", Type: "t", Key: "k"}
	if name := template.Expand(&example); !isSubject(name) {
		return nil, fmt.Errorf("%w: natssink.New: subject %q makes %q, to which nothing can be published",
			sfstream.ErrInvalidOption, subject, name)
	}
	return &Sink{js: js, subject: template}, nil
}

// isSubject reports whether something can be published to a subject that a stream may have.
func isSubject(subject string) bool {
	return !strings.ContainsAny(subject, " \t\r\n*>") && !strings.HasPrefix(subject, "$") &&
		!strings.Contains("."+subject+".", "..")
}

// errBehind is the error of records that were not sent.
var errBehind = errors.New("natssink: not sent, because an earlier record of its key has failed")

// Send implements [sink.Sink].
func (s *Sink) Send(ctx context.Context, records []sink.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, stop, err := s.whileConnected(ctx)
	if err != nil {
		return err
	}
	defer stop()
	ofKey := make(map[string][]int)
	for i := range records {
		ofKey[records[i].Key] = append(ofKey[records[i].Key], i)
	}
	errs := make([]error, len(records))
	var keys sync.WaitGroup
	for _, indexes := range ofKey {
		keys.Go(func() { // ends with the acks or ctx; awaited below
			for n, i := range indexes {
				if errs[i] = s.publish(ctx, &records[i]); errs[i] != nil {
					for _, behind := range indexes[n+1:] {
						errs[behind] = errBehind
					}
					return
				}
			}
		})
	}
	keys.Wait()
	failed := make(map[int]error)
	for i, err := range errs {
		if err != nil {
			failed[i] = err
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &sink.PartialError{Failed: failed}
}

// errAway is the error of what was not acked when the connection was lost. The ack will not come,
// and the message may, as the client keeps what it could not send.
var errAway = errors.New("natssink: the connection is away")

// whileConnected returns a ctx that ends when the connection is lost. stop frees what it needs.
func (s *Sink) whileConnected(ctx context.Context) (connected context.Context, stop func(), err error) {
	conn := s.js.Conn()
	away := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	if !conn.IsConnected() {
		conn.RemoveStatusListener(away)
		return nil, nil, fmt.Errorf("%w: %v", errAway, conn.Status())
	}
	connected, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { // ends with the listener, which stop removes
		if _, lost := <-away; lost {
			cancel(errAway)
		}
	})
	return connected, func() {
		conn.RemoveStatusListener(away)
		watch.Wait()
		cancel(nil)
	}, nil
}

// percentEncoded is how CloudEvents wants the value of an attribute in a header of NATS: spaces,
// double quotes, percent signs and what is not printable ASCII as %XY for each byte of UTF-8.
func percentEncoded(value string) string {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }
	var b strings.Builder
	for _, c := range []byte(value) {
		if plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// tooLarge is the code of a message that exceeds a stream's MaxMsgSize.
const tooLarge jetstream.ErrorCode = 10054

// publish returns nil when the stream has acked the record.
func (s *Sink) publish(ctx context.Context, r *sink.Record) error {
	message := &nats.Msg{Subject: s.subject.Expand(r), Data: r.Value, Header: nats.Header{
		jetstream.MsgIDHeader: {r.ID},
		"Content-Type":        {r.ContentType},
	}}
	for _, h := range r.Headers { // with datacontenttype, which only this protocol gives the prefix, too
		message.Header["ce-"+h.Name] = []string{percentEncoded(h.Value)}
	}
	if !isSubject(message.Subject) {
		return backoff.Permanent(fmt.Errorf("natssink: nothing can be published to %q", message.Subject))
	}
	_, err := s.js.PublishMsg(ctx, message)
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, nats.ErrMaxPayload), errors.As(err, &refused) && refused.ErrorCode == tooLarge:
		return backoff.Permanent(fmt.Errorf("natssink: %q: a message of %d bytes: %w", message.Subject, len(r.Value), err))
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("natssink: no stream takes the subject %q, or its servers are away: %w", message.Subject, err)
	}
	return fmt.Errorf("natssink: %q: %w", message.Subject, err)
}
