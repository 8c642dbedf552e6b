package replaystore_test

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func TestMemoryRegister(t *testing.T) {
	replaystoretest.RunRegister(t, func(*testing.T) replaystore.Register { return new(replaystoretest.Register) })
}

func TestBoltRegister(t *testing.T) {
	replaystoretest.RunRegister(t, func(t *testing.T) replaystore.Register {
		return replaystoretest.OpenBoltRegister(t, newPath(t))
	})
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		register := replaystoretest.OpenBoltRegister(t, filepath.Join(place, "register.db"))
		return closing{replaystore.FromRegister(register), register}
	})
}

// closing is a store that is closed with its register.
type closing struct {
	replaystore.Store
	io.Closer
}
