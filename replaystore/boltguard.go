package replaystore

import (
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// panicError is a panic inside bbolt, as an error.
type panicError struct{ reason any }

func (e *panicError) Error() string { return fmt.Sprintf("damaged while in use: %v", e.reason) }

func (e *panicError) Unwrap() error { return ErrNotAReplayFile }

// guard calls fn, which calls bbolt, and returns a panic in it as an error. bbolt panics if pages
// make no sense. boltcheck.Verify finds such pages before bbolt sees them, so guard is for files
// that change afterwards: a bad disk, or someone who truncates or copies over a file in use.
// Reading a mapped page that is no longer there is a fault, which ends the process unless the
// runtime turns it into a panic.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r}
		}
	}()
	return fn()
}

// closeDB closes db after a use that ended with err. After a panic some of db's locks may be held,
// and its Close would wait for them for ever. So closeDB leaves it open then: the file stays
// locked, which suits a damaged file.
func closeDB(db *bbolt.DB, err error) error {
	if errors.As(err, new(*panicError)) {
		return nil
	}
	return guard(db.Close)
}
