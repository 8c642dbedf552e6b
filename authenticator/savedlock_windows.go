package authenticator

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock of an open file, unless somebody has it.
func tryLock(f *os.File) (locked bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, new(windows.Overlapped))
	switch err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		return false, nil
	}
	return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

// exposed returns "": the access list of the user's profile protects what is in it, and the modes
// that Go shows say nothing about it.
func exposed(string, fs.FileInfo) string { return "" }
