package replaystoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// RunRegister tests the contract of [replaystore.Register], and that a [replaystore.Claim] keeps
// its word over it. It calls open once in each sub-test: open returns a register, and closes it
// with [testing.T.Cleanup]. The registers may share an engine, because all keys are new.
//
// A register may have more methods, which RunRegister uses: Delete(ctx, key) error deletes a key as
// an operator would, and Stall() (resume func()) lets the engine, or the way to it, fall silent
// without closing a connection, as a proxy in between can do. What needs them is skipped otherwise.
func RunRegister(t *testing.T, open func(t *testing.T) replaystore.Register) {
	t.Helper()
	for _, test := range registerContract() {
		t.Run(test.sentence, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// The optional methods of a register.
type (
	keyDeleter interface {
		Delete(ctx context.Context, key string) error
	}
	staller interface {
		Stall() (resume func())
	}
)

type registerClause struct {
	sentence string
	run      func(t *testing.T, r replaystore.Register)
}

func registerContract() []registerClause {
	return []registerClause{
		{"a key that was never put is not found", func(t *testing.T, r replaystore.Register) {
			key := newKey()
			expectNoValue(t, r, key)
			mustPut(t, r, newKey(), "other", "")
			expectNoValue(t, r, key)
		}},
		{"without a revision a value is only created", func(t *testing.T, r replaystore.Register) {
			key := newKey()
			rev := mustPut(t, r, key, "1", "")
			expectConflict(t, r, key, "2", "")
			expectValue(t, r, key, "1", rev)
		}},
		{"a value is replaced at its revision and at no other", func(t *testing.T, r replaystore.Register) {
			key, other := newKey(), newKey()
			first := mustPut(t, r, key, "1", "")
			second := mustPut(t, r, key, "2", first)
			expectConflict(t, r, key, "3", first)
			expectConflict(t, r, key, "3", mustPut(t, r, other, "other", ""))
			expectValue(t, r, key, "2", second)
		}},
		{"a revision of another key creates nothing", func(t *testing.T, r replaystore.Register) {
			key := newKey()
			expectConflict(t, r, key, "1", mustPut(t, r, newKey(), "other", ""))
			expectNoValue(t, r, key)
		}},
		{"the same value put again has another revision", func(t *testing.T, r replaystore.Register) {
			key, seen := newKey(), make(map[string]bool)
			rev := ""
			for range 20 {
				seen[rev] = true
				if rev = mustPut(t, r, key, "same", rev); seen[rev] {
					t.Fatalf("the revision %q came twice", rev)
				}
				expectValue(t, r, key, "same", rev)
			}
		}},
		{"a revision does not come again when a key was deleted", deletion},
		{"a value may be empty and have 64 KiB", func(t *testing.T, r replaystore.Register) {
			key, rev := newKey(), ""
			every := make([]byte, 256)
			for i := range every {
				every[i] = byte(i)
			}
			large := string(bytes.Repeat(every, 256))
			for _, value := range []string{"", large, "\x00", "", large[1:] + "\n"} {
				rev = mustPut(t, r, key, value, rev)
				expectValue(t, r, key, value, rev)
			}
		}},
		{"keys of all texts stay different", func(t *testing.T, r replaystore.Register) {
			keys := textKeys()
			var puts sync.WaitGroup
			for i := range 4 {
				puts.Go(func() {
					for ; i < len(keys); i += 4 {
						if _, err := r.Put(t.Context(), keys[i], []byte(strconv.Itoa(i)), ""); err != nil {
							t.Errorf("Put(%.50q): %v", keys[i], err)
						}
					}
				})
			}
			puts.Wait()
			for i, key := range keys {
				expectValue(t, r, key, strconv.Itoa(i), "")
			}
		}},
		{"values belong to the caller", func(t *testing.T, r replaystore.Register) {
			key, value := newKey(), []byte("abc")
			if _, err := r.Put(t.Context(), key, value, ""); err != nil {
				t.Fatal(err)
			}
			value[0] = 'X'
			got, _, err := r.Get(t.Context(), key)
			if err != nil || string(got) != "abc" {
				t.Fatalf("Get: %q, %v", got, err)
			}
			got[0] = 'X'
			_ = append(got, "yz"...)
			expectValue(t, r, key, "abc", "")
		}},
		{"with a ctx that has ended nothing is put and nothing is not found", func(t *testing.T, r replaystore.Register) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			key := newKey()
			if _, _, err := r.Get(ctx, key); err == nil || errors.Is(err, replaystore.ErrNotFound) {
				t.Fatalf("Get: %v; want that ctx has ended", err)
			}
			if _, err := r.Put(ctx, key, []byte("1"), ""); err == nil || errors.Is(err, replaystore.ErrConflict) {
				t.Fatalf("Put: %v; want that ctx has ended", err)
			}
			expectNoValue(t, r, key)
		}},
		{"a call whose ctx ends has happened or not", interrupted},
		{"an engine that falls silent holds nobody up", silent},
		{"a put whose reply is lost has happened", func(t *testing.T, r replaystore.Register) {
			key := newKey()
			f := &Faulty{Register: r, Plan: func(c Call) Fault { return Fault{ReplyLost: c.Put, GiveUp: 200 * time.Millisecond} }}
			if _, err := f.Put(t.Context(), key, []byte("1"), ""); !errors.Is(err, ErrLost) {
				t.Fatal(err)
			}
			f.Wait()
			rev := expectValue(t, r, key, "1", "")
			expectConflict(t, r, key, "2", "")
			mustPut(t, r, key, "2", rev)
		}},
		{"a put that comes late is carried out only at its revision", latePut},
		{"two writers lose no write of theirs", twoWriters},
		{"a claim keeps its key where replies are lost", claimAdopts},
		{"a claim that is deposed is so for ever", claimDeposed},
		{"a claim creates again what was deleted", claimCreates},
	}
}

func deletion(t *testing.T, r replaystore.Register) {
	d, ok := r.(keyDeleter)
	if !ok {
		t.Skipf("%T has no method Delete", r)
	}
	key := newKey()
	var revs []string
	for i := range 5 {
		if i > 0 {
			if err := d.Delete(t.Context(), key); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			expectNoValue(t, r, key)
		}
		for _, old := range revs {
			expectConflict(t, r, key, "old", old)
		}
		rev := mustPut(t, r, key, "same", "")
		for _, old := range revs {
			expectConflict(t, r, key, "old", old)
		}
		expectValue(t, r, key, "same", rev)
		revs = append(revs, rev)
	}
}

// interrupted lets ctx end at all moments of a Put.
func interrupted(t *testing.T, r replaystore.Register) {
	key, rev := newKey(), ""
	for i := range 40 {
		value := strconv.Itoa(i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		began := time.Now()
		newRev, err := r.Put(ctx, key, []byte(value), rev)
		cancel()
		switch took := time.Since(began); {
		case took > 2*time.Second:
			t.Fatalf("Put returned %v after its ctx had ended", took)
		case err == nil:
			rev = newRev
			continue
		case errors.Is(err, replaystore.ErrConflict):
			t.Fatalf("Put: %v; want that ctx has ended", err)
		}
		// Another put ends what may still be under way.
		for {
			if newRev, err = r.Put(t.Context(), key, []byte(value), rev); err == nil {
				rev = newRev
				break
			}
			if !errors.Is(err, replaystore.ErrConflict) {
				t.Fatalf("Put: %v", err)
			}
			rev = expectValue(t, r, key, value, "")
		}
	}
}

func silent(t *testing.T, r replaystore.Register) {
	s, ok := r.(staller)
	if !ok {
		t.Skipf("%T has no method Stall", r)
	}
	key := newKey()
	rev := mustPut(t, r, key, "1", "")
	resume := s.Stall()
	for _, put := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		var err error
		if put {
			_, err = r.Put(ctx, key, []byte("2"), rev)
		} else {
			_, _, err = r.Get(ctx, key)
		}
		cancel()
		if err == nil || errors.Is(err, replaystore.ErrConflict) || errors.Is(err, replaystore.ErrNotFound) {
			t.Errorf("put %v: %v of a silent engine", put, err)
		}
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("put %v: it returned %v after its ctx had ended", put, took)
		}
	}
	resume()
	for deadline := time.Now().Add(5 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		value, rev, err := r.Get(ctx, key)
		if err == nil {
			if string(value) != "1" && string(value) != "2" {
				t.Errorf("the value is %q", value)
			}
			_, err = r.Put(ctx, key, []byte("3"), rev)
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine is back, and: %v", err)
		}
	}
}

func latePut(t *testing.T, r replaystore.Register) {
	key := newKey()
	f := &Faulty{Register: r, Plan: func(Call) Fault {
		return Fault{Out: 100 * time.Millisecond, GiveUp: 10 * time.Millisecond}
	}}
	late := func(value, rev string) {
		t.Helper()
		if _, err := f.Put(t.Context(), key, []byte(value), rev); !errors.Is(err, ErrLost) {
			t.Fatal(err)
		}
	}
	late("late", "") // one that creates, when another has created
	rev := mustPut(t, r, key, "1", "")
	f.Wait()
	expectValue(t, r, key, "1", rev)
	late("late", rev) // one that replaces, when another has replaced
	rev = mustPut(t, r, key, "2", rev)
	f.Wait()
	expectValue(t, r, key, "2", rev)
	late("late", rev) // nobody else
	f.Wait()
	expectValue(t, r, key, "late", "")
}

// twoWriters raise a number 10,000 times, or for a minute, with -short for a second.
func twoWriters(t *testing.T, r replaystore.Register) {
	const wanted = 10_000
	limit := time.Minute
	if testing.Short() {
		limit = time.Second
	}
	key, began := newKey(), time.Now()
	mustPut(t, r, key, "0", "")
	var mu sync.Mutex
	revs, done := make(map[string]bool), 0
	raise := func() error {
		value, rev, err := r.Get(t.Context(), key)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return err
		}
		rev, err = r.Put(t.Context(), key, []byte(strconv.Itoa(n+1)), rev)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if revs[rev] {
			return fmt.Errorf("the revision %q came twice", rev)
		}
		revs[rev] = true
		done++
		return nil
	}
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return done < wanted && time.Since(began) < limit
	}
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for more() {
				if err := raise(); err != nil && !errors.Is(err, replaystore.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	t.Logf("%d writes in %v", done, time.Since(began))
	expectValue(t, r, key, strconv.Itoa(done), "")
}

// newKey returns a key that nothing else has.
func newKey() string { return "00D000000000062EAA/pubsub//event/" + rand.Text() }

// textKeys returns keys that an engine may mistake for one another, new ones at each call.
func textKeys() []string {
	start := rand.Text()
	long := start + strings.Repeat("ü/", 332) + strings.Repeat("x", 1024-332*3-len(start)-1)
	keys := []string{
		start, strings.ToLower(start), start + "/", "/" + start, start + "//x", start + "/x",
		long + "a", long + "b", strings.Repeat(start, 10), start + "é", start + "e\u0301", start + "日本語 🚚",
	}
	for _, c := range "|:;,. \t\n\x00\x1f\x7f\\\"'%*>{}[]()_=+-~^$#@!?&<`" {
		keys = append(keys, start+string(c)+"a", string(c)+start)
	}
	return append(keys, start+"%2Fx", start+"..", "../"+start, start+"/.", "~"+start+"/*", start+".>", start+"{x}", start+" ", start+"/a/", start+"\x00")
}

func mustPut(t *testing.T, r replaystore.Register, key, value, rev string) (newRev string) {
	t.Helper()
	newRev, err := r.Put(t.Context(), key, []byte(value), rev)
	if err != nil || newRev == "" {
		t.Fatalf("Put(%.50q) at %q: revision %q, %v", key, rev, newRev, err)
	}
	return newRev
}

func expectConflict(t *testing.T, r replaystore.Register, key, value, rev string) {
	t.Helper()
	if newRev, err := r.Put(t.Context(), key, []byte(value), rev); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("Put(%.50q) at %q: revision %q, %v; want ErrConflict", key, rev, newRev, err)
	}
}

// expectValue fails the test unless the value is want, at rev if that is not empty.
func expectValue(t *testing.T, r replaystore.Register, key, want, rev string) (got string) {
	t.Helper()
	value, got, err := r.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%.50q): %v", key, err)
	}
	if string(value) != want {
		t.Fatalf("Get(%.50q) = %.50q, want %.50q (%d bytes, want %d)", key, value, want, len(value), len(want))
	}
	if got == "" || rev != "" && got != rev {
		t.Fatalf("Get(%.50q): the revision is %q, want %q", key, got, rev)
	}
	return got
}

func expectNoValue(t *testing.T, r replaystore.Register, key string) {
	t.Helper()
	if value, rev, err := r.Get(t.Context(), key); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatalf("Get(%.50q) = %.50q, %q, %v; want ErrNotFound", key, value, rev, err)
	}
}
