package replaystore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

// JSONFile is a store that a program brings along: a small JSON file, written anew by each Save.
type JSONFile struct {
	path string
	mu   sync.Mutex // there is one consumer per key, but many keys in the file
}

func (s *JSONFile) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.read(ctx)
	if err != nil {
		return replaystore.Marker{}, err
	}
	marker, ok := all[key.Canonical()]
	if !ok {
		return marker, replaystore.ErrNotFound
	}
	return marker, nil
}

func (s *JSONFile) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.read(ctx)
	if err != nil {
		return err
	}
	for key, marker := range markers {
		all[key.Canonical()] = marker
	}
	return s.replace(all)
}

func (s *JSONFile) read(ctx context.Context) (map[replaystore.Key]replaystore.Marker, error) {
	all := make(map[replaystore.Key]replaystore.Marker)
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, ctx.Err()
	}
	return all, errors.Join(ctx.Err(), err, json.Unmarshal(data, &all))
}

// replace leaves the old file or the new one, whole, whenever the machine stops.
func (s *JSONFile) replace(all map[replaystore.Key]replaystore.Marker) error {
	f, err := os.Create(s.path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(json.NewEncoder(f).Encode(all), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

// A program can bring its own store, here one in a JSON file: two methods, and two more to read and
// replace the file.
func ExampleStore() {
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	var store replaystore.Store = &JSONFile{path: filepath.Join(dir, "replay.json")}
	key := replaystore.Key{OrgID: "00D000000000062", API: "cometd", Channel: "/topic/Accounts?Country='DE'"}
	if err := store.Save(context.Background(), map[replaystore.Key]replaystore.Marker{key: {ReplayID: []byte("17")}}); err != nil {
		fmt.Println(err)
		return
	}
	marker, err := store.Load(context.Background(), key.Canonical())
	fmt.Printf("%s %v\n", marker.ReplayID, err)
	// Output: 17 <nil>
}

func TestJSONFileOfTheExample(t *testing.T) {
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store {
		return &JSONFile{path: filepath.Join(t.TempDir(), "replay.json")}
	})
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		return &JSONFile{path: filepath.Join(place, "replay.json")}
	})
}

// All shows what is stored, for people and tools.
func ExampleBolt_All() {
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := replaystore.OpenBolt(filepath.Join(dir, "replay.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	ctx := context.Background()
	old := replaystore.Key{OrgID: "00D000000000062EAA", API: "cometd", Channel: "/u/Old"}
	if err := store.Save(ctx, map[replaystore.Key]replaystore.Marker{old: {ReplayID: []byte("17")}}); err != nil {
		fmt.Println(err)
		return
	}
	all, err := store.All(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, marker := range all {
		fmt.Printf("%s %s %s\n", key.API, key.Channel, marker.ReplayID)
	}
	// Output: cometd /u/Old 17
}
