package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	store, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestTheContract(t *testing.T) {
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store {
		return open(t, filepath.Join(t.TempDir(), "replay.json"))
	})
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		return open(t, filepath.Join(place, "replay.json"))
	})
}

var key = replaystore.Key{OrgID: "00D000000000062EAA", API: "pubsub", Channel: "/event/Order__e"}

func save(t *testing.T, store *Store, id string) {
	t.Helper()
	if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {ReplayID: []byte(id)}}); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, store *Store, id string) {
	t.Helper()
	if marker, err := store.Load(t.Context(), key); err != nil || string(marker.ReplayID) != id {
		t.Errorf("the marker is %q (%v), want %q", marker.ReplayID, err, id)
	}
}

// A process that stopped between the write and the rename, or in the middle of the write, has left
// a next file.
func TestWhatACrashLeavesBehindDoesNoHarm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.json")
	save(t, open(t, path), "1")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range [][]byte{nil, whole[:len(whole)/2], bytes.Repeat(whole, 9), bytes.ReplaceAll(whole, []byte("pubsub"), []byte("cometd"))} {
		save(t, open(t, path), "1")
		if err := os.WriteFile(path+".next", left, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, open(t, path), "1")
		save(t, open(t, path), "2")
		expect(t, open(t, path), "2")
		if _, err := os.Stat(path + ".next"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the next file is still there (%v)", err)
		}
	}
}

func TestASaveThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.json")
	store := open(t, path)
	save(t, store, "1")
	if err := os.Mkdir(path+".next", 0o700); err != nil { // which nobody can write to
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {ReplayID: []byte("2")}}); err == nil {
		t.Fatal("it has saved")
	}
	expect(t, store, "1")
	expect(t, open(t, path), "1")
	if err := os.Remove(path + ".next"); err != nil {
		t.Fatal(err)
	}
	save(t, store, "3")
	expect(t, open(t, path), "3")
}

func TestAFileThatCannotBeReadIsNoEmptyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.json")
	for _, text := range []string{"", "{", "[]", `{"no key": {}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if store, err := OpenStore(path); err == nil {
			t.Errorf("%q was read as %v", text, store.markers)
		}
	}
	if _, err := OpenStore(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	if err := os.WriteFile(path, []byte(`{"00D000000000062EAA/pubsub//event/Order__e": "no marker"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path).Load(t.Context(), key); err == nil || errors.Is(err, replaystore.ErrNotFound) {
		t.Errorf("a marker that cannot be read: %v", err)
	}
}

func TestOthersCannotReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.json")
	save(t, open(t, path), "1")
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("%v (%v)", info, err)
	}
}
