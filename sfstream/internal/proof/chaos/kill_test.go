package chaos

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var killSeed = flag.Uint64("kill.seed", 0, "repeat TestKill with this `seed`")

const (
	killChannel = "/event/Order__e"
	killSchema  = `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "double"], "default": null}]}`

	killEvery = 200 * time.Millisecond // on average: 2,000 events per second

	// Now and then the program is stuck, so that kills find events that it has received and not
	// handled.
	killStall = 400

	// A kill repeats what was handled since the last completed Save: what came in within 100 ms and
	// a start of the program, and what had piled up before it, which is little unless the machine
	// is very slow.
	killRepeats = 400
	killFresh   = 300
)

// followArgs is what the killed program is started with.
type followArgs struct {
	LoginURL, Endpoint string
	Account            sfstreamtest.Account
	Transport          sfstream.Transport
	Store, Out         string
}

// follower is the program that gets killed: it appends the number of each order to a file, until
// its stdin ends.
func follower(args followArgs) (err error) {
	store, err := replaystore.OpenBolt(args.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	out, err := os.OpenFile(args.Out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	client, err := sfstream.New(authenticator.Password{
		ConsumerKey: args.Account.ConsumerKey, ConsumerSecret: args.Account.ConsumerSecret,
		Username: args.Account.Username, Password: args.Account.Password, SecurityToken: args.Account.SecurityToken,
	},
		sfstream.WithLoginURL(args.LoginURL), sfstream.WithPubSubEndpoint(args.Endpoint), sfstream.WithTransport(args.Transport),
		sfstream.WithReplayStore(store), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with stdin, as the process does
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := cmp.Or(client.Open(ctx), client.Subscribe(ctx, killChannel)); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	for msg := range client.Messages(ctx) {
		order, err := sfstream.Decode[struct{ Number__c float64 }](msg)
		if err != nil {
			return err
		}
		number := int(order.Number__c)
		if number%killStall == 0 {
			time.Sleep(60 * time.Millisecond)
		}
		if _, err := fmt.Fprintln(out, number); err != nil { // one write(2)
			return err
		}
	}
	return client.Err()
}

// TestKill kills a program with SIGKILL over and over while events come in. None is lost, none
// comes out of order, and only what was handled just before a kill comes again.
func TestKill(t *testing.T) {
	for _, transport := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
		t.Run(transport.String(), func(t *testing.T) { kill(t, transport) })
	}
}

func kill(t *testing.T, transport sfstream.Transport) {
	events, kills := 10_000, 20
	if testing.Short() {
		events, kills = 2_000, 4
	}
	seed := cmp.Or(*killSeed, rand.Uint64())
	t.Logf("to repeat this run: -run %s -kill.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 0))

	org := sfstreamtest.NewServer(t)
	if err := org.DefineEvent(killChannel, killSchema); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := followArgs{
		LoginURL: org.LoginURL(), Endpoint: org.PubSubEndpoint(), Account: org.Account(), Transport: transport,
		Store: filepath.Join(dir, "replay.db"), Out: filepath.Join(dir, "numbers"),
	}
	log := numberLog{path: args.Out}

	// A first run, to its end, tells how fast this machine is: where the program takes long to
	// start, a stream of the usual speed would pile up meanwhile.
	start := runOrders(t, args, &log, 1, func() error { return publishOrder(org, 1) })
	every := min(max(killEvery, 4*start), 3*killEvery)
	perOrder := every * time.Duration(kills) * 5 / 4 / time.Duration(events) // all kills take 4/5 of the stream

	var published atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- publishOrders(t.Context(), org, 2, events, perOrder, &published) }()
	midstream := 0
	for range kills {
		before := int(published.Load())
		cmd := child.Command(t, "follow", args)
		child.Start(t, cmd)
		time.Sleep(time.Duration(random.Int64N(int64(2 * every))))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the program ended by itself: %v", err)
		}
		log.read(t, before)
		if 0 < log.highest && log.highest < events {
			midstream++
		}
	}

	runOrders(t, args, &log, events, func() error { return <-ended })
	t.Logf("%d kills, %d of them mid-stream, every %v; repeated after each restart: %v", kills, midstream, every, log.repeats)
	if want := kills * 3 / 4; midstream < want {
		t.Errorf("only %d of %d kills were mid-stream, want %d", midstream, kills, want)
	}
}

// runOrders is a run of the program that ends in peace, after the last order. It returns how long
// it took to get there.
func runOrders(t *testing.T, args followArgs, log *numberLog, last int, published func() error) time.Duration {
	t.Helper()
	begin := time.Now()
	cmd := child.Command(t, "follow", args)
	stdin := child.Start(t, cmd)
	if err := published(); err != nil {
		t.Fatal(err)
	}
	log.await(t, last)
	took := time.Since(begin)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the program's run: %v", err)
	}
	log.read(t, last)
	return took
}

func publishOrder(org *sfstreamtest.Server, number int) error {
	_, err := org.Publish(killChannel, map[string]any{"Number__c": float64(number)})
	return err
}

// publishOrders publishes some orders at a steady rate, and says how far it is.
func publishOrders(
	ctx context.Context, org *sfstreamtest.Server, first, last int, perOrder time.Duration, published *atomic.Int64,
) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for number := first; number <= last; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for due := first + int(time.Since(start)/perOrder); number < min(last+1, due); number++ {
			if err := publishOrder(org, number); err != nil {
				return err
			}
			published.Store(int64(number))
		}
	}
	return nil
}

// numberLog reads what the runs of the program have written and checks it.
type numberLog struct {
	path    string
	offset  int
	highest int
	allowed int // repeats after the next kill
	repeats []int
}

// read checks what one run wrote: numbers without a gap, that begin right behind those of the runs
// before or, by what is repeated, a little earlier. published is how many there were when the run
// began.
func (l *numberLog) read(t *testing.T, published int) {
	t.Helper()
	data := l.data(t)[l.offset:]
	l.offset += len(data)
	if len(data) == 0 {
		return
	}
	if !bytes.HasSuffix(data, []byte("\n")) {
		t.Fatalf("the file ends in the middle of a line: %q", data[max(0, len(data)-20):])
	}
	want := 0
	for line := range strings.Lines(string(data)) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 { // the first one of this run
			if n > l.highest+1 {
				t.Fatalf("after %d came %d: lost", l.highest, n)
			}
			want = n
			repeated := l.highest + 1 - n
			l.repeats = append(l.repeats, repeated)
			if repeated > l.allowed {
				t.Errorf("after a kill at %d the program began with %d: %d again, want at most %d",
					l.highest, n, repeated, l.allowed)
			}
			l.allowed = max(killRepeats, killFresh+published-n+1)
		}
		if n != want {
			t.Fatalf("%d where %d should be, without a kill", n, want)
		}
		want++
	}
	l.highest = max(l.highest, want-1)
}

func (l *numberLog) data(t *testing.T) []byte {
	data, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // killed before its first event
		t.Fatal(err)
	}
	return data
}

// await waits until the program has written a number, its last one.
func (l *numberLog) await(t *testing.T, last int) {
	t.Helper()
	end := fmt.Appendf(nil, "%d\n", last)
	for deadline := time.Now().Add(20 * time.Second); !bytes.HasSuffix(l.data(t), end); {
		if time.Now().After(deadline) {
			l.read(t, last)
			t.Fatalf("event %d did not come in time: the program is at %d", last, l.highest)
		}
		time.Sleep(time.Millisecond) // another process: nothing tells when
	}
}
