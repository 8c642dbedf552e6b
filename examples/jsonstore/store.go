package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/sfstream/sfstream-go/replaystore"
)

// A Store is a [replaystore.Store] in a JSON file, which each Save replaces by a new one. It is made
// by [OpenStore]. One Store has a file to itself: nothing tells it what another process writes
// there. ([replaystore.OpenBolt] locks its file.)
type Store struct {
	path string

	mu      sync.Mutex                          // held while the file is written: what a Load returns is durable
	markers map[replaystore.Key]json.RawMessage // what the file has
}

// OpenStore opens a file, or a store without markers if there is no file yet. Any other file that
// cannot be read is an error: as an empty store it would let a program begin anew, and miss events.
func OpenStore(path string) (*Store, error) {
	s := &Store{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.markers)
	}
	if err != nil {
		return nil, fmt.Errorf("the replay markers in %s: %w", path, err)
	}
	return s, nil
}

// Load implements [replaystore.Store].
func (s *Store) Load(ctx context.Context, key replaystore.Key) (marker replaystore.Marker, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return marker, err
	}
	text, ok := s.markers[key.Canonical()]
	if !ok {
		return marker, replaystore.ErrNotFound
	}
	err = json.Unmarshal(text, &marker)
	return marker, err
}

// Save implements [replaystore.Store].
func (s *Store) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	all := make(map[replaystore.Key]json.RawMessage, len(s.markers)+len(markers))
	maps.Copy(all, s.markers)
	for key, marker := range markers {
		text, err := json.Marshal(marker)
		if err != nil {
			return err
		}
		all[key.Canonical()] = text
	}
	if err := s.replace(all); err != nil {
		return fmt.Errorf("the replay markers in %s: %w", s.path, err)
	}
	s.markers = all
	return nil
}

// replace writes a new file and gives it the name of the old one. Under that name there is one of
// the two, whole, wherever the process or the machine stops.
func (s *Store) replace(all map[replaystore.Key]json.RawMessage) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	next := s.path + ".next" // one name, so that a crash leaves at most one such file; the next Save overwrites it
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	// The content must be on the disk before the name is, and Windows renames no open file.
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, s.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.path))
}

// syncDir makes a new name in a directory durable. If it fails, the new file is there already: its
// markers are of events that are handled, so it may stay, and the next Save repeats them.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // where directories cannot be synced
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
