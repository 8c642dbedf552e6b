package main

import (
	"io"
	"sync"
)

// lines writes whole lines. What a failed write has left of one, as on a disk that is full, is ended
// before the next: it is a line that cannot be read, but none that is written later becomes a part of it.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	torn bool // what is written does not end with the end of a line
}

// write writes text, which is one line or several with their ends.
func (l *lines) write(text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		text = append([]byte{'\n'}, text...)
	}
	n, err := l.w.Write(text)
	if n > 0 {
		l.torn = text[n-1] != '\n'
	}
	return err
}
