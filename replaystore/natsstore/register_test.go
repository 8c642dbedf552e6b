package natsstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/natsstore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func open(tb testing.TB, js jetstream.JetStream, config jetstream.KeyValueConfig) (*natsstore.Register, jetstream.KeyValue) {
	tb.Helper()
	kv, err := js.CreateOrUpdateKeyValue(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	register, err := natsstore.New(tb.Context(), js, config.Bucket)
	if err != nil {
		tb.Fatal(err)
	}
	return register, kv
}

// contract is a register whose keys can be deleted and whose server can fall silent.
type contract struct {
	*natsstore.Register
	kv     jetstream.KeyValue
	server *child
}

func (c contract) Delete(ctx context.Context, key string) error {
	names, err := c.kv.Keys(ctx)
	for _, name := range names {
		if strings.HasSuffix(name, "/"+key) {
			return c.kv.Delete(ctx, name)
		}
	}
	return errors.Join(err, jetstream.ErrKeyNotFound)
}

func (c contract) Stall() (resume func()) { return c.server.stall() }

func TestRegister(t *testing.T) {
	t.Parallel()
	server := startChild(t, t.TempDir())
	js := connect(t, server.url)
	register, kv := open(t, js, jetstream.KeyValueConfig{Bucket: "markers"})
	replaystoretest.RunRegister(t, func(*testing.T) replaystore.Register { return contract{register, kv, server} })
}

func TestStore(t *testing.T) {
	t.Parallel()
	js := start(t)
	register, _ := open(t, js, jetstream.KeyValueConfig{Bucket: "markers"})
	replaystoretest.Run(t, func(*testing.T) replaystore.Store {
		return replaystore.FromRegister(register, replaystore.WithKeyPrefix(rand.Text()))
	})
}

// durable is a store whose server is left by Close as kill -9 leaves it.
type durable struct {
	replaystore.Store
	crash func() error
}

func (d durable) Close() error { return d.crash() }

// TestDurable goes on, after each Save, with what is in the files at that moment.
func TestDurable(t *testing.T) {
	t.Parallel()
	files := make(map[string]string) // by place, where its files are
	replaystoretest.RunDurable(t, func(t *testing.T, place string) replaystore.Store {
		dir := t.TempDir()
		if before := files[place]; before != "" {
			dir = before
		}
		server, err := serve(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		register, _ := open(t, connect(t, server.ClientURL()), jetstream.KeyValueConfig{Bucket: "markers"})
		return durable{replaystore.FromRegister(register), func() error {
			files[place] = t.TempDir()
			err := os.CopyFS(files[place], os.DirFS(dir))
			server.Shutdown()
			server.WaitForShutdown()
			return err
		}}
	})
}

func put(tb testing.TB, register replaystore.Register, rev string) string {
	tb.Helper()
	newRev, err := register.Put(tb.Context(), "key", []byte("value"), rev)
	if err != nil {
		tb.Fatal(err)
	}
	return newRev
}

// TestARevisionNeverComesAgain makes the same values again after each way in which a key can go. In
// a bucket that is made again the numbers begin anew.
func TestARevisionNeverComesAgain(t *testing.T) {
	js := start(t)
	config := jetstream.KeyValueConfig{Bucket: "markers"}
	register, kv := open(t, js, config)
	name := func() string {
		names, err := kv.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return names[slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "/key") })]
	}
	again := func() error {
		if err := js.DeleteKeyValue(t.Context(), config.Bucket); err != nil {
			return err
		}
		if _, _, err := register.Get(t.Context(), "key"); err == nil || errors.Is(err, replaystore.ErrNotFound) {
			t.Errorf("Get without the bucket: %v", err)
		}
		if _, err := register.Put(t.Context(), "key", nil, ""); err == nil || errors.Is(err, replaystore.ErrConflict) {
			t.Errorf("Put without the bucket: %v", err)
		}
		// A bucket that is made at once may have what the server has not removed yet.
		for {
			kv, err := js.CreateKeyValue(t.Context(), config)
			if err != nil {
				return err
			}
			if status, err := kv.Status(t.Context()); err != nil || status.Values() == 0 {
				return err
			}
			if err := js.DeleteKeyValue(t.Context(), config.Bucket); err != nil {
				return err
			}
		}
	}
	var revs []string
	for i, goes := range []func() error{
		func() error { return kv.Delete(t.Context(), name()) },
		func() error { return kv.Purge(t.Context(), name()) },
		func() error {
			return errors.Join(kv.Delete(t.Context(), name()), kv.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)))
		},
		func() error {
			stream, err := js.Stream(t.Context(), "KV_"+config.Bucket)
			return errors.Join(err, stream.Purge(t.Context()))
		},
		again, again, again,
		func() error { return kv.Delete(t.Context(), "epoch") },
		func() error { return kv.Purge(t.Context(), "epoch") },
		func() error {
			err := kv.Delete(t.Context(), "epoch")
			_, putErr := register.Put(t.Context(), "another", nil, "")
			return errors.Join(err, putErr)
		},
	} {
		rev := ""
		for range 5 {
			rev = put(t, register, rev)
			if slices.Contains(revs, rev) {
				t.Fatalf("%d: revision %q came again", i, rev)
			}
			revs = append(revs, rev)
			for _, old := range revs[:len(revs)-1] {
				if _, err := register.Put(t.Context(), "key", nil, old); !errors.Is(err, replaystore.ErrConflict) {
					t.Fatalf("%d: Put with the old revision %q, at %q: %v; want ErrConflict", i, old, rev, err)
				}
			}
		}
		if err := goes(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := register.Get(t.Context(), "key"); !errors.Is(err, replaystore.ErrNotFound) {
			t.Fatalf("%d: Get: %v; want ErrNotFound", i, err)
		}
		for _, old := range slices.Concat(revs, []string{"nonsense", "1", "-1", "a-0", "a-+1"}) {
			if _, err := register.Put(t.Context(), "key", nil, old); !errors.Is(err, replaystore.ErrConflict) {
				t.Fatalf("%d: Put with %q, after the key is gone: %v; want ErrConflict", i, old, err)
			}
		}
	}
}

