package replaystore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/sfstream/sfstream-go/replaystore"
)

const pageSize = 4096 // the page size of the files that the tests make, whatever the machine's is

// template returns a replay file with a branch page, leaf pages, overflow pages and free pages in
// it.
func template(t testing.TB) []byte {
	t.Helper()
	path := newPath(t)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	store := openBolt(t, path)
	for range 3 {
		batch := map[replaystore.Key]replaystore.Marker{keyA: {ReplayID: make([]byte, 2*pageSize)}}
		for i := range 200 {
			batch[replaystore.Key{OrgID: keyA.OrgID, API: "pubsub", Channel: "/event/" + strconv.Itoa(i)}] = replaystore.Marker{ReplayID: []byte("12345678")}
		}
		if err := store.Save(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// expectRefused opens a file with data and fails unless OpenBolt refuses it and does not change it.
func expectRefused(t *testing.T, data []byte, text string) {
	t.Helper()
	path := newPath(t)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second try shows that the first refusal left no lock behind
		store, err := replaystore.OpenBolt(path, replaystore.WithLockTimeout(0))
		if err == nil {
			_ = store.Close()
		}
		if !errors.Is(err, replaystore.ErrNotAReplayFile) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
			t.Fatalf("OpenBolt: %v; want ErrNotAReplayFile with the path and %q", err, text)
		}
	}
	if !bytes.Equal(read(t, path), data) {
		t.Fatal("the file was changed")
	}
}

func TestOpenBoltRefusesAndLeavesAlone(t *testing.T) {
	whole := template(t)
	foreign := func(options bbolt.Options, fn func(tx *bbolt.Tx) error) []byte {
		path := newPath(t)
		db, err := bbolt.Open(path, 0o600, &options)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(fn), db.Close()); err != nil {
			t.Fatal(err)
		}
		return read(t, path)
	}
	other := func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("other"))
		return err
	}
	layout := func(version ...byte) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			meta, err := tx.CreateBucket([]byte("sfstream.meta"))
			if err != nil {
				return err
			}
			return meta.Put([]byte("format"), version)
		}
	}
	for _, test := range []struct {
		name string
		data []byte
		text string
	}{
		{"a text file", []byte("# my notes\n"), ""},
		{"a long text file", bytes.Repeat([]byte("all work and no play\n"), 10_000), ""},
		{"one byte", []byte{0}, ""},
		{"zeros", make([]byte, 32<<10), ""},
		{"another program's database", foreign(bbolt.Options{}, other), "another program"},
		{"another program's database, without a free list", foreign(bbolt.Options{NoFreelistSync: true}, other), ""},
		{"a newer format", foreign(bbolt.Options{}, layout(2)), "newer release"},
		{"an unknown format", foreign(bbolt.Options{}, layout(0, 0)), "layout"},
		{"a database without our second bucket", foreign(bbolt.Options{}, layout(1)), "layout"},
		{"a file cut after its first page", whole[:pageSize], ""},
		{"a file cut after its meta pages", whole[:2*pageSize], "truncated"},
		{"a file cut in the middle", whole[:len(whole)/8], "truncated"},
		{"a file without meta pages", append(make([]byte, 2*pageSize), whole[2*pageSize:]...), ""},
		{"a file with only meta pages", append(bytes.Clone(whole[:2*pageSize]), make([]byte, len(whole)-2*pageSize)...), "page"},
	} {
		t.Run(test.name, func(t *testing.T) { expectRefused(t, test.data, test.text) })
	}
}

func TestOpenBoltRefusesADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := replaystore.OpenBolt(dir); !errors.Is(err, replaystore.ErrNotAReplayFile) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("OpenBolt: %v; want ErrNotAReplayFile", err)
	}
}

