package replaystore_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sfstream/sfstream-go/replaystore"
)

func TestBoltFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file modes")
	}
	path := newPath(t)
	openBolt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestBoltKeepsTimesToTheNanosecond(t *testing.T) {
	store := openBolt(t, newPath(t))
	want := replaystore.Marker{Date: time.Unix(1, 1), Live: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)}
	if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyA: want}); err != nil {
		t.Fatal(err)
	}
	got, err := store.Load(t.Context(), keyA)
	if err != nil || !got.Date.Equal(want.Date) || !got.Live.Equal(want.Live) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestBoltStoresAllOrNothing(t *testing.T) {
	store := openBolt(t, newPath(t))
	tooLong := replaystore.Key{Channel: "/u/" + strings.Repeat("x", 40_000)}
	batch := map[replaystore.Key]replaystore.Marker{tooLong: {}}
	for i := range 20 { // in any order of the map some of them come before it
		batch[replaystore.Key{Channel: strconv.Itoa(i)}] = replaystore.Marker{}
	}
	if err := store.Save(t.Context(), batch); err == nil {
		t.Fatal("saved a key that is too long")
	}
	all, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range all {
		t.Fatalf("%+v was saved", key)
	}
	mustSave(t, store, keyA, "1")
}

func TestBoltIsClosed(t *testing.T) {
	path := newPath(t)
	store := openBolt(t, path)
	mustSave(t, store, keyA, "1")
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, errLoad := store.Load(t.Context(), keyA)
	_, errAll := store.All(t.Context())
	for name, err := range map[string]error{
		"Load":               errLoad,
		"All":                errAll,
		"Save":               store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyA: {}}),
		"Save without a key": store.Save(t.Context(), nil),
		"Delete":             store.Delete(t.Context(), keyA),
	} {
		if !errors.Is(err, replaystore.ErrClosed) {
			t.Errorf("%s: %v; want ErrClosed", name, err)
		}
	}
	if got := mustLoad(t, openBolt(t, path), keyA); got != "1" {
		t.Fatalf("loaded %q", got)
	}
}

func TestBoltMayBeClosedInTheLoopOverAll(t *testing.T) {
	store := openBolt(t, newPath(t))
	mustSave(t, store, keyA, "1")
	mustSave(t, store, keyB, "2")
	all, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range all {
		n++
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n != 2 {
		t.Fatalf("%d markers", n)
	}
}

func TestBoltOpenTwiceInOneProcessIsLocked(t *testing.T) {
	path := newPath(t)
	first := openBolt(t, path)
	mustSave(t, first, keyA, "1")
	expectLocked(t, path)
	expectLocked(t, path, replaystore.WithLockTimeout(0))
	expectLocked(t, path, replaystore.WithLockTimeout(-time.Hour))
	mustSave(t, first, keyA, "2")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := mustLoad(t, openBolt(t, path, replaystore.WithLockTimeout(0)), keyA); got != "2" {
		t.Fatalf("loaded %q", got)
	}
}

func TestBoltOpenInAnotherProcessIsLocked(t *testing.T) {
	path := newPath(t)
	cmd, stdin, lines := child(t, "hold", path)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the child said %q", lines.Text())
	}
	expectLocked(t, path)
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	openBolt(t, path, replaystore.WithLockTimeout(0))
}

func TestBoltWaitsForTheLockTimeout(t *testing.T) {
	path := newPath(t)
	cmd, stdin, lines := child(t, "hold", path)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the child said %q", lines.Text())
	}
	released := make(chan struct{})
	go func() { // it ends with the child
		defer close(released)
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	openBolt(t, path, replaystore.WithLockTimeout(time.Minute))
	<-released
}

