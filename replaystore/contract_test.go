package replaystore_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"sync"
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

// The contract asks for less: of two keys that are saved together a caller that loads one and then
// the other may find the second one older. Ours show it none or all of a Save.
func TestOurStoresShowNoPartOfASave(t *testing.T) {
	for name, store := range map[string]replaystore.Store{"Memory": replaystore.NewMemory(), "Bolt": openBolt(t, newPath(t))} {
		put := func(i byte) error {
			return store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyA: {ReplayID: []byte{i}}, keyB: {ReplayID: []byte{i}}})
		}
		if err := put(0); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := byte(1); i <= 30; i++ {
				if err := put(i); err != nil {
					t.Errorf("%s: Save: %v", name, err)
				}
			}
		})
		for range 200 {
			for _, pair := range [][2]replaystore.Key{{keyA, keyB}, {keyB, keyA}} {
				first, err1 := store.Load(t.Context(), pair[0])
				second, err2 := store.Load(t.Context(), pair[1])
				if err := errors.Join(err1, err2); err != nil {
					t.Errorf("%s: Load: %v", name, err)
				} else if second.ReplayID[0] < first.ReplayID[0] {
					t.Errorf("%s: saw save %d of one key and then save %d of the other", name, first.ReplayID[0], second.ReplayID[0])
				}
			}
		}
		wg.Wait()
	}
}
