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
	doubt map[place]batch
}

// place is a channel of one org, as subscribed: several Forwards may share a sink.
type place struct{ source, channel string }

func placeOf(r sink.Record) place { return place{r.Source, r.Channel} }

// batch is some records of a channel of which nobody knows whether they are committed. Until that is
// known, no other records are put into a transaction with them.
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
	s.db, s.table, s.doubt = db, "sfstream_outbox", make(map[place]batch)
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
	if unclear := s.inDoubt(records); len(unclear) > 0 {
		if done, err := s.look(ctx, unclear); err != nil || len(done) > 0 {
			return but(records, done, err)
		}
	}
	looked := false
	for n := len(records); ; n /= 2 {
		err := s.commit(ctx, records[:n])
		switch {
		case err == nil:
			return behind(records, n, nil)
		case !refusesData(err):
			return final(err)
		}
		if !looked { // it may be a row that is there already, by a commit of which nobody knew
			if done, err := s.look(ctx, records[:n]); err != nil || len(done) > 0 {
				return but(records, done, err)
			}
			looked = true
		}
		if n == 1 {
			return behind(records, 1, backoff.Permanent(err))
		}
	}
}

// final is the error of a transaction. No repetition cures a client that is not made for it.
func final(err error) error {
	if errors.Is(err, sfstream.ErrInvalidOption) {
		return backoff.Permanent(err)
	}
	return err
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

// but is the error of a Send that has found out that the records with these ids are committed, or
// could not look.
func but(records []sink.Record, done map[string]bool, err error) error {
	if err != nil {
		return final(err)
	}
	e := &sink.PartialError{Failed: make(map[int]error)}
	for i, r := range records {
		if !done[r.ID] {
			e.Failed[i] = errBehind
		}
	}
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}

var errBehind = errors.New("sqlsink: it is for another transaction than the records before it")

// inDoubt returns those of the records that are a batch in doubt, of each channel.
func (s *Sink) inDoubt(records []sink.Record) (unclear []sink.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.doubt) == 0 {
		return nil
	}
	seen := make(map[place]int)
	for _, r := range records {
		p := placeOf(r)
		b := s.doubt[p]
		if seen[p] == 0 && b.first != r.ID {
			b.n = 0 // the batch is settled, or another client's
			delete(s.doubt, p)
		}
		if seen[p] < b.n {
			unclear = append(unclear, r)
		}
		seen[p]++
	}
	return unclear
}

// look finds out which of the records are committed: all of a channel or none. It asks for the step
// of the marker, for which it waits until no transaction has the marker, and makes none.
func (s *Sink) look(ctx context.Context, records []sink.Record) (done map[string]bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	done = make(map[string]bool)
	for _, of := range byPlace(records) {
		handled, err := save(ctx, tx, of)
		if err != nil {
			return nil, err
		}
		for _, r := range of {
			if handled {
				done[r.ID] = true
			}
		}
	}
	s.note(records, false)
	return done, nil
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
	places, committed := byPlace(records), 0
	for _, of := range places {
		handled, err := save(ctx, tx, of)
		if err != nil {
			return err
		}
		if handled {
			committed++
		}
	}
	switch committed {
	case 0:
	case len(places):
		s.note(records, false)
		return nil
	default:
		s.note(records, true) // the next Send looks
		return fmt.Errorf("sqlsink: of a batch of %d channels %d are committed already", len(places), committed)
	}
	s.note(records, true)
	if err := tx.Commit(); err != nil {
		return err
	}
	s.note(records, false)
	return nil
}

// save takes the records of one channel into the transaction's step of the marker, if they are not
// handled already.
func save(ctx context.Context, tx *sql.Tx, records []sink.Record) (handled bool, err error) {
	messages := make([]*sfstream.Message, len(records))
	for i, r := range records {
		messages[i] = r.Message
	}
	err = sqlstore.SaveTx(ctx, tx, messages[0], messages[1:]...)
	if errors.Is(err, replaystore.ErrHandled) {
		return true, nil
	}
	return false, err
}

// byPlace returns the records of each channel, in the order of their first ones.
func byPlace(records []sink.Record) (all [][]sink.Record) {
	at := make(map[place]int)
	for _, r := range records {
		i, ok := at[placeOf(r)]
		if !ok {
			i = len(all)
			at[placeOf(r)], all = i, append(all, nil)
		}
		all[i] = append(all[i], r)
	}
	return all
}

// note says whether the records are in doubt.
func (s *Sink) note(records []sink.Record, doubt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range byPlace(records) {
		if p := placeOf(of[0]); doubt {
			s.doubt[p] = batch{first: of[0].ID, n: len(of)}
		} else {
			delete(s.doubt, p)
		}
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
