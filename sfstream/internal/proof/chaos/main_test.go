package chaos

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
)

func TestMain(m *testing.M) {
	child.Main(m, map[string]func() error{
		"follow": child.Job(follower),
		"soak":   child.Job(soakFollower),
	})
}
