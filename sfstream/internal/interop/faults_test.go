package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// otherName is a host name that only names.js leads here, as a hosts file or a container's network
// would.
const otherName = "org.test"

// follower is a client that others wrote, which follows the order event.
type follower struct {
	t       *testing.T
	org     *testorg
	program *clientProgram
	lines   chan map[string]any // closed when the program has ended

	published float64
	seen      []float64        // the numbers of the events that came
	heard     []map[string]any // all other lines
}

// follow starts a program and returns when it follows: it has got an event.
func follow(t *testing.T, org *testorg, start func(*testing.T, *testorg) *clientProgram) *follower {
	t.Helper()
	f := newFollower(t, org, start)
	f.flows()
	return f
}

func newFollower(t *testing.T, org *testorg, start func(*testing.T, *testorg) *clientProgram) *follower {
	t.Helper()
	f := &follower{t: t, org: org, program: start(t, org), lines: make(chan map[string]any, 1000)}
	go func() { // ends with the program's output
		defer close(f.lines)
		for f.program.out.Scan() {
			var line map[string]any
			if json.Unmarshal(f.program.out.Bytes(), &line) == nil {
				f.lines <- line
			}
		}
	}()
	return f
}

// publish publishes n numbers.
func (f *follower) publish(n int) {
	f.t.Helper()
	for range n {
		f.published++
		f.org.control("publish", map[string]any{"channel": order, "payload": map[string]any{"N__c": f.published}})
	}
}

// await reads lines until ok says that it is enough.
func (f *follower) await(what string, ok func() bool) {
	f.t.Helper()
	limit := time.After(40 * time.Second)
	for !ok() {
		select {
		case line, open := <-f.lines:
			if !open {
				f.t.Fatalf("the client has ended before %s: it said %v", what, f.heard)
			}
			f.take(line)
		case <-limit:
			f.t.Fatalf("no %s: got %v of %v numbers, and heard %v", what, f.seen, f.published, f.heard)
		}
	}
}

func (f *follower) take(line map[string]any) {
	payload, _ := line["payload"].(map[string]any)
	if data, ok := line["data"].(map[string]any); ok { // cometd.js prints whole messages
		payload, _ = data["payload"].(map[string]any)
	}
	if n, ok := payload["N__c"].(float64); ok {
		f.seen = append(f.seen, n)
		return
	}
	f.heard = append(f.heard, line)
}

// says waits for a line that is no event and has a member.
func (f *follower) says(member string) {
	f.t.Helper()
	from := len(f.heard)
	f.await(fmt.Sprintf("line with %q", member), func() bool {
		for ; from < len(f.heard); from++ {
			if f.heard[from][member] != nil {
				return true
			}
		}
		return false
	})
}

// flows publishes until the newest number comes, because nothing tells when a client has
// subscribed.
func (f *follower) flows() {
	f.t.Helper()
	seen := len(f.seen)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(40 * time.Second)
	for len(f.seen) == seen {
		select {
		case <-tick.C:
			f.publish(1)
		case line, open := <-f.lines:
			if !open {
				f.t.Fatalf("the client has ended: it said %v", f.heard)
			}
			f.take(line)
		case <-limit:
			f.t.Fatalf("nothing comes: got %v of %v numbers, and heard %v", f.seen, f.published, f.heard)
		}
	}
	f.await("the last number", func() bool { return f.seen[len(f.seen)-1] == f.published })
}

// quiet fails if a number above n comes, as far as half a second can tell.
func (f *follower) quiet(n float64) {
	f.t.Helper()
	for limit := time.After(500 * time.Millisecond); ; {
		select {
		case line, open := <-f.lines:
			if !open {
				f.t.Fatalf("the client has ended: it said %v", f.heard)
			}
			if f.take(line); len(f.seen) > 0 && f.seen[len(f.seen)-1] > n {
				f.t.Fatalf("%v came", f.seen[len(f.seen)-1])
			}
		case <-limit:
			return
		}
	}
}

// inOrder fails unless each number came after smaller ones, once, and reports those that are
// missing since the first.
func (f *follower) inOrder() (missing []float64) {
	f.t.Helper()
	for i := 1; i < len(f.seen); i++ {
		if f.seen[i] <= f.seen[i-1] {
			f.t.Errorf("%v came after %v: %v", f.seen[i], f.seen[i-1], f.seen)
		}
		for n := f.seen[i-1] + 1; n < f.seen[i]; n++ {
			missing = append(missing, n)
		}
	}
	return missing
}

func (o *testorg) fault(name string, parameters ...any) {
	o.t.Helper()
	body := map[string]any{"fault": name}
	for i := 0; i < len(parameters); i += 2 {
		body[parameters[i].(string)] = parameters[i+1]
	}
	o.control("fault", body)
}

// cometdClients are the programs of clients of the Streaming API.
var cometdClients = map[string]string{"jsforce": "jsforce.js", "faye": "faye.js", "cometd.js": "cometd.mjs"}

