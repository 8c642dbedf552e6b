package replaystore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/sfstream/sfstream-go/replaystore/internal/boltcheck"
)

// A replay file is a bbolt database with exactly two buckets:
//
//	sfstream.meta      "format" → 1 byte, the version of this layout
//	sfstream.markers   Key.MarshalText of the canonical key → Marker.MarshalBinary
//
// Both are made in one transaction, so a database without any bucket is one whose process died
// before that. A release that changes the layout raises the format; one that only adds to a record
// raises the record's own version, and old records stay readable.
const (
	metaBucket    = "sfstream.meta"
	markersBucket = "sfstream.markers"
	formatKey     = "format"
	format        = 1
)

const defaultLockTimeout = 250 * time.Millisecond

// BoltOption is an option of [OpenBolt].
type BoltOption func(*boltConfig)

type boltConfig struct{ lockTimeout time.Duration }

// WithLockTimeout sets how long [OpenBolt] waits for a file that is in use before it returns
// [ErrLocked]. The default is 250 ms; OpenBolt tries every 50 ms. Zero and less mean one try, not
// for ever.
func WithLockTimeout(d time.Duration) BoltOption {
	return func(c *boltConfig) { c.lockTimeout = d }
}

// OpenBolt opens the replay file at path, or creates it with mode 0600. The directory must exist. A
// file that is there keeps its mode.
//
// It fails with [ErrLocked] if the file is in use, with [ErrNotAReplayFile] if it cannot read what
// is there as a replay file, and with an error of package os if the file cannot be opened or
// created. It never changes a file that it fails to open; an empty file counts as a new one. It
// reads all of the file once to be sure that it is sound: that is a few pages, because a marker
// takes about 100 bytes.
func OpenBolt(path string, opts ...BoltOption) (*Bolt, error) {
	config := boltConfig{lockTimeout: defaultLockTimeout}
	for _, opt := range opts {
		opt(&config)
	}
	deadline := time.Now().Add(config.lockTimeout)

	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := needDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("replaystore: %w", err)
	case !info.Mode().IsRegular():
		// Opening a pipe would even block.
		return nil, fmt.Errorf("replaystore: %s: %w: not a regular file", path, ErrNotAReplayFile)
	case info.Size() > 0:
		if err := inspect(path, deadline); err != nil {
			return nil, err
		}
	}

	db, file, err := openDB(path, deadline, false)
	if err != nil {
		return nil, err
	}
	b := &Bolt{db: db, path: path, absolute: path, turn: make(chan struct{}, 1)}
	if absolute, err := filepath.Abs(path); err == nil {
		b.absolute = absolute
	}
	if err := b.begin(file, info); err != nil {
		_ = closeDB(db, err)
		return nil, fmt.Errorf("replaystore: %s: %w", path, err)
	}
	if info == nil {
		syncDir(filepath.Dir(path))
	}
	return b, nil
}

// begin makes the buckets of the file that has been opened. It fails if that file is not the one
// that was inspected before, or is no longer the one at the path: it may have been renamed while
// OpenBolt waited for its lock.
func (b *Bolt) begin(file *os.File, inspected os.FileInfo) (err error) {
	if b.file, err = file.Stat(); err != nil {
		return err
	}
	if err := b.inPlace(); err != nil {
		return err
	}
	if inspected != nil && !os.SameFile(inspected, b.file) {
		return errors.New("the file was replaced while it was opened: open it again")
	}
	return guard(func() error { return prepare(b.db) })
}

func needDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("replaystore: the directory of the replay file must exist: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("replaystore: %s must be a directory", dir)
	}
	return nil
}

// inspect fails unless path is a sound replay file, or a database without buckets. It opens the
// file for reading only, because bbolt writes to some databases while it opens them.
func inspect(path string, deadline time.Time) error {
	db, file, err := openDB(path, deadline, true)
	if err != nil {
		return err
	}
	err = guard(func() error {
		if err := boltcheck.Verify(file, db.Info().PageSize); err != nil {
			return fmt.Errorf("%w: %w", ErrNotAReplayFile, err)
		}
		return db.View(func(tx *bbolt.Tx) error {
			_, err := identify(tx)
			return err
		})
	})
	if err := errors.Join(err, closeDB(db, err)); err != nil {
		return fmt.Errorf("replaystore: %s: %w", path, err)
	}
	return nil
}

// prepare makes the buckets if there are none.
func prepare(db *bbolt.DB) error {
	var empty bool
	err := db.View(func(tx *bbolt.Tx) (err error) {
		empty, err = identify(tx)
		return err
	})
	if err != nil || !empty {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		if err := meta.Put([]byte(formatKey), []byte{format}); err != nil {
			return err
		}
		_, err = tx.CreateBucket([]byte(markersBucket))
		return err
	})
}

// identify fails if the database is another program's or another release's, and reports whether it
// is empty.
func identify(tx *bbolt.Tx) (empty bool, err error) {
	first, _ := tx.Cursor().First()
	if first == nil {
		return true, nil
	}
	meta := tx.Bucket([]byte(metaBucket))
	if meta == nil {
		return false, fmt.Errorf("%w: a bbolt database of another program", ErrNotAReplayFile)
	}
	version := meta.Get([]byte(formatKey))
	if len(version) == 1 && version[0] > format {
		return false, fmt.Errorf("%w: it has format %d, this release reads %d: a newer release wrote it", ErrNotAReplayFile, version[0], format)
	}
	if len(version) != 1 || version[0] != format || tx.Bucket([]byte(markersBucket)) == nil {
		return false, fmt.Errorf("%w: its layout is unknown", ErrNotAReplayFile)
	}
	return false, nil
}

// openDB opens the database and turns bbolt's errors into ours. file is the one that db reads.
func openDB(path string, deadline time.Time, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			ReadOnly: readOnly,
			Timeout:  max(time.Until(deadline), 1), // for bbolt, 0 means for ever
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, nil, fmt.Errorf("replaystore: %s: %w by another process, or open twice in this one", path, ErrLocked)
	case file != nil && readOnly && !errors.As(err, new(syscall.Errno)):
		err = fmt.Errorf("%w: %w", ErrNotAReplayFile, err)
	}
	return nil, nil, fmt.Errorf("replaystore: %s: %w", path, err)
}

// syncDir makes the name of a new file as durable as its content, as well as the system can: not
// all file systems, and not Windows, let a directory be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
