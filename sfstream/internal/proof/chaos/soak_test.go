package chaos

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var (
	soakEvents = flag.Int("soak.events", 200_000, "how `many` events TestSoak publishes")
	soakFaults = flag.Int("soak.faults", 100, "how `many` faults happen meanwhile")
	soakSeed   = flag.Uint64("soak.seed", 1, "decides which faults")
)

const (
	soakGrowth = 8 << 20 // of the program's memory, from a tenth of the way to its end
	soakAhead  = 5_000   // how far the org is ahead of the program
	soakStep   = 500     // how often the program says how far it is
)

// soakChannels are followed by one client over both APIs.
var soakChannels = []string{"/event/SoakOne__e", "/event/SoakTwo__e", "/event/SoakStreamed__e", "/topic/Soak"}

// soakArgs is what the program is started with.
type soakArgs struct {
	LoginURL, Endpoint string
	Account            sfstreamtest.Account
	Store              string
	Events             int
}

// soakFollower is the program: a process of its own, so that its memory is not that of the org,
// which keeps all events. It checks that each channel's numbers come one after the other, and
// prints how many have come.
func soakFollower(args soakArgs) (err error) {
	store, err := replaystore.OpenBolt(args.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	a := args.Account
	client, err := sfstream.New(authenticator.Password{
		ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret,
		Username: a.Username, Password: a.Password, SecurityToken: a.SecurityToken,
	},
		sfstream.WithLoginURL(args.LoginURL), sfstream.WithPubSubEndpoint(args.Endpoint), sfstream.WithReplayStore(store),
		sfstream.WithReplay(sfstream.ReplayAll),
		sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(10 * time.Millisecond) }))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with stdin, as the process does
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := client.Open(ctx); err != nil {
		return err
	}
	for _, channel := range soakChannels {
		var opts []sfstream.SubscribeOption
		if strings.Contains(channel, "Streamed") {
			opts = append(opts, sfstream.Via(sfstream.CometD))
		}
		if err := client.Subscribe(ctx, channel, opts...); err != nil {
			return err
		}
	}
	last, total, early := make(map[string]int), 0, memory{}
	for msg := range client.Messages(ctx) {
		n, err := chaosNumber(msg)
		if err != nil {
			return err
		}
		if n != last[msg.Channel]+1 {
			return fmt.Errorf("%s: number %d after %d", msg.Channel, n, last[msg.Channel])
		}
		last[msg.Channel] = n
		if total++; total == args.Events/10 {
			early = memoryUsed()
		}
		if total%soakStep == 0 || total == args.Events {
			fmt.Println("at", total)
		}
		if total == args.Events {
			msg.Ack()
			break
		}
	}
	if err := client.Err(); err != nil {
		return err
	}
	late := memoryUsed()
	reconnects := 0
	for _, ch := range client.Status().Channels {
		reconnects += ch.Reconnects
	}
	fmt.Println("end", early.heap, early.resident, late.heap, late.resident, reconnects)
	return client.Close()
}

// memory is what a process uses, in bytes.
type memory struct {
	heap     int
	resident int // 0 where the system does not tell
}

func memoryUsed() (m memory) {
	debug.FreeOSMemory() // collects garbage first
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.heap = int(stats.HeapAlloc)
	var pages int
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if _, err := fmt.Sscan(string(text), &pages, &m.resident); err != nil {
			return memory{heap: m.heap}
		}
		m.resident *= os.Getpagesize()
	}
	return m
}

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB (heap %.1f)", float64(m.resident)/(1<<20), float64(m.heap)/(1<<20))
}

