package bench

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, map[string]func() error{
		"bench server":        serveBench,
		"bench receive":       lab.Job(receive),
		"bench bare":          lab.Job(receiveBare),
		"bench cometd server": serveBurst,
		"bench cometd":        lab.Job(receiveBurst),
	})
}
