package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// follow starts a client of its own, as a process is one.
func follow(t *testing.T, org *sfstreamtest.Server, r *register) *sfstream.Client {
	t.Helper()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll),
		sfstream.WithReplayStore(replaystore.FromRegister(r.Register)), sfstream.WithAck(sfstream.AckManual))
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	must(t, client.Open(t.Context()))
	must(t, client.Subscribe(t.Context(), orders))
	return client
}

// begin begins a transaction of the next message, and does not end it.
func begin(t *testing.T, db *sql.DB, client *sfstream.Client) (*sql.Tx, *sfstream.Message) {
	t.Helper()
	msg, err := client.Receive(t.Context())
	must(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	must(t, sqlstore.SaveTx(t.Context(), tx, msg))
	return tx, msg
}

// afterOne starts a client whose first order has its transaction, and whose second one waits.
func afterOne(t *testing.T, db *sql.DB, r *register) (client *sfstream.Client, first *sfstream.Message) {
	t.Helper()
	org := newOrg(t, sfstreamtest.InMemory())
	publish(t, org, 2)
	client = follow(t, org, r)
	tx, first := begin(t, db, client)
	must(t, tx.Commit())
	first.Ack()
	return client, first
}

// TestATransactionThatIsLeftAloneEnds is about a process that is stopped, or cut off, between SaveTx
// and Commit: another one takes the channel, and what the first one has written is not there.
func TestATransactionThatIsLeftAloneEnds(t *testing.T) {
	t.Parallel()
	db, r := engines["PostgreSQL"](t)
	client, first := afterOne(t, db, r)
	stopped, _ := begin(t, db, client)
	var limit string
	must(t, db.QueryRow("SHOW idle_in_transaction_session_timeout").Scan(&limit))
	if limit != "0" {
		t.Errorf("the limit of other transactions is %s", limit)
	}

	successor := replaystore.FromRegister(r.Register)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began, key := time.Now(), keyOf(t, client)
	for err := replaystore.ErrConflict; errors.Is(err, replaystore.ErrConflict); { // a Save of the first one may come before it
		m, failed := successor.Load(ctx, key)
		must(t, failed)
		if err = successor.Save(ctx, map[replaystore.Key]replaystore.Marker{key: m}); err != nil && !errors.Is(err, replaystore.ErrConflict) {
			t.Fatalf("nobody takes the channel: %v", err)
		}
	}
	t.Logf("taken after %v", time.Since(began))
	if err := stopped.Commit(); err == nil {
		t.Error("it was committed after all")
	}
	m, err := successor.Load(ctx, key)
	must(t, err)
	if string(m.ReplayID) != string(first.ReplayID) {
		t.Error("the marker has moved")
	}
}

// TestALimitOfTheProgramStays is about a program with long transactions.
func TestALimitOfTheProgramStays(t *testing.T) {
	db, r := engines["PostgreSQL"](t)
	client, _ := afterOne(t, db, r)
	second, err := client.Receive(t.Context())
	must(t, err)
	for set, want := range map[string]string{"0": "5s", "1h": "1h"} {
		tx, err := db.Begin()
		must(t, err)
		_, err = tx.Exec("SET LOCAL idle_in_transaction_session_timeout = '" + set + "'")
		must(t, err)
		must(t, sqlstore.SaveTx(t.Context(), tx, second))
		var got string
		must(t, tx.QueryRow("SHOW idle_in_transaction_session_timeout").Scan(&got))
		if got != want {
			t.Errorf("of %s SaveTx makes %s, want %s", set, got, want)
		}
		must(t, tx.Rollback())
	}
}

// TestALateCommitEndsTheSuccessor is about a process that was killed while it committed, and whose
// successor has loaded the marker already.
func TestALateCommitEndsTheSuccessor(t *testing.T) {
	db, r := engines["PostgreSQL"](t)
	org := newOrg(t, sfstreamtest.InMemory())
	ids := publish(t, org, 2)
	late, _ := begin(t, db, follow(t, org, r))
	client := follow(t, org, r)
	msg, err := client.Receive(t.Context())
	must(t, err)
	if msg.ID != ids[0] {
		t.Fatal("it has not got the first order")
	}
	must(t, late.Commit())
	tx, err := db.Begin()
	must(t, err)
	if err := sqlstore.SaveTx(t.Context(), tx, msg); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("SaveTx: %v", err)
	}
	must(t, tx.Rollback())
	if !errors.Is(client.Err(), replaystore.ErrConflict) {
		t.Errorf("the client: %v", client.Err())
	}
	if msg, err = follow(t, org, r).Receive(t.Context()); err != nil || msg.ID != ids[1] {
		t.Errorf("after a start it does not go on with the second order: %v", err)
	}
}

// TestRowsThatAFailoverHasLostAreMadeAgain is about a replica that was behind when it became the
// primary: the last transactions are not there, neither rows nor markers.
func TestRowsThatAFailoverHasLostAreMadeAgain(t *testing.T) {
	for _, engine := range []string{"PostgreSQL", "SQLite"} {
		t.Run(engine, func(t *testing.T) {
			db, r := engines[engine](t)
			org := newOrg(t, sfstreamtest.InMemory())
			ids := publish(t, org, 4)
			client := follow(t, org, r)
			var rev, value []byte
			for i := range 3 {
				tx, msg := begin(t, db, client)
				must(t, tx.Commit())
				msg.Ack()
				if i == 0 {
					must(t, db.QueryRow("SELECT rev, value FROM "+r.table).Scan(&rev, &value))
				}
			}
			_, err := db.Exec("UPDATE "+r.table+" SET rev = $1, value = $2", rev, value)
			must(t, err)

			msg, err := client.Receive(t.Context())
			must(t, err)
			tx, err := db.BeginTx(t.Context(), nil)
			must(t, err)
			if err := sqlstore.SaveTx(t.Context(), tx, msg); !errors.Is(err, replaystore.ErrConflict) {
				t.Errorf("SaveTx: %v", err)
			}
			must(t, tx.Rollback())
			if err := client.Err(); !errors.Is(err, replaystore.ErrConflict) {
				t.Errorf("the client: %v", err)
			}
			successor := follow(t, org, r)
			for _, id := range ids[1:] {
				if msg, err := successor.Receive(t.Context()); err != nil || msg.ID != id {
					t.Errorf("got %v, %v; want %s", msg, err, id)
				}
			}
		})
	}
}