func startCometDClient(script string, more ...string) func(*testing.T, *testorg) *clientProgram {
	return func(t *testing.T, org *testorg) *clientProgram {
		return startClient(t, org.env(t), script, append([]string{org.LoginURL, org.Username, org.Password, order}, more...)...)
	}
}

func startPubSubClient(t *testing.T, org *testorg) *clientProgram {
	config, err := json.Marshal(map[string]any{
		"authType": "oauth-client-credentials", "loginUrl": org.LoginURL, "pubSubEndpoint": org.PubSub,
		"clientId": org.ConsumerKey, "clientSecret": org.ConsumerSecret,
		"rejectUnauthorizedSsl": false, // it brings authorities of its own
	})
	check(t, err)
	return startClient(t, append(org.env(t), "CONFIG="+string(config), "RESUME=1"), "pubsub.js", order)
}

// env is the environment of a client: the authority of the org, and its name.
func (o *testorg) env(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Abs(filepath.Join("clients", "names.js"))
	check(t, err)
	return []string{
		"CONSUMER_KEY=" + o.ConsumerKey, "CONSUMER_SECRET=" + o.ConsumerSecret,
		"NODE_EXTRA_CA_CERTS=" + o.CAFile, "NODE_OPTIONS=--require=" + names, "TEST_HOST=" + otherName, "NODE_NO_WARNINGS=1",
	}
}

// places are where clients are told that an org is.
func places(t *testing.T, program string) map[string]func(*testing.T) *testorg {
	ca := filepath.Join(t.TempDir(), "ca.pem") // both have one authority
	start := func(args ...string) func(*testing.T) *testorg {
		return func(t *testing.T) *testorg {
			org := startTestorg(t, program, append([]string{"-tls", "-ca", ca}, args...)...)
			var err error
			org.CAFile, err = filepath.Abs(org.CAFile)
			check(t, err)
			return org
		}
	}
	return map[string]func(*testing.T) *testorg{
		"localhost": start("-http", "localhost:0", "-pubsub", "localhost:0"),
		otherName: func(t *testing.T) *testorg {
			http, pubsub := freePort(t), freePort(t)
			return start("-http", "127.0.0.1:"+http, "-url", "https://"+otherName+":"+http, "-pubsub", "127.0.0.1:"+pubsub, "-pubsub-url", "https://"+otherName+":"+pubsub)(t)
		},
	}
}

// freePort returns a port that is free now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	check(t, err)
	return port
}

func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sfstream")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/sfstream").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestClientsThatOthersWroteAndFaults runs each client unchanged against the program, over two
// names, with faults that the control API switches on and off again. What a client cannot do is in
// README.md and is not asked of it.
func TestClientsThatOthersWroteAndFaults(t *testing.T) {
	t.Parallel()
	for place, start := range places(t, buildProgram(t)) {
		for name, script := range cometdClients {
			t.Run(place+"/"+name, func(t *testing.T) {
				t.Parallel()
				org := start(t)
				more := []string{}
				if name == "jsforce" {
					more = append(more, "-1") // its replay extension
				}
				throughFaults(t, org, startCometDClient(script, more...), func() { org.fault("UnknownClient") })
			})
		}
		t.Run(place+"/node", func(t *testing.T) {
			t.Parallel()
			org := start(t)
			throughFaults(t, org, startPubSubClient, func() {})
		})
	}
}

// throughFaults follows the order event through an outage, cut connections, a lost session and a
// refusal. forget makes the org forget the sessions that it has.
func throughFaults(t *testing.T, org *testorg, start func(*testing.T, *testorg) *clientProgram, forget func()) {
	f := follow(t, org, start)

	// An outage, after which the org knows no session any more.
	org.fault("Refuse")
	org.fault("DropConnections")
	forget()
	during := f.published
	f.publish(3)
	f.quiet(during)
	org.fault("Refuse", "on", false)
	f.flows()
	if missing := f.inOrder(); len(missing) > 0 {
		t.Errorf("after an outage %v are missing: %v", missing, f.seen)
	}

	// The connections are cut, and the org still has the session: it writes what is published now
	// into a dead connection, where a client of the Streaming API loses it.
	org.fault("DropConnections")
	f.flows()
	before := len(f.inOrder())

	// The session is lost alone. The connect that the org holds still brings events, and only the
	// one after it is told that the session is lost: what comes next comes over a new session.
	forget()
	f.publish(2)
	f.flows()
	f.flows()
	if missing := f.inOrder(); len(missing) != before {
		t.Errorf("after a lost session %v are missing: %v", missing, f.seen)
	}

	// A refusal reaches the program, and what the control API switches off is off.
	org.fault("Reject", "channel", order, "n", -1, "code", "subscription.limit.exceeded")
	other := newFollower(t, org, start)
	other.says("error")
	if len(other.seen) > 0 {
		t.Errorf("a client that was refused got %v", other.seen)
	}
	org.fault("ClearFaults")
	f.flows()
	follow(t, org, start)
}
