package replaystore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sfstream/sfstream-go/replaystore"
)

// All shows what is stored, for people and tools.
func ExampleBolt_All() {
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := replaystore.OpenBolt(filepath.Join(dir, "replay.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	ctx := context.Background()
	old := replaystore.Key{OrgID: "00D000000000062EAA", API: "cometd", Channel: "/u/Old"}
	if err := store.Save(ctx, map[replaystore.Key]replaystore.Marker{old: {ReplayID: []byte("17")}}); err != nil {
		fmt.Println(err)
		return
	}
	all, err := store.All(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, marker := range all {
		fmt.Printf("%s %s %s\n", key.API, key.Channel, marker.ReplayID)
	}
	// Output: cometd /u/Old 17
}
