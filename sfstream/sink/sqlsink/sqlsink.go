package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Sink is a [sink.Sink] in an outbox table. Several Forwards may share it.
type Sink struct {
	db      *sql.DB
	table   string
	columns string // in SQL, of CreateTable
	stamp   func(time.Time) any

	mu    sync.Mutex
	doubt map[string]batch // by the channel of its first record
}

// batch is some records of which nobody knows whether they are committed. Until that is known, no
// other records are put into a transaction with them.
type batch struct {
	first string // id
	n     int
}

// Option is an option of [NewPostgres] and [NewSQLite].
type Option func(*Sink) error

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

// WithTable names the table, "sfstream_outbox" by default: letters, digits and underscores, with the
// schema before a dot if one is given.
func WithTable(name string) Option {
	return func(s *Sink) error {
		if !identifier.MatchString(name) {
			return fmt.Errorf("%w: sqlsink.WithTable(%q): want letters, digits and underscores, as in sfstream_outbox or app.sfstream_outbox", sfstream.ErrInvalidOption, name)
		}
		s.table = name
		return nil
	}
}

const columns = `id text NOT NULL, channel text NOT NULL, key text NOT NULL, entity text NOT NULL, change text NOT NULL,
type text NOT NULL, source text NOT NULL, subject text NOT NULL, time %s, content_type text NOT NULL, value %s NOT NULL`

// NewPostgres returns a sink in PostgreSQL. It does not ask the server anything. db stays the
// caller's to close.
func NewPostgres(db *sql.DB, opts ...Option) (*Sink, error) {
	s := &Sink{stamp: func(t time.Time) any { return t }}
	s.columns = `n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ` + fmt.Sprintf(columns, "timestamptz", "bytea")
	return s.complete(db, opts)
}

// NewSQLite returns a sink in SQLite. It does not open the file. db stays the caller's to close; its
// transactions begin with BEGIN IMMEDIATE (see package sqlstore).
func NewSQLite(db *sql.DB, opts ...Option) (*Sink, error) {
	s := &Sink{stamp: func(t time.Time) any { return t.Format("2006-01-02T15:04:05.000Z") }}
	s.columns = `n integer PRIMARY KEY AUTOINCREMENT, ` + fmt.Sprintf(columns, "text", "blob")
	return s.complete(db, opts)
}

func (s *Sink) complete(db *sql.DB, opts []Option) (*Sink, error) {
	if db == nil {
		return nil, fmt.Errorf("%w: sqlsink: the database is nil", sfstream.ErrInvalidOption)
	}
	s.db, s.table, s.doubt = db, "sfstream_outbox", make(map[string]batch)
	for _, opt := range opts {
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// CreateTable creates the table if it is not there. Several processes may call it at once.
func (s *Sink) CreateTable(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+s.table+" ("+s.columns+")")
	if err == nil {
		return nil
	}
	// PostgreSQL fails where another process creates it at this moment, or where this one may not.
	if rows, missing := s.db.QueryContext(ctx, "SELECT id FROM "+s.table+" LIMIT 1"); missing == nil {
		return rows.Close()
	}
	return fmt.Errorf("sqlsink: creating the table %s: %w", s.table, err)
}

// Send implements [sink.Sink]. All records are in one transaction, with the markers of their
// channels. Where the database refuses one of them for what is in it, those before it are committed,
// in several Sends, and its error is permanent then.
func (s *Sink) Send(ctx context.Context, records []sink.Record) error {
	n := s.inDoubt(records)
	for {
		err := s.commit(ctx, records[:n])
		switch {
		case err == nil:
			return behind(records, n, nil)
		case errors.Is(err, sfstream.ErrInvalidOption):
			return backoff.Permanent(err)
		case !refusesData(err):
			return err
		case n == 1:
			return behind(records, 1, backoff.Permanent(err))
		}
		n /= 2
	}
}

// behind is the error of a Send of which the first n records are done, or the one is refused. The
// marker moves on when they are acked.
func behind(records []sink.Record, n int, refused error) error {
	if refused == nil && n == len(records) {
		return nil
	}
	e := &sink.PartialError{Failed: make(map[int]error)}
	if refused != nil {
		e.Failed[0] = refused
	}
	for i := n; i < len(records); i++ {
		e.Failed[i] = errBehind
	}
	return e
}

var errBehind = errors.New("sqlsink: it is for another transaction than the records before it")

// inDoubt is how many of the records are a batch that is in doubt, or all where none is.
func (s *Sink) inDoubt(records []sink.Record) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.doubt[records[0].Channel]; b.first == records[0].ID && b.n < len(records) {
		return b.n
	}
	return len(records)
}

