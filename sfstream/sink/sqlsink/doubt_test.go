package sqlsink_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// soon repeats a Send at once, for some seconds.
func soon() sink.Option {
	return sink.WithBackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(10*time.Millisecond), 200)
	})
}

// forwardAll forwards, as if the client were one of the org, until the table has so many rows, and no Send fails.
func forwardAll(t *testing.T, client *sfstream.Client, org string, o *outbox, rows int, opts ...sink.Option) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, sink.Forward(ctx, client, sendFunc(func(ctx context.Context, records []sink.Record) error {
		for i := range records {
			records[i].ID = strings.Replace(records[i].ID, client.OrgID(), org, 1)
			records[i].Source = strings.Replace(records[i].Source, client.OrgID(), org, 1)
		}
		err := o.Send(ctx, records)
		if entries, failed := o.read(ctx); err == nil && failed == nil && len(entries) >= rows {
			cancel()
		}
		return err
	}), append(opts, soon())...))
	expectRows(t, o, rows)
}

func expectRows(t *testing.T, o *outbox, want int) {
	t.Helper()
	entries, err := o.read(t.Context())
	must(t, err)
	if len(entries) != want {
		t.Errorf("%d rows, want %d", len(entries), want)
	}
}

// loseFirst forwards until the commit of the first of so many records has lost its answer.
func loseFirst(t *testing.T, client *sfstream.Client, o *outbox, p *proxy, first, of int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lost := false
	must(t, sink.Forward(ctx, client, sendFunc(func(ctx context.Context, batch []sink.Record) error {
		if len(batch) < of || lost {
			return errors.New("later")
		}
		lost = true
		p.next.Store(true)
		err := o.Send(ctx, batch[:first])
		if err == nil {
			t.Error("the answer has come")
		}
		cancel()
		return err
	}), soon()))
	if !lost {
		t.Fatal("there was no such batch")
	}
}

// TestARowThatIsThereAlready is in a table with a unique index on the ids, which nobody is to see
// at work.
func TestARowThatIsThereAlready(t *testing.T) {
	o, p := postgresOutbox(t)
	_, err := o.db.Exec("CREATE UNIQUE INDEX ON " + o.table + " (id)")
	must(t, err)
	client := follow(t, o.store(), 10)
	p.next.Store(true)
	forwardAll(t, client, client.OrgID(), o, 10, sink.WithDeadLetter(func(_ context.Context, r sink.Record, err error) error {
		t.Errorf("%s is a dead letter: %v", r.ID, err)
		return nil
	}))
}

// TestARowOfASuccessor has a unique index as well, and another process that has the channel now.
func TestARowOfASuccessor(t *testing.T) {
	o, _ := postgresOutbox(t)
	_, err := o.db.Exec("CREATE UNIQUE INDEX ON " + o.table + " (id)")
	must(t, err)
	client := follow(t, o.store(), 10)
	successor := o.store()
	err = sink.Forward(t.Context(), client, sendFunc(func(ctx context.Context, records []sink.Record) error {
		key, err := client.Key(orders)
		must(t, err)
		_, err = o.db.Exec("INSERT INTO "+o.table+" (id, channel, key, entity, change, type, source, subject, content_type, value) VALUES ($1, '', '', '', '', '', '', '', '', '')", records[0].ID)
		must(t, err)
		if _, err := successor.Load(ctx, key); err != nil && !errors.Is(err, replaystore.ErrNotFound) {
			t.Error(err)
		}
		must(t, successor.Save(ctx, map[replaystore.Key]replaystore.Marker{key: {ReplayID: records[0].Message.ReplayID}}))
		return o.Send(ctx, records)
	}), sink.WithDeadLetter(func(_ context.Context, r sink.Record, err error) error {
		t.Errorf("%s is a dead letter: %v", r.ID, err)
		return nil
	}))
	if !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	expectRows(t, o, 1)
}

// TestTwoOrgsShareASink has a channel of the same name in both.
func TestTwoOrgsShareASink(t *testing.T) {
	o, p := postgresOutbox(t)
	first := follow(t, o.store(), 10)
	second := follow(t, replaystore.FromRegister(o.register, replaystore.WithKeyPrefix("other/")), 10)
	batches := 0
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, sink.Forward(ctx, first, sendFunc(func(ctx context.Context, records []sink.Record) error {
		if batches++; batches == 1 {
			p.next.Store(true)
			err := o.Send(ctx, records[:1])
			forwardAll(t, second, "00D000000000002EAA", o, 11)
			return err
		}
		if len(records) < 2 {
			return errors.New("later")
		}
		err := o.Send(ctx, records)
		if entries, failed := o.read(ctx); err == nil && failed == nil && len(entries) == 20 {
			cancel()
		}
		return err
	}), soon()))
	expectRows(t, o, 20)
}

// TestANewForwardAfterADoubt gets the records of two channels in other batches than the one before.
func TestANewForwardAfterADoubt(t *testing.T) {
	o, p := postgresOutbox(t)
	client := follow(t, o.store(), 10, "/event/Invoice__e")
	loseFirst(t, client, o, p, 15, 20)
	expectRows(t, o, 15)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first := true
	must(t, sink.Forward(ctx, client, sendFunc(func(ctx context.Context, records []sink.Record) error {
		if len(records) < 20 && first {
			return errors.New("later")
		}
		if first { // the others have not come yet
			first = false
			partial := &sink.PartialError{Failed: make(map[int]error)}
			for i := range records[10:] {
				partial.Failed[10+i] = errors.New("later")
			}
			if err := o.Send(ctx, records[:10]); err != nil {
				return err
			}
			return partial
		}
		err := o.Send(ctx, records)
		if entries, failed := o.read(ctx); err == nil && failed == nil && len(entries) == 20 {
			cancel()
		}
		return err
	}), soon()))
	expectRows(t, o, 20)
}
