package replaystore_test

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"
	"time"

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

// forgetful is a store that was written before markers had Followed and Group.
type forgetful struct{ *replaystore.Memory }

func (s forgetful) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	kept := make(map[replaystore.Key]replaystore.Marker)
	for key, m := range markers {
		kept[key] = replaystore.Marker{ReplayID: m.ReplayID, Date: m.Date, Live: m.Live}
	}
	return s.Memory.Save(ctx, kept)
}

func TestAStoreMayForgetGroups(t *testing.T) {
	replaystoretest.Run(t, func(*testing.T) replaystore.Store { return forgetful{replaystore.NewMemory()} })
}

func TestOurStoresKeepGroups(t *testing.T) {
	key := replaystore.Key{OrgID: "00D000000000062EAA", API: "pubsub", Channel: "/data/Sales__chn"}
	want := replaystore.Marker{ReplayID: []byte("9"), Followed: time.Unix(5, 0).UTC(),
		Group: replaystore.Group{ReplayID: []byte("10"), Date: time.Unix(4, 0).UTC(), Handled: []uint64{3, 1}}}
	for name, store := range map[string]replaystore.Store{"Memory": replaystore.NewMemory(), "Bolt": openBolt(t, newPath(t))} {
		if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: want}); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Load(t.Context(), key); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
