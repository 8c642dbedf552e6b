package replaystore_test

import (
	"path/filepath"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func TestMemory(t *testing.T) {
	replaystoretest.Run(t, func(*testing.T) replaystore.Store { return replaystore.NewMemory() })
}

func TestMemoryZeroValue(t *testing.T) {
	replaystoretest.Run(t, func(*testing.T) replaystore.Store { return new(replaystore.Memory) })
}

func TestBolt(t *testing.T) {
	replaystoretest.Run(t, func(t *testing.T) replaystore.Store { return openBolt(t, newPath(t)) })
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		return openBolt(t, filepath.Join(place, "replay.db"))
	})
}
