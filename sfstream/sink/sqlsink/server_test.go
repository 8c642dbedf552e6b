package sqlsink_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// server is the PostgreSQL of all tests, on loopback, in a directory of its own.
type server struct {
	dir     string
	address string
	process *exec.Cmd
}

var postgres struct {
	sync.Once
	*server
	err error
}

// serve returns the address of the server, which it starts where none runs. A person without
// PostgreSQL skips the test.
func serve(tb testing.TB) string {
	tb.Helper()
	postgres.Do(func() { postgres.server, postgres.err = startPostgres() })
	if errors.Is(postgres.err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		tb.Skip(postgres.err)
	}
	if postgres.err != nil {
		tb.Fatal(postgres.err)
	}
	return postgres.address
}

func startPostgres() (*server, error) {
	initdb, err := binary("initdb")
	if err != nil {
		return nil, err
	}
	program, err := binary("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sqlsink")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	as, err := unprivileged(dir)
	if err != nil {
		return s, err
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")
	init.SysProcAttr = as
	if out, err := init.CombinedOutput(); err != nil {
		return s, fmt.Errorf("initdb: %w: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	s.address = free.Addr().String()
	_ = free.Close()
	_, port, _ := net.SplitHostPort(s.address)
	// Nothing here crashes the machine.
	s.process = exec.Command(program, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=16MB", "-c", "logging_collector=off", "-c", "log_min_messages=fatal")
	s.process.SysProcAttr = as
	if err := s.process.Start(); err != nil {
		return s, err
	}
	db, err := sql.Open("pgx", dsn(s.address))
	if err != nil {
		return s, err
	}
	defer db.Close()
	for range 200 {
		if err = db.Ping(); err == nil {
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s, err
}

// binary finds a program of PostgreSQL, also where Debian puts it.
func binary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", fmt.Errorf("%s of PostgreSQL: %w", name, exec.ErrNotFound)
	}
	return found[len(found)-1], nil
}

// unprivileged gives dir to a user that PostgreSQL runs as: it refuses root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

func (s *server) stop() {
	if s.process != nil && s.process.Process != nil {
		_ = s.process.Process.Signal(syscall.SIGQUIT)
		_ = s.process.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

// dsn is of an address, which an application name may follow behind a slash.
func dsn(address string) string {
	address, name, _ := strings.Cut(address, "/")
	return "postgres://app@" + address + "/postgres?sslmode=disable&application_name=" + name
}

// openPostgres opens the server at an address, which may be that of a proxy.
func openPostgres(tb testing.TB, address string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("pgx", dsn(address))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

func openSQLite(tb testing.TB) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(filepath.Join(tb.TempDir(), "app.db")))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

// sqliteDSN has what the package's documentation asks for.
func sqliteDSN(path string) string {
	return "file:" + path + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
}