// Each case breaks one invariant of every page of one kind. Some pages belong to an older
// transaction and are never read. So the test wants at least one of the files to be refused, and no
// file to end the process.
func TestOpenBoltFindsDamagedPages(t *testing.T) {
	const branch, leaf, freelist = 0x01, 0x02, 0x10
	whole := template(t)
	order := binary.NativeEndian
	for _, test := range []struct {
		name   string
		kind   uint16
		damage func(page []byte)
	}{
		{"a branch that is its own child", branch, func(p []byte) { order.PutUint64(p[16+8:], order.Uint64(p)) }},
		{"two branches to one child", branch, func(p []byte) { copy(p[32+8:32+16], p[16+8:]) }},
		{"a child behind the end of the file", branch, func(p []byte) { order.PutUint64(p[16+8:], 1<<40) }},
		{"a child that is a meta page", branch, func(p []byte) { order.PutUint64(p[16+8:], 0) }},
		{"a branch without children", branch, func(p []byte) { order.PutUint16(p[10:], 0) }},
		{"more elements than fit", leaf, func(p []byte) { order.PutUint16(p[10:], 0xFFFF) }},
		{"a page that is another one", leaf, func(p []byte) { order.PutUint64(p, 99) }},
		{"a page of no kind", leaf, func(p []byte) { order.PutUint16(p[8:], 0) }},
		{"a page of two kinds", leaf, func(p []byte) { order.PutUint16(p[8:], branch|leaf) }},
		{"a page that overflows the file", leaf, func(p []byte) { order.PutUint32(p[12:], 1<<31) }},
		{"a page that overflows into the next one", leaf, func(p []byte) { order.PutUint32(p[12:], order.Uint32(p[12:])+1) }},
		{"a key outside of its page", leaf, func(p []byte) { order.PutUint32(p[16+4:], 1<<31) }},
		{"an empty key", leaf, func(p []byte) { order.PutUint32(p[16+8:], 0) }},
		{"a value outside of its page", leaf, func(p []byte) { order.PutUint32(p[16+12:], 1<<31) }},
		{"a marker that claims to be a bucket", leaf, func(p []byte) { order.PutUint32(p[16:], 1) }},
		{"a last key above the next page", leaf, func(p []byte) { elementKey(p, int(order.Uint16(p[10:]))-1)[0] = 0xFF }},
		{"a last key below the others", leaf, func(p []byte) { elementKey(p, int(order.Uint16(p[10:]))-1)[0] = 0 }},
		{"a key twice", leaf, func(p []byte) {
			if order.Uint16(p[10:]) > 1 && len(elementKey(p, 0)) == len(elementKey(p, 1)) {
				copy(elementKey(p, 1), elementKey(p, 0))
			}
		}},
		{"a free list with too many pages", freelist, func(p []byte) { order.PutUint16(p[10:], 0xFFFF); order.PutUint64(p[16:], 1<<50) }},
		{"a free list with pages that are not there", freelist, func(p []byte) { order.PutUint64(p[16:], 1<<50) }},
		{"a free list with a page in use", freelist, func(p []byte) { order.PutUint64(p[16:], order.Uint64(p)) }},
		{"a free list of another kind", freelist, func(p []byte) { order.PutUint16(p[8:], leaf) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused := 0
			for at := 2 * pageSize; at < len(whole); at += pageSize {
				if order.Uint64(whole[at:]) != uint64(at/pageSize) || order.Uint16(whole[at+8:]) != test.kind || order.Uint16(whole[at+10:]) == 0 {
					continue
				}
				data := bytes.Clone(whole)
				test.damage(data[at : at+pageSize])
				// Other refusals do not count: the damage may also make a bucket lose its name.
				if err := exercise(t, data); err != nil && (strings.Contains(err.Error(), ": page ") || strings.Contains(err.Error(), ": free list: ")) {
					refused++
				}
			}
			if refused == 0 {
				t.Fatal("no damage was found")
			}
		})
	}
}

// elementKey returns the key of a leaf's element i.
func elementKey(page []byte, i int) []byte {
	element := page[16+16*i:]
	at, size := binary.NativeEndian.Uint32(element[4:]), binary.NativeEndian.Uint32(element[8:])
	return element[at : at+size]
}

// exercise opens a file with data and, if it opens, uses it. It returns the error of OpenBolt, and
// checks that OpenBolt did not change the file then. Nothing may panic.
func exercise(t *testing.T, data []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "replay.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := replaystore.OpenBolt(path, replaystore.WithLockTimeout(0))
	if err != nil {
		if !errors.Is(err, replaystore.ErrNotAReplayFile) {
			t.Errorf("OpenBolt: %v; want ErrNotAReplayFile", err)
		}
		if !bytes.Equal(read(t, path), data) {
			t.Error("the file was changed")
		}
		return err
	}
	// Damage that leaves all pages plausible (a key that is another key now) is not found, and may
	// cost that marker. It must not end the process.
	_, _ = store.All(t.Context())
	_ = store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{keyB: {ReplayID: []byte("1")}})
	_, _ = store.Load(t.Context(), keyB)
	_ = store.Delete(t.Context(), keyA)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	return nil
}

func TestOpenBoltSurvivesRandomDamage(t *testing.T) {
	whole := template(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		data := bytes.Clone(whole)
		for range 1 + random.IntN(8) {
			// Most damage goes into the headers and elements, where it does harm.
			at := random.IntN(len(whole)/pageSize)*pageSize + random.IntN(64)
			data[at] = byte(random.Uint32())
		}
		_ = exercise(t, data)
	}
}

// A file that is truncated in use is beyond repair. That must not end the process, and every later
// call must fail.
func TestBoltIsTruncatedInUse(t *testing.T) {
	path := newPath(t)
	if err := os.WriteFile(path, template(t), 0o600); err != nil {
		t.Fatal(err)
	}
	store := openBolt(t, path)
	if err := os.Truncate(path, 0); err != nil {
		t.Skip("this system does not allow it")
	}
	for range 2 {
		if _, err := store.Load(t.Context(), keyA); !errors.Is(err, replaystore.ErrNotAReplayFile) {
			t.Fatalf("Load: %v; want ErrNotAReplayFile", err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), keyA); !errors.Is(err, replaystore.ErrClosed) {
		t.Fatalf("Load: %v; want ErrClosed", err)
	}
}

// FuzzOpenBolt writes patch over a sound file, or over nothing, and uses the result.
func FuzzOpenBolt(f *testing.F) {
	whole := template(f)
	f.Add(false, uint32(0), []byte("text"))
	f.Add(false, uint32(0), whole[:3*pageSize])
	for page := range uint32(12) {
		f.Add(true, page*pageSize+8, []byte{1, 0, 1, 0})
	}
	f.Fuzz(func(t *testing.T, patched bool, at uint32, patch []byte) {
		data := patch
		if patched {
			data = bytes.Clone(whole)
			copy(data[int(at)%len(data):], patch)
		}
		if len(data) > 1<<20 {
			return
		}
		_ = exercise(t, data)
	})
}
