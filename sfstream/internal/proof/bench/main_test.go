package bench

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
)

func TestMain(m *testing.M) {
	child.Main(m, map[string]func() error{
		"bench server":        serveBench,
		"bench receive":       child.Job(receive),
		"bench bare":          child.Job(receiveBare),
		"bench cometd server": serveBurst,
		"bench cometd":        child.Job(receiveBurst),
		"bench publish":       child.Job(publishOurs),
		"bench publish bare":  child.Job(publishBare),
		"bench encode":        child.Job(encodeOnly),
	})
}
