package chaos

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, map[string]func() error{
		"follow": lab.Job(follower),
		"soak":   lab.Job(soakFollower),
	})
}
