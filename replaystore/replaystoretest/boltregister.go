package replaystoretest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sfstream/sfstream-go/replaystore"
)

// BoltRegister is a [replaystore.Register] in a bbolt file, for tests of one process that is to
// find again after a restart what it has put.
type BoltRegister struct{ db *bbolt.DB }

// OpenBoltRegister opens the file at path, or creates it. It is closed when the test ends, unless
// Close is called before.
func OpenBoltRegister(tb testing.TB, path string) *BoltRegister {
	tb.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Second,
		NoSync:  true, // a process that ends leaves to the system what it has written
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return &BoltRegister{db}
}

// Close closes the file.
func (r *BoltRegister) Close() error { return r.db.Close() }

// The bucket's sequence counts puts, so that no revision comes again. A record is its revision, in
// 8 bytes, and the value.
var boltBucket = []byte("registers")

// Get implements [replaystore.Register].
func (r *BoltRegister) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	err = r.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(boltBucket); b != nil {
			value, rev = split(b.Get([]byte(key)))
		}
		return nil
	})
	if err == nil && rev == "" {
		err = replaystore.ErrNotFound
	}
	return value, rev, err
}

// Put implements [replaystore.Register].
func (r *BoltRegister) Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	err = r.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(boltBucket)
		if err != nil {
			return err
		}
		if _, there := split(b.Get([]byte(key))); there != rev {
			return replaystore.ErrConflict
		}
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		record := append(binary.BigEndian.AppendUint64(nil, n), value...)
		_, newRev = split(record)
		return b.Put([]byte(key), record)
	})
	return newRev, err
}

// Delete forgets a key, as an operator does.
func (r *BoltRegister) Delete(_ context.Context, key string) error {
	return r.db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(boltBucket); b != nil {
			return b.Delete([]byte(key))
		}
		return nil
	})
}

func split(record []byte) (value []byte, rev string) {
	if len(record) < 8 {
		return nil, ""
	}
	return bytes.Clone(record[8:]), hex.EncodeToString(record[:8])
}
