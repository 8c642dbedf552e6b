package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/jsonevent"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// pendingResult waits until it is known what has become of a line.
type pendingResult func() publishResult

// known is a result that nothing is to be waited for.
func known(r publishResult) pendingResult { return func() publishResult { return r } }

// notSent is the result of a line that is no event of the channel.
func notSent(line publishLine, err error) publishResult {
	return publishResult{Line: line.number, Outcome: "not sent", err: err}
}

func resultOf(line publishLine, r sfstream.PublishResult) publishResult {
	words := map[sfstream.Outcome]string{
		sfstream.NotSent: "not sent", sfstream.Published: "published", sfstream.Refused: "refused", sfstream.InDoubt: "in doubt",
	}
	return publishResult{
		Line: line.number, ID: r.ID, ReplayID: hex.EncodeToString(r.ReplayID), Outcome: words[r.Outcome], err: r.Err,
	}
}

// isOfTheLine reports whether an error of publishing is one of the event, and the next one may fare
// better.
func isOfTheLine(err error) bool {
	_, encoding := errors.AsType[*sfstream.EncodeError](err)
	return encoding || errors.Is(err, sfstream.ErrInvalidOption)
}

// nextLine returns false at the end of the lines, and where ctx ends.
func nextLine(ctx context.Context, in <-chan publishLine) (line publishLine, ok bool) {
	select {
	case line, ok = <-in:
	case <-ctx.Done():
	}
	return line, ok && ctx.Err() == nil
}

// streamLines publishes lines by a publisher.
func streamLines(ctx context.Context, publisher *sfstream.Publisher, in <-chan publishLine, out chan<- pendingResult) error {
	for {
		line, ok := nextLine(ctx, in)
		if !ok {
			return nil
		}
		if line.mistake != nil {
			out <- known(notSent(line, line.mistake))
			continue
		}
		receipt, err := publisher.Publish(ctx, line.event)
		switch {
		case err == nil:
			out <- func() publishResult {
				<-receipt.Done()
				return resultOf(line, receipt.Result())
			}
		case isOfTheLine(err):
			out <- known(notSent(line, err))
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("line %d and what is below are not published: %w", line.number, err)
		}
	}
}

// pushLines publishes lines over REST: what waits goes together.
func pushLines(ctx context.Context, client *sfstream.Client, channel string, in <-chan publishLine, out chan<- pendingResult) error {
	for {
		line, ok := nextLine(ctx, in)
		if !ok {
			return nil
		}
		batch := []publishLine{line}
		for waiting := true; waiting && len(batch) < outbox.MaxEvents; {
			select {
			case line, ok := <-in:
				if waiting = ok; ok {
					batch = append(batch, line)
				}
			default:
				waiting = false
			}
		}
		results, err := pushBatch(ctx, client, channel, batch)
		for _, r := range results {
			out <- known(r)
		}
		if err != nil {
			return err
		}
	}
}

// pushBatch publishes lines together. Those of them that are no events do not keep the others back.
func pushBatch(ctx context.Context, client *sfstream.Client, channel string, batch []publishLine) ([]publishResult, error) {
	results := make([]publishResult, len(batch))
	var left []int // of batch
	for i, line := range batch {
		if results[i] = notSent(line, line.mistake); line.mistake == nil {
			left = append(left, i)
		}
	}
	for len(left) > 0 {
		var events []any
		for _, i := range left {
			events = append(events, batch[i].event)
		}
		answers, err := client.Publish(ctx, channel, events...)
		if _, told := errors.AsType[*sfstream.PublishError](err); err != nil && !told {
			return nil, fmt.Errorf("line %d and what is below are not published: %w", batch[left[0]].number, err)
		}
		var fit []int
		for n, i := range left {
			results[i] = resultOf(batch[i], answers[n])
			if !isOfTheLine(answers[n].Err) {
				fit = append(fit, i)
			}
		}
		if len(fit) == len(left) {
			break
		}
		left = fit
	}
	return results, nil
}

// rehearse compares events with the schema of the channel, and sends nothing.
func (f *publishFlags) rehearse(ctx context.Context, account account, file io.Reader, results *publishResults) error {
	stop := results.console.patience("read the schema, with a login at "+account.loginURL, nil)
	topic, text, err := fetchTopic(ctx, account, f.channel)
	stop()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	case !topic.CanPublish:
		return fmt.Errorf("%s: the user may not publish here; grant Create on the event, by a permission set", f.channel)
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: the schema %q: %w", f.channel, topic.SchemaId, err)
	}
	binder := avro.Binder{Time: jsonevent.ParseField}
	system := avro.System{CreatedDate: time.Now(), CreatedByID: "005000000000000AAA"}
	return results.run(ctx, file, func(in <-chan publishLine, out chan<- pendingResult) error {
		var payload []byte
		for {
			line, ok := nextLine(ctx, in)
			if !ok {
				return nil
			}
			err := line.mistake
			if err == nil {
				payload, err = binder.Append(payload[:0], schema, line.event.Value, system)
			}
			if err == nil && len(payload) > outbox.MaxEvent {
				err = fmt.Errorf("it has %d bytes, and an event has at most %d", len(payload), outbox.MaxEvent)
			}
			result := notSent(line, err)
			if err == nil {
				result.Outcome = "valid"
			}
			out <- known(result)
		}
	})
}
