//go:build !unix

package main

import "os"

// columnsOf reports whether file is a terminal. Its width is not known.
func columnsOf(file *os.File) (width int, ok bool) {
	info, err := file.Stat()
	return 0, err == nil && info.Mode()&os.ModeCharDevice != 0
}
