package sqlstore_test

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func newOrg(t *testing.T, opts ...sfstreamtest.Option) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t, opts...)
	must(t, org.DefineEvent(orders, `{"type":"record","name":"Order__e","fields":[{"name":"N__c","type":["null","double"],"default":null}]}`))
	return org
}

// publish publishes so many orders and returns their ids.
func publish(t *testing.T, org *sfstreamtest.Server, n int) (ids []string) {
	t.Helper()
	for i := range n {
		event, err := org.Publish(orders, map[string]any{"N__c": float64(i)})
		must(t, err)
		ids = append(ids, event.ID)
	}
	return ids
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestAStormLeavesOneRowPerEvent kills programs that write rows, and loses what is said of their
// commits: each order has one row afterwards, in their order.
func TestAStormLeavesOneRowPerEvent(t *testing.T) {
	for _, storm := range []struct {
		name, engine string
		batch        int
	}{{"one by one in PostgreSQL", "pgx", 1}, {"in batches in PostgreSQL", "pgx", 7}, {"one by one in SQLite", "sqlite", 1}} {
		t.Run(storm.name, func(t *testing.T) {
			t.Parallel()
			const events = 80
			s := newStorm(t, storm.engine)
			s.program.Batch = storm.batch
			want := publish(t, s.org, events)
			kills := 0
			for done := 0; done < events; kills++ {
				p := s.program.start(t)
				done = s.progress(t, min(events, done+1+rand.IntN(events/3)), p)
				p.kill()
			}
			s.expect(t, want)
			t.Logf("%d kills; commits lost: %s", kills, s.proxy)
			if p := s.proxy; storm.batch == 1 && p != nil && (p.requests.Load()+p.late.Load() == 0 || p.replies.Load() == 0) {
				t.Error("the network was too good")
			}
		})
	}
	t.Run("by a cluster in PostgreSQL", func(t *testing.T) {
		t.Parallel()
		clusterStorm(t)
	})
}

// clusterStorm has two replicas, of which the leader is killed.
func clusterStorm(t *testing.T) {
	const events, takeovers = 90, 2
	s := newStorm(t, "pgx")
	s.program.Lease = time.Second
	replicas := make(map[string]*process)
	start := func(name string) {
		p := s.program
		p.Name = name
		replicas[name] = p.start(t)
	}
	start("a")
	start("b")
	var want []string
	for i := range takeovers + 1 {
		want = append(want, publish(t, s.org, events/(takeovers+1))...)
		if i == takeovers {
			s.progress(t, len(want), replicas["a"], replicas["b"])
			break
		}
		s.progress(t, len(want)-events/10, replicas["a"], replicas["b"]) // it has more to do
		leader := s.owner(t)
		replicas[leader].kill()
		start(leader)
	}
	s.expect(t, want)
	t.Logf("commits lost: %s", s.proxy)
}

// owner is the name of the replica that has the channel.
func (s *storm) owner(t *testing.T) string {
	t.Helper()
	rows, err := s.db.Query("SELECT value FROM " + s.program.Table)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var value []byte
		must(t, rows.Scan(&value))
		var entry replaystore.Entry
		if entry.UnmarshalBinary(value) == nil && entry.Owner != "" {
			return entry.Owner
		}
	}
	t.Fatal("nobody has the channel")
	return ""
}

// storm is an org, a database with a table for rows, and the program between them.
type storm struct {
	org     *sfstreamtest.Server
	db      *sql.DB
	proxy   *proxy
	program program
}

func newStorm(t *testing.T, driver string) *storm {
	s := &storm{org: newOrg(t), program: program{Driver: driver, Batch: 1}}
	var r *register
	serial := "bigserial"
	if driver == "pgx" {
		s.proxy = newProxy(t, serve(t))
		s.proxy.lose.Store(true)
		s.db = openPostgres(t, serve(t))
		s.program.DSN = dsn(s.proxy.address())
		r = newRegister(t, s.db, sqlstore.NewPostgres)
	} else {
		serial = "integer"
		s.program.DSN = sqliteDSN(filepath.Join(t.TempDir(), "app.db"))
		var err error
		s.db, err = sql.Open("sqlite", s.program.DSN)
		must(t, err)
		t.Cleanup(func() { s.db.Close() })
		r = newRegister(t, s.db, sqlstore.NewSQLite)
	}
	s.program.Table = r.table
	s.program.LoginURL, s.program.Endpoint, s.program.Account = s.org.LoginURL(), s.org.PubSubEndpoint(), s.org.Account()
	_, err := s.db.Exec("CREATE TABLE " + r.table + "_rows (n " + serial + " PRIMARY KEY, id text NOT NULL)")
	must(t, err)
	return s
}

