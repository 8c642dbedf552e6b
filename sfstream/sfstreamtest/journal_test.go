package sfstreamtest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestTheLogOutlivesTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "org.log")
	with := sfstreamtest.WithLog(path)
	var old []sfstreamtest.Event
	var position []byte
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		_, err := r.Change(vectors["p1"])
		check(t, err)
		old = r.publish(3)
		position = recv(t, r.follow(orders, 1)).LatestReplayId // the id is that of a keepalive
		check(t, r.Close())
		if _, err := r.Publish(orders, nil); err == nil {
			t.Error("published after Close")
		}
	}, with)
	tear(t, path)
	bubble(t, func(t *testing.T, r *rig) {
		fresh := r.publish(1)
		got := recvIDs(t, r.open(after(orders, old[0].ReplayID, 10)), 3)
		if want := idsOf(slices.Concat(old[1:], fresh)); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := recvIDs(t, r.open(after(orders, position, 10)), 1); got[0] != fresh[0].ID {
			t.Errorf("from a keepalive's position: %v", got)
		}
		for _, channel := range []string{"/data/AccountChangeEvent", "/data/ChangeEvents"} {
			e := recv(t, r.open(earliest(channel, 1))).Events[0].Event
			if string(e.Payload) != string(vectorBytes(t, "p1")) {
				t.Errorf("%s: payload %x", channel, e.Payload)
			}
			getSchema(t, r, e.SchemaId, codes.OK, "")
		}
		check(t, r.TruncateReplay(orders))
	}, with)
	bubble(t, func(t *testing.T, r *rig) {
		wantEnd(t, r.open(after(orders, position, 1)), codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		recvIDs(t, r.open(earliest("/data/ChangeEvents", 1)), 1)
		check(t, r.Remove(orders))
	}, with)
	corrupt(t, path)
	if _, err := sfstreamtest.Start(sfstreamtest.InMemory(), with); err == nil || !strings.Contains(err.Error(), "line 12: ") {
		t.Errorf("started with a bad line: %v", err)
	}
}

// tear leaves what a process leaves that was killed while it wrote.
func tear(t *testing.T, path string) {
	t.Helper()
	appendTo(t, path, `{"op":"event","channel":"/event/Order_Ev`)
}

// corrupt leaves a whole line that is not an entry.
func corrupt(t *testing.T, path string) {
	t.Helper()
	appendTo(t, path, "not JSON\n")
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString(text)
	check(t, err)
	check(t, f.Close())
}
