//go:build !linux

package sfstream

import (
	"net"
	"time"
)

// setUnanswered does nothing: how long a system sends what is not acknowledged is its
// own affair.
func setUnanswered(*net.TCPConn, time.Duration) error { return nil }