func expectLocked(t *testing.T, path string, opts ...replaystore.BoltOption) {
	t.Helper()
	start := time.Now()
	store, err := replaystore.OpenBolt(path, opts...)
	if err == nil {
		_ = store.Close()
	}
	if !errors.Is(err, replaystore.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Fatalf("OpenBolt: %v; want ErrLocked with the path", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Fatalf("it took %v", took)
	}
}

func TestBoltNeedsItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	_, err := replaystore.OpenBolt(filepath.Join(dir, "replay.db"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "directory") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("OpenBolt: %v; want one that names %s", err, dir)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the directory was made: %v", err)
	}
}

func TestBoltTakesAnEmptyFileAsNew(t *testing.T) {
	path := newPath(t)
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	mustSave(t, openBolt(t, path), keyA, "1")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 == 0 && runtime.GOOS != "windows" {
		t.Fatalf("mode %v, %v; want the one it had", info.Mode(), err)
	}
}

func TestBoltTakesADatabaseWithoutBucketsAsNew(t *testing.T) {
	path := newPath(t)
	alter(t, path, func(*bbolt.Tx) error { return nil })
	mustSave(t, openBolt(t, path), keyA, "1")
}

func TestBoltNamesTheKeyOfARecordItCannotRead(t *testing.T) {
	path := newPath(t)
	store := openBolt(t, path)
	mustSave(t, store, keyA, "1")
	mustSave(t, store, keyB, "2")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	text, _ := keyA.MarshalText()
	alter(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("sfstream.markers")).Put(text, []byte{9, 9, 9})
	})

	store = openBolt(t, path)
	_, errLoad := store.Load(t.Context(), keyA)
	_, errAll := store.All(t.Context())
	for _, err := range []error{errLoad, errAll} {
		if err == nil || errors.Is(err, replaystore.ErrNotFound) || !strings.Contains(err.Error(), keyA.Channel) || !strings.Contains(err.Error(), "version 9") {
			t.Errorf("error %v; want one that names the key and the version", err)
		}
	}
	if got := mustLoad(t, store, keyB); got != "2" {
		t.Errorf("the other key has %q", got)
	}
	mustSave(t, store, keyA, "3")
	if got := mustLoad(t, store, keyA); got != "3" {
		t.Errorf("after Save it has %q", got)
	}
}

func TestBoltWaitingForItsTurnEndsWithCtx(t *testing.T) {
	store := openBolt(t, newPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var canceled atomic.Int32
	for range 50 {
		wg.Go(func() {
			err := store.Save(ctx, map[replaystore.Key]replaystore.Marker{keyA: {}})
			cancel() // the other calls are waiting now
			if errors.Is(err, context.Canceled) {
				canceled.Add(1)
			} else if err != nil {
				t.Errorf("Save: %v", err)
			}
		})
	}
	wg.Wait()
	if canceled.Load() == 0 {
		t.Error("all waited to the end")
	}
	mustSave(t, store, keyA, "1")
}

// The crash in this test is a SIGKILL: what the process was told to be saved must be in the file.
// (That the disk has it too is fsync's promise, which no test in a process can break.)
func TestBoltSurvivesKill(t *testing.T) {
	path := newPath(t)
	saved := 0
	for range 3 {
		cmd, _, lines := child(t, "save", path)
		for range 20 {
			lines.Scan()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		saved = lastNumber(t, lines)
		_ = cmd.Wait()

		store := openBolt(t, path)
		a, b := mustLoad(t, store, keyA), mustLoad(t, store, keyB)
		if n, err := strconv.Atoi(a); err != nil || n < saved || a != b {
			t.Fatalf("the child had saved %d; the file has %q and %q, %v", saved, a, b, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// lastNumber reads the rest of what a killed child printed, and returns the last number in it.
func lastNumber(t *testing.T, lines *bufio.Scanner) (n int) {
	t.Helper()
	for last := lines.Text(); ; last = lines.Text() {
		var err error
		if n, err = strconv.Atoi(last); err != nil {
			t.Fatalf("the child said %q", last)
		}
		if !lines.Scan() {
			return n
		}
	}
}

// alter changes a database behind the back of the store.
func alter(t testing.TB, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}
