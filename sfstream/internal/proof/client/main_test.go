package client

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
)

func TestMain(m *testing.M) {
	child.Main(m, map[string]func() error{
		"panic": child.Job(panicking),
	})
}
