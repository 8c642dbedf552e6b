package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Register is a [replaystore.Register] in a table of PostgreSQL or SQLite.
type Register struct {
	db         *sql.DB
	table      string
	statements statements
}

// statements are in the SQL of an engine. In each of them $1 is the key.
type statements struct {
	create  string
	read    string // returns whether the server may be behind, rev and value; these are NULL where there is no row
	insert  string // $2 is rev, $3 the value
	replace string // $4 is the rev that is expected
	lock    string // returns the value and anything, and lets nobody else change it until the transaction ends
	set     string // $2 is rev, $3 the value
}

var postgres = statements{
	create: `CREATE TABLE IF NOT EXISTS %s (key bytea PRIMARY KEY, rev text NOT NULL, value bytea NOT NULL)`,
	read:   `SELECT pg_is_in_recovery(), r.rev, r.value FROM (SELECT 1) one LEFT JOIN %s r ON r.key = $1`,
	insert: `INSERT INTO %s (key, rev, value) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING`,
	// Where another transaction has locked the row, the server waits for it and compares again.
	replace: `UPDATE %s SET rev = $2, value = $3 WHERE key = $1 AND rev = $4`,
	// A process that is stopped now, or cut off, would have the channel for as long as its connection
	// lives: the server ends the transaction, unless it has a limit already.
	lock: `SELECT value, CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' THEN
		set_config('idle_in_transaction_session_timeout', '5s', true) END FROM %s WHERE key = $1 FOR UPDATE`,
	set: `UPDATE %s SET rev = $2, value = $3 WHERE key = $1`,
}

var sqlite = statements{
	create:  `CREATE TABLE IF NOT EXISTS %s (key blob PRIMARY KEY, rev text NOT NULL, value blob NOT NULL)`,
	read:    `SELECT false, r.rev, r.value FROM (SELECT 1) one LEFT JOIN %s r ON r.key = $1`,
	insert:  postgres.insert,
	replace: postgres.replace,
	// One that reads first could not write if somebody else has since.
	lock: `UPDATE %s SET rev = rev WHERE key = $1 RETURNING value, NULL`,
	set:  postgres.set,
}

// Option is an option of [NewPostgres] and [NewSQLite].
type Option func(*Register) error

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

// WithTable names the table, "sfstream_register" by default: letters, digits and underscores, with
// the schema before a dot if one is given. Programs that follow the same channels independently
// need tables of their own, or keys with a prefix.
func WithTable(name string) Option {
	return func(r *Register) error {
		if !identifier.MatchString(name) {
			return fmt.Errorf("sqlstore: WithTable(%q): want letters, digits and underscores, as in sfstream_register or app.sfstream_register", name)
		}
		r.table = name
		return nil
	}
}

// NewPostgres returns a register in PostgreSQL, or in a server that understands its SQL. It does
// not ask the server anything. db stays the caller's to close.
func NewPostgres(db *sql.DB, opts ...Option) (*Register, error) {
	return newRegister(db, postgres, opts)
}

// NewSQLite returns a register in SQLite 3.35 or later. It does not open the file. db stays the
// caller's to close.
func NewSQLite(db *sql.DB, opts ...Option) (*Register, error) {
	return newRegister(db, sqlite, opts)
}

func newRegister(db *sql.DB, templates statements, opts []Option) (*Register, error) {
	if db == nil {
		return nil, errors.New("sqlstore: the database is nil")
	}
	r := &Register{db: db, table: "sfstream_register"}
	for _, opt := range opts {
		if err := opt(r); err != nil {
			return nil, err
		}
	}
	in := func(template string) string { return strings.Replace(template, "%s", r.table, 1) }
	r.statements = statements{
		create: in(templates.create), read: in(templates.read), insert: in(templates.insert),
		replace: in(templates.replace), lock: in(templates.lock), set: in(templates.set),
	}
	return r, nil
}

// CreateTable creates the table if it is not there. Several processes may call it at once.
func (r *Register) CreateTable(ctx context.Context) error {
	_, err := r.db.ExecContext(ctx, r.statements.create)
	if err == nil {
		return nil
	}
	// PostgreSQL fails where another process creates it at this moment, or where this one may not.
	if _, _, missing := r.Get(ctx, ""); missing == nil || errors.Is(missing, replaystore.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("sqlstore: creating the table %s: %w", r.table, err)
}

// Get implements [replaystore.Register]. A standby of PostgreSQL is an error.
func (r *Register) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	var behind bool
	var stored sql.NullString
	if err := r.db.QueryRowContext(ctx, r.statements.read, []byte(key)).Scan(&behind, &stored, &value); err != nil {
		return nil, "", r.failed("reading", key, err)
	}
	switch {
	case behind:
		return nil, "", r.failed("reading", key, errors.New("the server is a standby, which may be behind: connect to the primary (target_session_attrs=read-write)"))
	case !stored.Valid:
		return nil, "", replaystore.ErrNotFound
	}
	return value, stored.String, nil
}

// Put implements [replaystore.Register]. A revision is random text, new for each Put, so that none
// comes again, also where rows or the table were deleted.
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	newRev = rand.Text()
	args := []any{[]byte(key), newRev, blob(value)}
	statement := r.statements.insert
	if rev != "" {
		statement, args = r.statements.replace, append(args, rev)
	}
	result, err := r.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return "", r.failed("writing", key, err)
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return "", r.failed("writing", key, err)
	case n == 0:
		return "", replaystore.ErrConflict
	}
	return newRev, nil
}

// blob is a value that drivers do not take for NULL.
func blob(value []byte) []byte { return append([]byte{}, value...) }

func (r *Register) failed(doing, key string, err error) error {
	return fmt.Errorf("sqlstore: %s key %q in table %s: %w", doing, key, r.table, err)
}