func TestBucketsThatAreRefused(t *testing.T) {
	js := start(t)
	for word, config := range map[string]jetstream.KeyValueConfig{
		"TTL":          {TTL: 100 * time.Hour},
		"memory":       {Storage: jetstream.MemoryStorage},
		"MaxValueSize": {MaxValueSize: 64 << 10},
		"mirror":       {Mirror: &jetstream.StreamSource{Name: "KV_origin"}},
	} {
		config.Bucket = rand.Text()
		if _, err := js.CreateKeyValue(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if _, err := natsstore.New(t.Context(), js, config.Bucket); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), config.Bucket) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if _, err := natsstore.New(t.Context(), js, "none"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := natsstore.New(ctx, js, "none"); !errors.Is(err, context.Canceled) {
		t.Errorf("a ctx that has ended: %v", err)
	}
}

// TestDomain reaches the same bucket through each name that JetStream's API has.
func TestDomain(t *testing.T) {
	s, err := serve(t.TempDir(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	plain := connect(t, s.ClientURL())
	register, _ := open(t, plain, jetstream.KeyValueConfig{Bucket: "markers"})
	rev := put(t, register, "")
	byDomain, err := jetstream.NewWithDomain(plain.Conn(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	byPrefix, err := jetstream.NewWithAPIPrefix(plain.Conn(), "$JS.hub.API")
	if err != nil {
		t.Fatal(err)
	}
	for _, js := range []jetstream.JetStream{byDomain, byPrefix, plain} {
		register, err := natsstore.New(t.Context(), js, "markers")
		if err != nil {
			t.Fatal(err)
		}
		value, got, err := register.Get(t.Context(), "key")
		if err != nil || string(value) != "value" || got != rev {
			t.Fatalf("Get: %q, %q, %v; want revision %q", value, got, err, rev)
		}
		rev = put(t, register, rev)
	}
}
