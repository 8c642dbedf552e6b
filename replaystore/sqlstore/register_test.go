package sqlstore_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		replaystoretest.RunRegister(t, func(t *testing.T) replaystore.Register {
			p := newProxy(t, serve(t))
			return struct {
				*register
				*proxy
			}{newRegister(t, openPostgres(t, p.address()), sqlstore.NewPostgres), p}
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		replaystoretest.RunRegister(t, func(t *testing.T) replaystore.Register {
			return newRegister(t, openSQLite(t), sqlstore.NewSQLite)
		})
	})
}

func TestATableIsMadeByAllAtOnce(t *testing.T) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			db, r := open(t)
			if _, err := db.Exec("DROP TABLE " + r.table); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.Get(t.Context(), "key"); err == nil || errors.Is(err, replaystore.ErrNotFound) {
				t.Errorf("without a table: %v", err)
			}
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if err := r.CreateTable(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if _, _, err := r.Get(t.Context(), "key"); !errors.Is(err, replaystore.ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

func TestTableNames(t *testing.T) {
	db := openSQLite(t)
	for name, ok := range map[string]bool{
		"markers": true, "main.markers": true, "_M1": true,
		"": false, "a b": false, "a;b": false, "1a": false, "a.b.c": false, "a-b": false, `"a"`: false, strings.Repeat("a", 64): false,
	} {
		if _, err := sqlstore.NewSQLite(db, sqlstore.WithTable(name)); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := sqlstore.NewPostgres(nil); err == nil {
		t.Error("a register without a database")
	}
}
