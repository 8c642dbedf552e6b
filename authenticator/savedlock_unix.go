//go:build unix && !solaris && !aix

package authenticator

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// tryLock takes the lock of an open file, unless somebody has it. The lock is that of this opening
// of the file, so that goroutines of one process exclude each other too.
func tryLock(f *os.File) (locked bool, err error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return true, nil
		case syscall.EWOULDBLOCK:
			return false, nil
		case syscall.EINTR:
		default:
			return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// exposed returns why a file, or a directory, with these modes cannot hold a secret of ours, and
// what to do; empty if it can.
func exposed(path string, info fs.FileInfo) string {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		// Root, which can read it, would replace it by a file that its owner cannot read.
		return fmt.Sprintf("%s belongs to another user (id %d): run this program as that user, or log in as this one", path, owner.Uid)
	}
	switch mode := info.Mode().Perm(); {
	case info.IsDir() && mode&0o022 != 0:
		return fmt.Sprintf("others can write to %s (mode %04o): chmod 700 %[1]s", path, mode)
	case !info.IsDir() && mode&0o077 != 0:
		return fmt.Sprintf("others can read %s (mode %04o): chmod 600 %[1]s, and log in anew if somebody may have read it", path, mode)
	}
	return ""
}
