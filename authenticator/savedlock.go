package authenticator

import (
	"context"
	"os"
	"time"
)

// Between two attempts at a lock. A system call that waits for the lock could not be left when a
// context ends.
const (
	lockPauseMin = 2 * time.Millisecond
	lockPauseMax = 100 * time.Millisecond
)

// lockFile waits until it alone, of all processes and goroutines, has the lock of a file, which it
// makes if need be. The system lets go of the lock of a process that dies. The file stays where it
// is: whoever deleted it would take the lock away from those that wait for it.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := lockPauseMin; ; wait = min(2*wait, lockPauseMax) {
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-pause.C:
		}
		locked, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if locked {
			return func() { f.Close() }, nil // closing lets go of the lock
		}
		pause.Reset(wait)
	}
}
