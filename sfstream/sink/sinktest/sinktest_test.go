package sinktest_test

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sink/sinktest"
)

func TestMemory(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Queue { return new(sinktest.Memory).Queue() })
}
