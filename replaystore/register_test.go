package replaystore_test

import (
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func TestMemoryRegister(t *testing.T) {
	replaystoretest.RunRegister(t, func(*testing.T) replaystore.Register { return new(replaystoretest.Register) })
}
