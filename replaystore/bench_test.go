package replaystore_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// For Bolt this is mostly the disk's fsync.
func BenchmarkSave(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("Bolt/markers=%d", n), func(b *testing.B) { benchmarkSave(b, openBolt(b, newPath(b)), n) })
		b.Run(fmt.Sprintf("Memory/markers=%d", n), func(b *testing.B) { benchmarkSave(b, replaystore.NewMemory(), n) })
	}
}

func benchmarkSave(b *testing.B, store replaystore.Store, n int) {
	markers := make(map[replaystore.Key]replaystore.Marker, n)
	id, now := make([]byte, 8), time.Now()
	for i := range n {
		key := replaystore.Key{OrgID: "00D000000000062EAA", API: "pubsub", Channel: fmt.Sprintf("/event/Number_%d__e", i)}
		markers[key] = replaystore.Marker{ReplayID: id, Date: now, Live: now}
	}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		binary.BigEndian.PutUint64(id, i)
		if err := store.Save(b.Context(), markers); err != nil {
			b.Fatal(err)
		}
	}
}
