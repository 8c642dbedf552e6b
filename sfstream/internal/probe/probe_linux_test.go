package probe

import (
	"syscall"
	"testing"
)

// On Linux a dead network is noticed within 60 seconds by TCP: 15 and 3 × 15.
func TestTheDefaultClientProbesItsConnections(t *testing.T) {
	for words, theirs := range dialers() {
		t.Run(words, func(t *testing.T) {
			raw, err := probedConn(t, theirs).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			for option, want := range map[[2]int]int{
				{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}:   1,
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE}:  15,
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}: 15,
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}:   3,
				{syscall.IPPROTO_TCP, tcpUserTimeout}:        45_000,
			} {
				var got int
				var failed error
				err := raw.Control(func(fd uintptr) { got, failed = syscall.GetsockoptInt(int(fd), option[0], option[1]) })
				if err != nil || failed != nil || got != want {
					t.Errorf("option %v is %d (%v, %v), want %d", option, got, err, failed, want)
				}
			}
		})
	}
}
