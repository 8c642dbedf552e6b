package replaystore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// If a file has lost its name, nobody will find the markers that are written to it: each call says
// so. If another Bolt has the name, only that one works.
func TestBoltWhoseFileIsGoneSavesNothing(t *testing.T) {
	elsewhere := func(path string) string { return path + ".bak" }
	for words, away := range map[string]func(path string) error{
		"deleted": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, elsewhere(path)) },
		"replaced": func(path string) error {
			if err := os.WriteFile(elsewhere(path), nil, 0o600); err != nil {
				return err
			}
			return os.Rename(elsewhere(path), path)
		},
	} {
		t.Run(words, func(t *testing.T) {
			path := newPath(t)
			first := openBolt(t, path)
			mustSave(t, first, keyA, "1")
			if err := away(path); err != nil {
				t.Skip("this system does not allow it")
			}
			expectOutOfPlace(t, first, path)

			second := openBolt(t, path)
			expectOutOfPlace(t, first, path)
			mustSave(t, second, keyA, "2")
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if got := mustLoad(t, second, keyA); got != "2" {
				t.Fatalf("loaded %q", got)
			}
		})
	}
}

// The file that is put back counts, even if another one had its name meanwhile.
func TestBoltWhoseFileIsPutBackGoesOn(t *testing.T) {
	path := newPath(t)
	first := openBolt(t, path)
	mustSave(t, first, keyA, "1")
	if err := os.Rename(path, path+".bak"); err != nil {
		t.Skip("this system does not allow it")
	}
	second := openBolt(t, path)
	mustSave(t, second, keyA, "2")
	if err := os.Rename(path+".bak", path); err != nil {
		t.Fatal(err)
	}
	expectOutOfPlace(t, second, path)
	mustSave(t, first, keyA, "3")
	if got := mustLoad(t, first, keyA); got != "3" {
		t.Fatalf("loaded %q", got)
	}
}

// If a file was renamed while OpenBolt waited for its lock, that lock is worth nothing: another
// file has the name.
func TestBoltDoesNotOpenAFileThatWasRenamedMeanwhile(t *testing.T) {
	path := newPath(t)
	first := openBolt(t, path)
	opened := make(chan error, 1)
	go func() { // it ends when it gets the lock
		store, err := replaystore.OpenBolt(path, replaystore.WithLockTimeout(time.Minute))
		if err == nil {
			_ = store.Close()
		}
		opened <- err
	}()
	time.Sleep(200 * time.Millisecond) // by now it mostly has the file open, and only then does the test prove anything
	if err := os.Rename(path, path+".bak"); err != nil {
		t.Skip("this system does not allow it")
	}
	second := openBolt(t, path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("OpenBolt: %v; want an error with the path", err)
		}
	case <-time.After(100 * time.Millisecond): // it waits for the lock of the second one
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		<-opened
		return
	}
	mustSave(t, second, keyA, "1")
}

// A program may change its working directory.
func TestBoltOfARelativePathMayBeLeftBehind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	store := openBolt(t, "replay.db")
	t.Chdir(filepath.Dir(dir))
	mustSave(t, store, keyA, "1")
}

func expectOutOfPlace(t *testing.T, store *replaystore.Bolt, path string) {
	t.Helper()
	_, loading := store.Load(t.Context(), keyA)
	_, listing := store.All(t.Context())
	for words, err := range map[string]error{
		"Save":         store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyA: {ReplayID: []byte("9")}}),
		"Save nothing": store.Save(t.Context(), nil),
		"Load":         loading,
		"All":          listing,
		"Delete":       store.Delete(t.Context(), keyA),
	} {
		if err == nil || errors.Is(err, replaystore.ErrNotFound) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "while it was in use") {
			t.Errorf("%s: %v; want an error that says what has become of %s", words, err, path)
		}
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !errors.Is(loading, fs.ErrNotExist) {
		t.Errorf("Load: %v; want fs.ErrNotExist within", loading)
	}
}