// rows are the ids of the rows, in the order in which they were written.
func (s *storm) rows(t *testing.T) (ids []string) {
	t.Helper()
	rows, err := s.db.Query("SELECT id FROM " + s.program.Table + "_rows ORDER BY n")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		must(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	must(t, rows.Err())
	return ids
}

// progress waits until there are so many rows, or all of the programs have ended.
func (s *storm) progress(t *testing.T, want int, programs ...*process) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var n int
		must(t, s.db.QueryRow("SELECT count(*) FROM "+s.program.Table+"_rows").Scan(&n))
		if n >= want || !slices.ContainsFunc(programs, func(p *process) bool { return !p.hasEnded() }) {
			return n
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rows of %d", n, want)
		}
	}
}

func (s *storm) expect(t *testing.T, want []string) {
	t.Helper()
	time.Sleep(150 * time.Millisecond) // the last late commit
	if got := s.rows(t); !slices.Equal(got, want) {
		n := make(map[string]int)
		for _, id := range got {
			n[id]++
		}
		t.Errorf("%d rows of %d different orders, want one of each of %d, in their order", len(got), len(n), len(want))
	}
}

// TestSaveTx proves what SaveTx says.
func TestSaveTx(t *testing.T) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			db, r := open(t)
			org := newOrg(t, sfstreamtest.InMemory())
			publish(t, org, 6)
			client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll),
				sfstream.WithReplayStore(replaystore.FromRegister(r.Register)), sfstream.WithAck(sfstream.AckManual))
			must(t, err)
			defer client.Close()
			must(t, client.Open(t.Context()))
			must(t, client.Subscribe(t.Context(), orders))
			receive := func() *sfstream.Message {
				msg, err := client.Receive(t.Context())
				must(t, err)
				return msg
			}
			save := func(commit bool, msg *sfstream.Message, following ...*sfstream.Message) error {
				tx, err := db.BeginTx(t.Context(), nil)
				must(t, err)
				defer func() { _ = tx.Rollback() }()
				if err := sqlstore.SaveTx(t.Context(), tx, msg, following...); err != nil || !commit {
					return err
				}
				return tx.Commit()
			}
			marker := func() string {
				m, err := replaystore.FromRegister(r.Register).Load(t.Context(), keyOf(t, client))
				must(t, err)
				return string(m.ReplayID)
			}

			first, second := receive(), receive()
			if err := save(true, second); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("a message out of turn: %v", err)
			}
			must(t, save(false, first)) // rolled back
			must(t, save(true, first))
			if marker() != string(first.ReplayID) {
				t.Error("the marker is not at the message")
			}
			if err := save(true, first); !errors.Is(err, replaystore.ErrHandled) {
				t.Errorf("a second time: %v", err)
			}
			first.Ack()
			second.Ack() // without a transaction
			third, fourth := receive(), receive()
			must(t, save(true, third, fourth))
			if err := save(true, third, fourth); !errors.Is(err, replaystore.ErrHandled) {
				t.Errorf("a second time: %v", err)
			}
			third.Ack()
			fourth.Ack()
			if marker() != string(fourth.ReplayID) {
				t.Error("the marker is not at the last message")
			}

			fifth := receive()
			must(t, r.Delete(t.Context(), keyText(t, client)))
			must(t, save(true, fifth)) // creates it again
			fifth.Ack()
			if marker() != string(fifth.ReplayID) {
				t.Error("the marker is not at the message")
			}
			must(t, client.Err())

			taken, sixth := replaystore.FromRegister(r.Register), receive()
			m, err := taken.Load(t.Context(), keyOf(t, client))
			must(t, err)
			must(t, taken.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyOf(t, client): m}))
			if err := save(true, sixth); !errors.Is(err, replaystore.ErrConflict) {
				t.Errorf("of another process: %v", err)
			}
			if !errors.Is(client.Err(), replaystore.ErrConflict) {
				t.Errorf("the client: %v", client.Err())
			}
		})
	}
}

func keyText(t *testing.T, client *sfstream.Client) string {
	t.Helper()
	text, err := keyOf(t, client).MarshalText()
	must(t, err)
	return string(text)
}

func keyOf(t *testing.T, client *sfstream.Client) replaystore.Key {
	t.Helper()
	key, err := client.Key(orders)
	must(t, err)
	return key
}

func TestSaveTxOfAnotherEngine(t *testing.T) {
	db := openSQLite(t)
	org := newOrg(t, sfstreamtest.InMemory())
	publish(t, org, 1)
	for name, store := range map[string]replaystore.Store{"a Memory": replaystore.NewMemory(), "another register": replaystore.FromRegister(new(replaystoretest.Register))} {
		client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayStore(store))
		must(t, err)
		defer client.Close()
		must(t, client.Open(t.Context()))
		must(t, client.Subscribe(t.Context(), orders))
		msg, err := client.Receive(t.Context())
		must(t, err)
		tx, err := db.Begin()
		must(t, err)
		if err := sqlstore.SaveTx(t.Context(), tx, msg); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Log(err)
		}
		must(t, tx.Rollback())
	}
}
