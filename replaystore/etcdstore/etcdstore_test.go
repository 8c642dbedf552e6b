package etcdstore_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/etcdstore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func TestRegister(t *testing.T) {
	server := newServer(t)
	replaystoretest.RunRegister(t, func(t *testing.T) replaystore.Register {
		client := server.dial()
		return operated{etcdstore.New(client), client, server}
	})
}

// operated is a register with what an operator can do to it.
type operated struct {
	*etcdstore.Register
	client *clientv3.Client
	server *server
}

// Delete deletes a key by other means.
func (o operated) Delete(ctx context.Context, key string) error {
	_, err := o.client.Delete(ctx, "sfstream/"+key)
	return err
}

// Stall freezes the server.
func (o operated) Stall() (resume func()) {
	o.server.freeze()
	return o.server.thaw
}

func TestAValueOutlivesAKilledServer(t *testing.T) {
	server := newServer(t)
	register := etcdstore.New(server.dial())
	rev := put(t, register, "key", "value", "")
	server.stop()
	server.start()
	register = etcdstore.New(server.dial())
	if value, stored := get(t, register, "key"); value != "value" || stored != rev {
		t.Errorf("got %q, %s after a restart; put was %s", value, stored, rev)
	}
	put(t, register, "key", "another", rev)
}

// etcd counts on from the revision of the snapshot, so it comes to revisions that it has had.
func TestARevisionFromBeforeARestoreNeverMatches(t *testing.T) {
	server := newServer(t)
	register := etcdstore.New(server.dial())
	first := put(t, register, "key", "kept", "")
	server.stop()
	snapshot := t.TempDir()
	if err := os.CopyFS(snapshot, os.DirFS(server.dir)); err != nil {
		t.Fatal(err)
	}
	server.start()
	register = etcdstore.New(server.dial())
	lost := put(t, register, "key", "lost", first)
	server.stop()

	server.dir = snapshot
	server.start()
	register = etcdstore.New(server.dial())
	value, rev := get(t, register, "key")
	if value != "kept" || rev != first {
		t.Fatalf("the restored server has %q, %s: want %s", value, rev, first)
	}
	other := put(t, register, "key", "other's", rev)
	if number, _, _ := strings.Cut(other, "-"); !strings.HasPrefix(lost, number+"-") {
		t.Fatalf("revision %s after the restore, and %s before: the test proves nothing", other, lost)
	}
	if _, err := register.Put(t.Context(), "key", []byte("mine"), lost); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("put with a revision from before the restore: %v, want ErrConflict", err)
	}
}

func TestCallsEndWithTheirContextWhereTheServerIsSilent(t *testing.T) {
	server := newServer(t)
	register := etcdstore.New(server.dial())
	rev := put(t, register, "key", "value", "")
	server.freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, _, getErr := register.Get(ctx, "key")
	_, putErr := register.Put(ctx, "key", []byte("in doubt"), rev)
	if waited := time.Since(begin); waited > 2*time.Second {
		t.Errorf("returned after %v", waited)
	}
	for _, err := range []error{getErr, putErr} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"sfstream/key"`) {
			t.Errorf("error %v, want a deadline that names the key", err)
		}
	}
	server.thaw()
	value, stored := get(t, register, "key")
	if (value == "value") != (stored == rev) {
		t.Errorf("got %q with revision %s; %s was that of value", value, stored, rev)
	}
}

func TestWhatIsNotAValueOfOursIsNotTakenForNone(t *testing.T) {
	client := newServer(t).dial()
	register := etcdstore.New(client, etcdstore.WithPrefix("p/"))
	for _, stored := range []string{"", "text", strings.Repeat("\x02", 40)} {
		if _, err := client.Put(t.Context(), "p/key", stored); err != nil {
			t.Fatal(err)
		}
		_, _, err := register.Get(t.Context(), "key")
		if err == nil || errors.Is(err, replaystore.ErrNotFound) || !strings.Contains(err.Error(), `"p/key"`) {
			t.Errorf("%q in p/key: %v, want an error that names the key", stored, err)
		}
		if _, err := register.Put(t.Context(), "key", nil, ""); !errors.Is(err, replaystore.ErrConflict) {
			t.Errorf("%q in p/key, put with no revision: %v, want ErrConflict", stored, err)
		}
	}
	for _, rev := range []string{"1", "x-00", "-1-", "1-00", "0-" + strings.Repeat("00", 16)} {
		if _, err := register.Put(t.Context(), "key", nil, rev); !errors.Is(err, replaystore.ErrConflict) {
			t.Errorf("put with the revision %q of another engine: %v, want ErrConflict", rev, err)
		}
	}
}

// An edit by other means that keeps the nonce is a change all the same.
func TestAnEditByOtherMeansIsAConflict(t *testing.T) {
	client := newServer(t).dial()
	register := etcdstore.New(client)
	rev := put(t, register, "key", "value", "")
	stored, err := client.Get(t.Context(), "sfstream/key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "sfstream/key", string(stored.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	if _, err := register.Put(t.Context(), "key", nil, rev); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("put: %v, want ErrConflict", err)
	}
}

func TestRegistersWithDifferentPrefixesAreApart(t *testing.T) {
	client := newServer(t).dial()
	put(t, etcdstore.New(client), "key", "of the default", "")
	put(t, etcdstore.New(client, etcdstore.WithPrefix("a/")), "key", "of a", "")
	put(t, etcdstore.New(namespace.NewKV(client, "n/")), "key", "of n", "")
	for prefix, want := range map[string]string{"sfstream/": "of the default", "a/": "of a", "n/sfstream/": "of n"} {
		if value, _ := get(t, etcdstore.New(client, etcdstore.WithPrefix(prefix)), "key"); value != want {
			t.Errorf("prefix %s has %q, want %q", prefix, value, want)
		}
	}
}

func put(t *testing.T, register replaystore.Register, key, value, rev string) string {
	t.Helper()
	rev, err := register.Put(t.Context(), key, []byte(value), rev)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func get(t *testing.T, register replaystore.Register, key string) (value, rev string) {
	t.Helper()
	stored, rev, err := register.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(stored), rev
}
