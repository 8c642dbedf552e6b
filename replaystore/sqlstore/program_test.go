package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const orders = "/event/Order__e"

// program is what a team writes: a row for each order, and nothing that tells two rows of one order
// apart.
type program struct {
	Driver, DSN, Table string
	Batch              int           // how many orders a transaction has at most
	Lease              time.Duration // of a replica of a cluster; zero: it is alone
	Name               string        // of the replica

	LoginURL, Endpoint string
	Account            sfstreamtest.Account

	db *sql.DB
}

func (p *program) run() (err error) {
	if p.db, err = sql.Open(p.Driver, p.DSN); err != nil {
		return err
	}
	open := sqlstore.NewPostgres
	if p.Driver == "sqlite" {
		open = sqlstore.NewSQLite
	}
	register, err := open(p.db, sqlstore.WithTable(p.Table))
	if err != nil {
		return err
	}
	ctx := context.Background()
	if p.Lease > 0 {
		replica, err := cluster.New(p.client, []string{orders}, register, cluster.WithName(p.Name), cluster.WithLease(p.Lease))
		if err != nil {
			return err
		}
		return replica.Run(ctx, p.handle, again)
	}
	client, err := p.client(sfstream.WithReplayStore(replaystore.FromRegister(register)))
	if err != nil {
		return err
	}
	if err := client.Open(ctx); err != nil {
		return err
	}
	if err := client.Subscribe(ctx, orders); err != nil {
		return err
	}
	if p.Batch > 1 {
		return p.batches(ctx, client)
	}
	return client.Run(ctx, p.handle, again)
}

func (p *program) client(opts ...sfstream.Option) (*sfstream.Client, error) {
	ack := sfstream.AckAuto
	if p.Batch > 1 {
		ack = sfstream.AckManual
	}
	return sfstream.New(authenticator.Password{
		ConsumerKey: p.Account.ConsumerKey, ConsumerSecret: p.Account.ConsumerSecret,
		Username: p.Account.Username, Password: p.Account.Password, SecurityToken: p.Account.SecurityToken,
	}, append(opts, sfstream.WithLoginURL(p.LoginURL), sfstream.WithPubSubEndpoint(p.Endpoint), sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithAck(ack))...)
}

// again lets a transaction of which nobody knows whether it happened be made again.
var again = sfstream.OnError(sfstream.Retry(func() backoff.BackOff { return backoff.NewConstantBackOff(10 * time.Millisecond) }))

func (p *program) handle(ctx context.Context, msg *sfstream.Message) error {
	return p.commit(ctx, []*sfstream.Message{msg})
}

// commit writes rows and marker.
func (p *program) commit(ctx context.Context, messages []*sfstream.Message) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, msg := range messages {
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+p.Table+"_rows (id) VALUES ($1)", msg.ID); err != nil {
			return err
		}
	}
	switch err := sqlstore.SaveTx(ctx, tx, messages[0], messages[1:]...); {
	case errors.Is(err, replaystore.ErrHandled):
		return nil
	case err != nil:
		return err
	}
	return tx.Commit()
}

// batches has several orders in a transaction.
func (p *program) batches(ctx context.Context, client *sfstream.Client) error {
	for {
		msg, err := client.Receive(ctx)
		if err != nil {
			return err
		}
		batch := []*sfstream.Message{msg}
		for len(batch) < p.Batch && client.Pending() > 0 {
			if msg, err = client.Receive(ctx); err != nil {
				return err
			}
			batch = append(batch, msg)
		}
		for p.commit(ctx, batch) != nil {
			if err := client.Err(); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, msg := range batch {
			msg.Ack()
		}
	}
}
