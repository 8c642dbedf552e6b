//go:build !linux

package probe

import (
	"net"
	"time"
)

// setUnanswered does nothing: how long a system sends what is not acknowledged is its own affair.
func setUnanswered(*net.TCPConn, time.Duration) error { return nil }
