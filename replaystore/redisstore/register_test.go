package redisstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/redisstore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func newRegister(tb testing.TB, client redis.UniversalClient) *redisstore.Register {
	tb.Helper()
	register, err := redisstore.New(client, redisstore.WithPrefix("test-"+rand.Text()+":"))
	if err != nil {
		tb.Fatal(err)
	}
	return register
}

// contract is a register whose keys can be deleted and whose server can fall silent.
type contract struct {
	*redisstore.Register
	client redis.UniversalClient
	prefix string
	server *server
}

func (c contract) Delete(ctx context.Context, key string) error {
	return c.client.Del(ctx, c.prefix+key).Err()
}

func (c contract) Stall() (resume func()) { return c.server.stall() }

func TestRegister(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client(t)
	const prefix = "{x}/ü:"
	register, err := redisstore.New(client, redisstore.WithPrefix(prefix))
	if err != nil {
		t.Fatal(err)
	}
	replaystoretest.RunRegister(t, func(*testing.T) replaystore.Register { return contract{register, client, prefix, server} })
}

func put(tb testing.TB, register replaystore.Register, value, rev string) string {
	tb.Helper()
	newRev, err := register.Put(tb.Context(), "key", []byte(value), rev)
	if err != nil {
		tb.Fatal(err)
	}
	return newRev
}

// TestARevisionNeverComesAgain makes the same values again after each way in which a key can go.
func TestARevisionNeverComesAgain(t *testing.T) {
	client := serve(t).client(t)
	register := newRegister(t, client)
	var revs []string
	for _, goes := range []func() error{
		func() error { return client.FlushAll(t.Context()).Err() },
		func() error { return client.FlushDB(t.Context()).Err() },
		func() error { return client.Del(t.Context(), client.Keys(t.Context(), "*").Val()...).Err() },
		func() error { return client.Expire(t.Context(), client.Keys(t.Context(), "*").Val()[0], -1).Err() },
	} {
		rev := ""
		for range 3 {
			rev = put(t, register, "value", rev)
			if slices.Contains(revs, rev) {
				t.Fatalf("revision %q came again", rev)
			}
			revs = append(revs, rev)
		}
		if err := goes(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := register.Get(t.Context(), "key"); !errors.Is(err, replaystore.ErrNotFound) {
			t.Fatalf("Get: %v; want ErrNotFound", err)
		}
		for _, old := range revs {
			if _, err := register.Put(t.Context(), "key", nil, old); !errors.Is(err, replaystore.ErrConflict) {
				t.Fatalf("Put with a revision of a key that is gone: %v; want ErrConflict", err)
			}
		}
	}
}

// TestFlushAllUnderAClaim takes everything from a process that holds a key.
func TestFlushAllUnderAClaim(t *testing.T) {
	client := serve(t).client(t)
	register := newRegister(t, client)
	var log bytes.Buffer
	claim := replaystore.NewClaim(register, "key", "me", time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
	if _, _, err := claim.Read(t.Context()); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		claim.Set(replaystore.Marker{ReplayID: []byte(id)})
		if err := claim.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := claim.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := replaystore.NewClaim(register, "key", "other", time.Minute, nil)
		if entry, _, err := other.Read(t.Context()); err != nil || string(entry.Marker.ReplayID) != id || entry.Owner != "me" {
			t.Fatalf("after FLUSHALL: %+v, %v; want the marker %s", entry, err, id)
		}
	}
	if warnings := bytes.Count(log.Bytes(), []byte("level=WARN")); warnings != 3 {
		t.Errorf("%d warnings of 3:\n%s", warnings, log.Bytes())
	}
}

// TestThePutThatTheClientRepeats loses the reply of a put that happened: go-redis sends it again.
func TestThePutThatTheClientRepeats(t *testing.T) {
	server := serve(t)
	var lose atomic.Bool
	var lost atomic.Int32
	client := connect(t, faulty(t, server, func(conn net.Conn, reply []byte) {
		if bytes.Equal(reply, []byte(":1\r\n")) && lose.CompareAndSwap(true, false) {
			lost.Add(1)
			copy(reply, "\x00\x00\x00\x00") // no reply of the protocol's
			conn.Close()
		}
	}))
	register := newRegister(t, client)
	rev := put(t, register, "0", "")
	for i := range 20 {
		// The client repeats it where the connection is cut, and not where the reply is nonsense.
		lose.Store(true)
		next, err := register.Put(t.Context(), "key", fmt.Append(nil, i), rev)
		lose.Store(false)
		if errors.Is(err, replaystore.ErrConflict) {
			t.Fatalf("put %d is a conflict with itself", i)
		}
		value, stored, getErr := register.Get(t.Context(), "key")
		if getErr != nil || string(value) != fmt.Sprint(i) || err == nil && stored != next {
			t.Fatalf("put %d: %q, %v; then %q, %q, %v", i, next, err, value, stored, getErr)
		}
		rev = stored
	}
	if lost.Load() == 0 {
		t.Fatal("no reply was lost")
	}
}

// TestABlackHole has a server that takes everything and answers nothing.
func TestABlackHole(t *testing.T) {
	black, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer black.Close()
	client := connect(t, &redis.Options{Addr: black.Addr().String(), ReadTimeout: time.Minute, DialTimeout: time.Minute})
	register := newRegister(t, client)
	store := open(t, client)
	for what, call := range map[string]func(ctx context.Context) error{
		"Get":  func(ctx context.Context) error { _, _, err := register.Get(ctx, "key"); return err },
		"Put":  func(ctx context.Context) error { _, err := register.Put(ctx, "key", nil, ""); return err },
		"Load": func(ctx context.Context) error { _, err := store.Load(ctx, order); return err },
		"Save": func(ctx context.Context) error {
			return store.Save(ctx, map[replaystore.Key]replaystore.Marker{order: {}})
		},
		"Delete": func(ctx context.Context) error { return store.Delete(ctx, order) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := call(ctx); !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v", what, err, time.Since(began))
		}
	}
	client.Close()
	for deadline := time.Now().Add(10 * time.Second); waiting() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls still wait for a client that is closed", waiting())
		}
	}
}

// waiting returns how many goroutines of the package there are.
func waiting() int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("redisstore.wait["))
}

func TestScriptsThatTheServerHasForgotten(t *testing.T) {
	client := serve(t).client(t)
	register := newRegister(t, client)
	rev := ""
	for range 3 {
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		rev = put(t, register, "value", rev)
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if value, got, err := register.Get(t.Context(), "key"); err != nil || string(value) != "value" || got != rev {
			t.Fatalf("Get: %q, %q, %v", value, got, err)
		}
	}
}
