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
// Both are made in one transaction. A database without any bucket is one whose process died before that. A
// release that changes the layout raises the format; one that only adds to a record raises the record's own
// version, and old records stay readable.
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

// WithLockTimeout sets how long OpenBolt waits for a file that is in use before it returns [ErrLocked]. The
// default is 250 ms; the file is tried every 50 ms. Zero and less mean one try, not forever.
func WithLockTimeout(d time.Duration) BoltOption {
	return func(c *boltConfig) { c.lockTimeout = d }
}

// OpenBolt opens the replay file at path or creates it, with mode 0600, in a directory that exists. A file that
// is there keeps its mode.
//
// It fails with [ErrLocked] where the file is in use, with [ErrNotAReplayFile] where there is something that it
// cannot read as a replay file, and with an error of package os where the file cannot be opened or created. It
// never changes a file that it fails to open; an empty file counts as a new one. It reads all of the file once
// to be sure that it is sound: a few pages, as a marker takes about 100 bytes.
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

// begin makes the buckets of the file that has been opened. It fails where that file is not the one that was inspected
// before, or is no longer the one at the path: it may have been renamed while OpenBolt waited for its lock.
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

// inspect fails unless path is a sound replay file, or a database without buckets. It opens the file only for
// reading, because bbolt writes to some databases while it opens them.
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

// prepare makes the buckets where there are none.
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

// identify fails where the database is another program's or another release's, and tells whether it is empty.
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

// openDB opens the database and gives bbolt's errors our names. The file is the one that db reads.
func openDB(path string, deadline time.Time, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			ReadOnly: readOnly,
			Timeout:  max(time.Until(deadline), 1), // to bbolt, 0 means forever
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

// syncDir makes the name of a new file as durable as its content. It is done as well as the system can: not all
// file systems, and not Windows, let a directory be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
