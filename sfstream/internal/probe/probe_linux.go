package probe

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name on all architectures.
const tcpUserTimeout = 0x12

// setUnanswered sets how long sent data may stay unacknowledged. It is needed beside keep-alive,
// because the kernel sends no keep-alive probes while data is unacknowledged.
func setUnanswered(conn *net.TCPConn, limit time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(limit.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
