package replaystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"go.etcd.io/bbolt"
)

// Errors of [OpenBolt] and [Bolt]; match them with [errors.Is].
var (
	// ErrLocked means that another process, or another [Bolt] in this one, has the replay file
	// open. Close that one first.
	ErrLocked = errors.New("replay file is in use")

	// ErrNotAReplayFile means that the file is something else, is damaged, or has the format of a
	// newer release. It has not been touched. The text says which it is; give another path, or move
	// the file away and lose its markers.
	ErrNotAReplayFile = errors.New("not a usable replay file")

	// ErrClosed means that the [Bolt] has been closed.
	ErrClosed = errors.New("replaystore: store is closed")
)

// Bolt is a [Store] in one bbolt file. It is safe for concurrent use; its methods take turns. Make
// one with [OpenBolt].
type Bolt struct {
	db   *bbolt.DB
	path string

	file     os.FileInfo // identifies the open file, to tell it from another one at the same path
	absolute string      // path made absolute, so that it stays the same when the working directory changes

	// turn holds a token while a method works with db. It has two advantages over bbolt's own
	// locks, which are mutexes: a caller can stop waiting when ctx ends, and if a panic inside
	// bbolt leaves those locked for ever, the next caller sees err and does not wait for them.
	// Reading beside a Save would gain nothing, because loads happen once per subscribe.
	turn chan struct{}
	err  error // why the store no longer works; guarded by turn
}

var _ Store = (*Bolt)(nil)

// Load implements [Store].
func (b *Bolt) Load(ctx context.Context, key Key) (marker Marker, err error) {
	key = key.Canonical()
	err = b.view(ctx, func(records *bbolt.Bucket) error {
		text, _ := key.MarshalText()
		record := records.Get(text)
		if record == nil {
			return ErrNotFound
		}
		if err := marker.UnmarshalBinary(record); err != nil {
			return fmt.Errorf("%+v: %w", key, err)
		}
		return nil
	})
	return marker, err
}

// Save implements [Store] with one transaction and its fsync, and with none for an empty map. A
// transaction that has begun is not interrupted when ctx ends. Save also fails if markers has one
// key in two spellings or a key of more than 32 KiB.
//
// Save, like every method but Close, fails while the file at the path is not the one that is open:
// it was deleted, renamed or replaced, and nobody would find after a restart what is written to it
// now.
func (b *Bolt) Save(ctx context.Context, markers map[Key]Marker) error {
	markers, err := canonical(markers)
	if err != nil {
		return err
	}
	return b.update(ctx, len(markers) > 0, func(records *bbolt.Bucket) error {
		for key, marker := range markers {
			text, _ := key.MarshalText()
			record, err := marker.MarshalBinary()
			if err == nil {
				err = records.Put(text, record)
			}
			if err != nil {
				return fmt.Errorf("saving %.200q: %w", text, err)
			}
		}
		return nil
	})
}

// All returns an iterator over the markers as they are now, sorted by org, API and channel. The
// store may be used, changed and closed inside the loop. If a record cannot be read, All fails and
// names its key.
func (b *Bolt) All(ctx context.Context) (iter.Seq2[Key, Marker], error) {
	markers := make(map[Key]Marker)
	err := b.view(ctx, func(records *bbolt.Bucket) error {
		return records.ForEach(func(text, record []byte) error {
			var key Key
			if err := key.UnmarshalText(text); err != nil {
				return err
			}
			var marker Marker
			if err := marker.UnmarshalBinary(record); err != nil {
				return fmt.Errorf("%+v: %w", key, err)
			}
			markers[key] = marker
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return sorted(markers), nil
}

// Delete forgets the marker of key, durably. It is no error if there is none.
func (b *Bolt) Delete(ctx context.Context, key Key) error {
	return b.update(ctx, true, func(records *bbolt.Bucket) error {
		text, _ := key.Canonical().MarshalText()
		return records.Delete(text)
	})
}

// Close releases the file, after the call that is using it. Later calls fail with [ErrClosed];
// closing again does nothing and returns nil. A file that was damaged while in use stays locked
// until the process ends.
func (b *Bolt) Close() error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.err == ErrClosed {
		return nil
	}
	broken := b.err
	b.err = ErrClosed
	return closeDB(b.db, broken)
}

func (b *Bolt) view(ctx context.Context, fn func(records *bbolt.Bucket) error) error {
	return b.do(ctx, func() error {
		return b.db.View(func(tx *bbolt.Tx) error { return fn(tx.Bucket([]byte(markersBucket))) })
	})
}

// update calls fn in a transaction, which is durable when update returns nil. With needed false it
// only checks that the store works.
func (b *Bolt) update(ctx context.Context, needed bool, fn func(records *bbolt.Bucket) error) error {
	return b.do(ctx, func() error {
		if !needed {
			return nil
		}
		err := b.db.Update(func(tx *bbolt.Tx) error { return fn(tx.Bucket([]byte(markersBucket))) })
		if err == nil {
			err = b.inPlace() // a file that has lost its name is lost at a restart
		}
		return err
	})
}

// do calls fn when it is this call's turn.
func (b *Bolt) do(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err // select would choose at random if the turn is free
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.err != nil {
		return b.err
	}
	err := b.inPlace()
	if err == nil {
		err = guard(fn)
	}
	if err == nil || err == ErrNotFound {
		return err
	}
	err = fmt.Errorf("replaystore: %s: %w", b.path, err)
	if errors.As(err, new(*panicError)) {
		b.err = err
	}
	return err
}

// inPlace fails unless the file at the path is the one that is open. bbolt locks the file and not
// its name: if the file was deleted, renamed or replaced, a second Bolt can open another file at
// the path, and only the Bolt whose file has the name may go on.
func (b *Bolt) inPlace() error {
	now, err := os.Stat(b.absolute)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the replay file was deleted or renamed while it was in use: put it back, or restart the program: %w", err)
	case err != nil:
		return fmt.Errorf("the replay file cannot be looked up any more: %w", err)
	case !os.SameFile(now, b.file):
		return errors.New("the replay file was replaced by another one while it was in use: put it back, or restart the program")
	}
	return nil
}