// commit makes the one transaction of records, unless it is made already.
func (s *Sink) commit(ctx context.Context, records []sink.Record) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := s.insert(ctx, tx, records); err != nil {
		return err
	}
	channels, of := []string{}, make(map[string][]*sfstream.Message)
	for _, r := range records {
		if of[r.Channel] == nil {
			channels = append(channels, r.Channel)
		}
		of[r.Channel] = append(of[r.Channel], r.Message)
	}
	handled := 0 // channels whose records are committed already
	for _, channel := range channels {
		messages := of[channel]
		switch err := sqlstore.SaveTx(ctx, tx, messages[0], messages[1:]...); {
		case errors.Is(err, replaystore.ErrHandled):
			handled++
		case err != nil:
			return err
		}
	}
	switch handled {
	case 0:
	case len(channels):
		s.note(records, false)
		return nil
	default:
		return fmt.Errorf("sqlsink: of a batch of %s only a part is committed, and not by one transaction of this sink", strings.Join(channels, ", "))
	}
	s.note(records, true)
	if err := tx.Commit(); err != nil {
		return err
	}
	s.note(records, false)
	return nil
}

func (s *Sink) note(records []sink.Record, doubt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doubt, records[0].Channel)
	if doubt {
		s.doubt[records[0].Channel] = batch{first: records[0].ID, n: len(records)}
	}
}

// insertAtOnce is how many rows a statement has at most. It has a power of two, so that there are few
// different statements for a driver to prepare.
const insertAtOnce = 256

func (s *Sink) insert(ctx context.Context, tx *sql.Tx, records []sink.Record) error {
	for n := insertAtOnce; len(records) > 0; {
		if n > len(records) {
			n /= 2
			continue
		}
		var rows strings.Builder
		var args []any
		for i, r := range records[:n] {
			if i > 0 {
				rows.WriteString(", ")
			}
			at := len(args)
			args = append(args, r.ID, r.Channel, r.Key, r.Entity, r.Change, r.Type, r.Source, r.Subject, s.timeOf(r), r.ContentType, append([]byte{}, r.Value...))
			for j := range args[at:] {
				rows.WriteString([]string{"(", ", "}[min(j, 1)])
				fmt.Fprintf(&rows, "$%d", at+j+1)
			}
			rows.WriteString(")")
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO "+s.table+" (id, channel, key, entity, change, type, source, subject, time, content_type, value) VALUES "+rows.String(), args...)
		if err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (s *Sink) timeOf(r sink.Record) any {
	if r.Time.IsZero() {
		return nil
	}
	return s.stamp(r.Time)
}

// refusesData reports whether a database says that it does not take these values: a data exception
// or a violation of a constraint.
func refusesData(err error) bool {
	var postgres interface{ SQLState() string } // pgx and lib/pq
	if errors.As(err, &postgres) {
		state := postgres.SQLState()
		return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23")
	}
	var sqlite interface{ Code() int } // modernc.org/sqlite
	if errors.As(err, &sqlite) {
		code := sqlite.Code() & 0xff
		return code == 18 || code == 19 || code == 20 // too big, a constraint, another type
	}
	return false
}
