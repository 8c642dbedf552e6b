package client

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, map[string]func() error{
		"panic": lab.Job(panicking),
	})
}
