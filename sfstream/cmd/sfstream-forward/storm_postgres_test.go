package main

import (
	"context"
	"database/sql"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore/sqlstore"
)

// startPostgres starts a server on a free port, and returns its address when it answers. It does not
// run as root.
func startPostgres(t *testing.T) (address string, db *sql.DB) {
	t.Helper()
	debian := ""
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin"); len(found) > 0 {
		debian = found[len(found)-1]
	}
	initdb, program := engineBinary(t, "initdb", debian), engineBinary(t, "postgres", debian)
	dir, err := os.MkdirTemp("", "forward")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var as *syscall.SysProcAttr
	if os.Getuid() == 0 {
		who, err := user.Lookup("postgres")
		if err != nil {
			if who, err = user.Lookup("nobody"); err != nil {
				t.Fatal(err)
			}
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")
	init.SysProcAttr, init.Dir = as, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	address = freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(program, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "logging_collector=off", "-c", "log_min_messages=fatal") // nothing here crashes the machine
	server.SysProcAttr, server.Dir = as, dir
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
	})
	if db, err = sql.Open("pgx", "postgres://app@"+address+"/postgres?sslmode=disable"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for deadline := time.Now().Add(20 * time.Second); db.Ping() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("postgres does not answer")
		}
	}
	return address, db
}

// The rows and the marker are in one transaction: there are no copies.
func TestStormOnPostgres(t *testing.T) {
	if !*stormAll {
		t.Skip("NATS has the storm of the gate: say -storm.all")
	}
	address, db := startPostgres(t)
	register, err := sqlstore.NewPostgres(db)
	if err == nil {
		err = register.CreateTable(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	url := func(address string) string { return "postgres://app@" + address + "/postgres?sslmode=disable" }
	copies := runStorm(t, stormEngine{
		address: address, shared: register, register: url, sink: url, oneGate: true,
		follow: func(ctx context.Context, entry func(text []byte)) error {
			// A row with a smaller n may be committed later, but not of the same channel.
			seen := make(map[int64]bool)
			for ctx.Err() == nil {
				rows, err := db.QueryContext(ctx, "SELECT n, value FROM sfstream_outbox WHERE n > $1 ORDER BY n", int64(len(seen)-1000))
				if err != nil {
					time.Sleep(50 * time.Millisecond) // the table is not there yet
					continue
				}
				for rows.Next() {
					var n int64
					var value []byte
					if err := rows.Scan(&n, &value); err != nil {
						return err
					}
					if !seen[n] {
						seen[n] = true
						entry(value)
					}
				}
				if err := rows.Close(); err != nil {
					return err
				}
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		},
	})
	if copies > 0 {
		t.Errorf("%d events have more than one row", copies)
	}
}
