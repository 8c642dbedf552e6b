package sqlsink_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
	"github.com/sfstream/sfstream-go/sfstream/sink/sqlsink"
)

// program is the application name of the sink's connections.
const program = "outbox"

// outbox is a sink with its register, in tables of its own.
type outbox struct {
	*sqlsink.Sink
	register *sqlstore.Register
	table    string
	db       *sql.DB // past the proxy
}

func postgresOutbox(t *testing.T) (*outbox, *proxy) {
	t.Helper()
	p := newProxy(t, serve(t))
	db := openPostgres(t, p.address()+"/"+program)
	return newOutbox(t, db, openPostgres(t, serve(t)), sqlsink.NewPostgres, sqlstore.NewPostgres), p
}

func sqliteOutbox(t *testing.T) *outbox {
	t.Helper()
	db := openSQLite(t)
	return newOutbox(t, db, db, sqlsink.NewSQLite, sqlstore.NewSQLite)
}

func newOutbox(t *testing.T, db, direct *sql.DB, newSink func(*sql.DB, ...sqlsink.Option) (*sqlsink.Sink, error), newRegister func(*sql.DB, ...sqlstore.Option) (*sqlstore.Register, error)) *outbox {
	t.Helper()
	o := &outbox{table: "test_" + strings.ToLower(rand.Text()), db: direct}
	var err error
	o.Sink, err = newSink(db, sqlsink.WithTable(o.table))
	must(t, err)
	o.register, err = newRegister(direct, sqlstore.WithTable(o.table+"_register"))
	must(t, err)
	must(t, o.CreateTable(t.Context()))
	must(t, o.CreateTable(t.Context()))
	must(t, o.register.CreateTable(t.Context()))
	return o
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (o *outbox) store() replaystore.Store { return replaystore.FromRegister(o.register) }

// settle waits until no transaction of the programs before is open: a commit that comes late would
// end the next one with ErrConflict, as it should.
func (o *outbox) settle(t *testing.T) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var open int
		must(t, o.db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'", program).Scan(&open))
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d transactions are open", open)
		}
	}
}

// read returns the rows, of which there is one for each event.
func (o *outbox) read(ctx context.Context) (entries []sinktest.Entry, err error) {
	rows, err := o.db.QueryContext(ctx, "SELECT id, value FROM "+o.table+" ORDER BY n")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := make(map[string]bool)
	for rows.Next() {
		var e sinktest.Entry
		if err := rows.Scan(&e.ID, &e.Value); err != nil {
			return nil, err
		}
		entries = append(entries, e)
		if seen[e.ID] {
			return nil, fmt.Errorf("event %s has two rows", e.ID)
		}
		seen[e.ID] = true
	}
	return entries, rows.Err()
}

// TestSink demands, beyond what sinktest does, one row for each event.
func TestSink(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		sinktest.Run(t, func(t *testing.T) sinktest.Queue {
			o, p := postgresOutbox(t)
			p.lose.Store(true)
			t.Cleanup(func() { t.Logf("commits lost: %s", p) })
			return sinktest.Queue{Sink: o, Read: o.read, Cut: p.cut, Store: func() replaystore.Store { o.settle(t); return o.store() }}
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		sinktest.Run(t, func(t *testing.T) sinktest.Queue {
			o := sqliteOutbox(t)
			return sinktest.Queue{Sink: o, Read: o.read, Store: o.store}
		})
	})
}

const orders = "/event/Order__e"

// follow follows orders, of which there are n, and other channels with as many events.
func follow(t *testing.T, store replaystore.Store, n int, others ...string) *sfstream.Client {
	t.Helper()
	channels := append([]string{orders}, others...)
	org := sfstreamtest.NewServer(t, sfstreamtest.InMemory())
	for _, channel := range channels {
		must(t, org.DefineEvent(channel, `{"type":"record","name":"`+strings.TrimPrefix(channel, "/event/")+`","fields":[
			{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},{"name":"CreatedById","type":"string"},
			{"name":"N__c","type":["null","double"],"default":null}]}`))
		for i := range n {
			_, err := org.Publish(channel, map[string]any{"N__c": float64(i)})
			must(t, err)
		}
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll),
		sfstream.WithReplayStore(store), sfstream.WithAck(sfstream.AckManual))
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	must(t, client.Open(t.Context()))
	for _, channel := range channels {
		must(t, client.Subscribe(t.Context(), channel))
	}
	for client.Pending() < n*len(channels) {
		time.Sleep(time.Millisecond)
	}
	return client
}

// TestARowThatTheDatabaseRefuses is one event that no row can be made of, in the middle of others.
func TestARowThatTheDatabaseRefuses(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *outbox{
		"PostgreSQL": func(t *testing.T) *outbox { o, _ := postgresOutbox(t); return o },
		"SQLite":     sqliteOutbox,
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			client := follow(t, o.store(), 10)
			refused := ""
			poison := func(ctx context.Context, records []sink.Record) error {
				for i, r := range records {
					if fields, err := r.Message.Fields(); err == nil && fields["N__c"] == 6.0 {
						refused = r.ID
						records[i].Subject = "poison"
					}
				}
				return o.Send(ctx, records)
			}
			_, err := o.db.Exec("CREATE UNIQUE INDEX " + o.table + "_i ON " + o.table + " (subject) WHERE subject <> ''")
			must(t, err)
			_, err = o.db.Exec("INSERT INTO " + o.table + " (id, channel, key, entity, change, type, source, subject, content_type, value) VALUES ('0', '', '', '', '', '', '', 'poison', '', '')")
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var dead []string
			err = sink.Forward(ctx, client, sendFunc(func(ctx context.Context, records []sink.Record) error {
				err := poison(ctx, records)
				if entries, failed := o.read(ctx); failed == nil && len(entries) == 10 {
					cancel()
				}
				return err
			}), sink.WithDeadLetter(func(_ context.Context, r sink.Record, err error) error {
				dead = append(dead, r.ID)
				return nil
			}))
			must(t, err)
			entries, err := o.read(t.Context())
			must(t, err)
			if len(entries) != 10 || !slices.Equal(dead, []string{refused}) {
				t.Errorf("%d rows, and %v is dead; want 10 and %s", len(entries), dead, refused)
			}
		})
	}
}

type sendFunc func(ctx context.Context, records []sink.Record) error

func (f sendFunc) Send(ctx context.Context, records []sink.Record) error { return f(ctx, records) }

// TestAClientWithOtherMarkers has them elsewhere, so that no transaction can write them.
func TestAClientWithOtherMarkers(t *testing.T) {
	o := sqliteOutbox(t)
	client := follow(t, replaystore.NewMemory(), 1)
	err := sink.Forward(t.Context(), client, o)
	var permanent *backoff.PermanentError
	if !errors.Is(err, sfstream.ErrInvalidOption) || !errors.As(err, &permanent) {
		t.Errorf("got %v", err)
	}
	entries, err := o.read(t.Context())
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("%d rows", len(entries))
	}
}

func TestOptions(t *testing.T) {
	if _, err := sqlsink.NewPostgres(nil); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("without a database: %v", err)
	}
	if _, err := sqlsink.NewSQLite(openSQLite(t), sqlsink.WithTable("a b")); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("a bad name: %v", err)
	}
}
