//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// columnsOf returns the width of the terminal that file is, in columns, and false if it is none.
// The width is 0 where the terminal does not know it.
func columnsOf(file *os.File) (width int, ok bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, false
	}
	var size *unix.Winsize
	_ = conn.Control(func(fd uintptr) { size, err = unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ) })
	if err != nil || size == nil {
		return 0, false
	}
	return int(size.Col), true
}