// TestSoak lets many events through real sockets while connections break. All of them come once, in
// order, and the program's memory does not grow.
func TestSoak(t *testing.T) {
	events, faults := *soakEvents, *soakFaults
	t.Logf("to repeat this run: -run TestSoak -soak.seed=%d -soak.events=%d -soak.faults=%d", *soakSeed, events, faults)
	org := sfstreamtest.NewServer(t)
	for _, channel := range soakChannels[:3] {
		lab.Must(t, org.DefineEvent(channel, lab.Schema(strings.TrimPrefix(channel, "/event/"))))
	}
	lab.Must(t, org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Soak", Query: "SELECT Id, N__c FROM Soak__c"}))
	cmd := child.Command(t, "soak", soakArgs{
		LoginURL: org.LoginURL(), Endpoint: org.PubSubEndpoint(), Account: org.Account(),
		Store: filepath.Join(t.TempDir(), "replay.db"), Events: events,
	})
	out, err := cmd.StdoutPipe()
	lab.Must(t, err)
	start := time.Now()
	child.Start(t, cmd)
	lines := bufio.NewScanner(out)
	random, names := rand.New(rand.NewPCG(*soakSeed, 0)), make(map[string]int)
	s := soak{t: t, org: org, published: make([]int, len(soakChannels))}
	at, hurt := 0, 0
	for s.total < events || at < events {
		for s.total < events && s.total < at+soakAhead {
			s.publish(random.IntN(len(soakChannels)))
			if hurt < faults && s.total*(faults+1) >= (hurt+1)*events {
				f := soakFaultList[random.IntN(len(soakFaultList))]
				f.do(org)
				names[f.name]++
				hurt++
			}
		}
		if !lines.Scan() {
			break
		}
		_, _ = fmt.Sscanf(lines.Text(), "at %d", &at)
	}
	var early, late memory
	var reconnects int
	for lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "end %d %d %d %d %d", &early.heap, &early.resident, &late.heap, &late.resident, &reconnects)
	}
	if err := cmd.Wait(); err != nil || late.heap == 0 {
		t.Fatalf("the program ended after %d of %d events: %v; faults: %s", at, events, err, counts(names))
	}
	t.Logf("%d events in %s, %d faults, %d reconnects of a channel, %d handshakes, %d logins; memory %v at a tenth, %v at the end; faults: %s",
		at, time.Since(start).Round(time.Millisecond), hurt, reconnects, org.Handshakes(), org.Logins(),
		early, late, counts(names))
	if late.heap > early.heap+soakGrowth || late.resident > early.resident+soakGrowth*soakDetector {
		t.Errorf("memory grew from %v to %v", early, late)
	}
	if n := org.DuplicateConnects(); n > 0 {
		t.Errorf("%d connects beside another one of the session", n)
	}
}

// soak is the org's side of it.
type soak struct {
	t         *testing.T
	org       *sfstreamtest.Server
	published []int
	total     int
}

func (s *soak) publish(i int) {
	s.total++
	s.published[i]++
	var err error
	if name, ok := strings.CutPrefix(soakChannels[i], "/topic/"); ok {
		_, err = s.org.PublishTopic(name, "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": s.published[i]})
	} else {
		_, err = s.org.Publish(soakChannels[i], map[string]any{"N__c": float64(s.published[i])})
	}
	lab.Must(s.t, err)
}

// soakFaultList has what passes within moments of real time.
var soakFaultList = []struct {
	name string
	do   func(org *sfstreamtest.Server)
}{
	{"drop connections", (*sfstreamtest.Server).DropConnections},
	{"goaway", (*sfstreamtest.Server).GoAway},
	{"outage", func(org *sfstreamtest.Server) {
		org.Refuse(true)
		org.DropConnections()
		time.AfterFunc(50*time.Millisecond, func() { org.Refuse(false) })
	}},
	{"end streams: OK", func(org *sfstreamtest.Server) { org.EndStreams("", "OK") }},
	{"end streams: UNAVAILABLE", func(org *sfstreamtest.Server) { org.EndStreams("", "UNAVAILABLE") }},
	{"end streams: INTERNAL", func(org *sfstreamtest.Server) { org.EndStreams(soakChannels[0], "INTERNAL") }},
	{"reject", func(org *sfstreamtest.Server) {
		org.Reject("", 2, "UNAVAILABLE")
		org.EndStreams("", "UNAVAILABLE")
	}},
	{"send again", func(org *sfstreamtest.Server) {
		org.Duplicate(soakChannels[0], 50)
		org.Duplicate(soakChannels[2], 50)
		org.EndStreams("", "UNAVAILABLE")
	}},
	{"unknown client", func(org *sfstreamtest.Server) { org.UnknownClient(1) }},
	{"busy as 401", func(org *sfstreamtest.Server) { org.Busy503As401(1) }},
	{"html error", func(org *sfstreamtest.Server) { org.HTMLError(1, 502) }},
	{"lose response", func(org *sfstreamtest.Server) { org.LoseResponse(1) }},
	{"truncate response", func(org *sfstreamtest.Server) { org.TruncateResponse(1) }},
	{"empty reply", func(org *sfstreamtest.Server) { org.EmptyReply(1) }},
	{"omit connect reply", func(org *sfstreamtest.Server) { org.OmitConnectReply(1) }},
	{"cut reply", func(org *sfstreamtest.Server) {
		org.FailCometD(sfstreamtest.CometDFault{Kind: "connect", CutAfter: 300})
	}},
}
