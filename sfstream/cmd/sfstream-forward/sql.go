package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream/sink"
	"github.com/sfstream/sfstream-go/sfstream/sink/sqlsink"
)

// openPostgres opens the database of postgres://user@host:port,host:port/database, with the parameters
// of libpq but table.
func openPostgres(a address) (db *sql.DB, table string, err error) {
	if len(a.hosts) == 0 || a.path == "" {
		return nil, "", mistaken("-%s: want postgres://host:port/database", a.name)
	}
	query := url.Values{"application_name": {"sfstream-forward"}, "connect_timeout": {fmt.Sprint(int(dialTimeout.Seconds()))}}
	for name, values := range a.query {
		query[name] = values
	}
	table = query.Get("table")
	query.Del("table")
	user := url.User(a.user)
	if a.password != "" {
		user = url.UserPassword(a.user, a.password)
	}
	at := ""
	if a.user != "" {
		at = user.String() + "@"
	}
	db, err = sql.Open("pgx", "postgres://"+at+strings.Join(a.withPorts("5432"), ",")+"/"+a.path+"?"+query.Encode())
	if err != nil {
		return nil, "", mistaken("-%s: the URL is none that PostgreSQL knows", a.name) // its own error has the password
	}
	return db, table, nil
}

func openPostgresRegister(ctx context.Context, a address, _ *proxy) (none opened[replaystore.Register], err error) {
	db, table, err := openPostgres(a)
	if err != nil {
		return none, err
	}
	var options []sqlstore.Option
	if table != "" {
		options = append(options, sqlstore.WithTable(table))
	}
	register, err := sqlstore.NewPostgres(db, options...)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		err = register.CreateTable(ctx)
	}
	if err != nil {
		return none, errors.Join(fmt.Errorf("-register %s: %w", a, err), db.Close())
	}
	return opened[replaystore.Register]{register, asks(register), db.Close}, nil
}

// openPostgresSink puts rows into an outbox, in one transaction with the marker, which therefore must
// be in the same database.
func openPostgresSink(ctx context.Context, a address, p *proxy) (none opened[sink.Sink], err error) {
	switch {
	case p.shared.scheme != "postgres" || p.shared.path != a.path || !slices.Equal(p.shared.hosts, a.hosts):
		return none, mistaken("-sink: postgres:// commits rows and marker together: name the same database by -register")
	case p.lanes != 1:
		return none, mistaken("-sink: postgres:// has one marker for each channel, and so -lanes 1")
	}
	db, table, err := openPostgres(a)
	if err != nil {
		return none, err
	}
	var options []sqlsink.Option
	if table != "" {
		options = append(options, sqlsink.WithTable(table))
	}
	outbox, err := sqlsink.NewPostgres(db, options...)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		err = outbox.CreateTable(ctx)
	}
	if err != nil {
		return none, errors.Join(fmt.Errorf("-sink %s: %w", a, err), db.Close())
	}
	return opened[sink.Sink]{outbox, db.PingContext, db.Close}, nil
}
