package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The test binary is also the program, and so the processes that -all starts.
func TestMain(m *testing.M) {
	if os.Getenv("INVENTORY_TEST_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Either half is killed when it has just done its work for an order, so that it cannot have kept in
// its file that it has. It is killed again if there is work left for its second life: what it has
// printed may be behind what it has done, and the last order ends them all.
func TestNothingIsLostOrDoneTwiceWhenAHalfIsKilled(t *testing.T) {
	for _, half := range []struct{ name, work string }{{"app", "ordered"}, {"listener", "delivered"}} {
		t.Run(half.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(ctx, self, "-all", "-orders", "5")
			cmd.Env = append(os.Environ(), "INVENTORY_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
			cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var lines []string
			pid, kills := 0, 0
			for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
				line := scanner.Text()
				lines = append(lines, line)
				if number, ok := strings.CutPrefix(line, half.name+": process "); ok {
					if pid, err = strconv.Atoi(number); err != nil {
						t.Fatal(err)
					}
				}
				if strings.HasPrefix(line, half.name+": "+half.work) && kills < 2 && pid != 0 {
					if process, err := os.FindProcess(pid); err != nil || process.Kill() != nil {
						t.Errorf("%d cannot be killed (%v)", pid, err)
					}
					pid, kills = 0, kills+1
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s\n%s", err, &stderr, strings.Join(lines, "\n"))
			}
			text := strings.Join(lines, "\n")
			if last := lines[len(lines)-1]; kills == 0 || !strings.Contains(text, "starting it again") ||
				!strings.HasPrefix(last, "5 orders, 5 deliveries, ") {
				t.Errorf("killed %d times: %s", kills, text)
			}
		})
	}
}

// start runs one of the two in this process until the test ends, and returns a client that follows
// a channel.
func start(t *testing.T, org *sfstreamtest.Server, name, channel string, handle func(*sfstream.Client) handler, follow string) *sfstream.Client {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); isAccount(variable) {
			t.Setenv(name, "")
		}
	}
	for _, variable := range environment(org) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := errors.Join(client.Open(t.Context()), client.Subscribe(t.Context(), follow)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	file, ended := filepath.Join(t.TempDir(), "replay.db"), make(chan error, 1)
	go func() { ended <- run(ctx, name, file, channel, handle) }() // the cleanup waits for it
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client
}

// One change at a time: what the app orders after it is what came of it.
func TestOnlyASaleIsAnOrder(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { org.Close() }) // after the app
	record := func(n string) string { return "00600000000000" + n + "AAA" }
	won, open := map[string]any{"StageName": closedWon}, map[string]any{"StageName": "Prospecting"}
	org.SetRecord("Opportunity", record("8"), won)
	org.SetRecord("Opportunity", record("9"), map[string]any{"StageName": closedWon, "EstimatedDeliveryDate__c": "2026-01-06"})
	client := start(t, org, "app", opportunities, func(client *sfstream.Client) handler { return app{client}.handle }, confirmations)
	for _, test := range []struct {
		change sfstreamtest.Change
		want   []string
	}{
		{sfstreamtest.Change{Type: "CREATE", RecordIDs: []string{record("1")}, Set: open}, nil},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{record("1")}, Set: map[string]any{"Amount": 10.0}}, nil},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{record("1")}, Set: map[string]any{"StageName": "Closed Lost"}}, nil},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{record("1")}, Null: []string{"StageName"}}, nil},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{record("2")}, Set: won, Origin: "com/salesforce/api/rest/60.0;client=" + listenerName}, nil},
		{sfstreamtest.Change{Type: "DELETE", RecordIDs: []string{record("3")}}, nil},
		{sfstreamtest.Change{Type: "CREATE", RecordIDs: []string{record("4")}, Set: won}, []string{record("4")}},
		{sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{record("5"), record("6")}, Set: won}, []string{record("5"), record("6")}},
		{sfstreamtest.Change{Type: "GAP_UPDATE", RecordIDs: []string{record("7"), record("8"), record("9")}}, []string{record("8")}},
	} {
		test.change.Object = "Opportunity"
		if _, err := org.Change(test.change); err != nil {
			t.Fatal(err)
		}
		if test.want == nil {
			continue // what comes of it would be there before what comes of a later one
		}
		for _, want := range test.want {
			msg, err := client.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			order, err := sfstream.Decode[NewOrderConfirmationEvent](msg)
			if err != nil || order.OpptyRecordId == nil || *order.OpptyRecordId != want {
				t.Errorf("%v: order %v (%v), want %s", test.change, order, err, want)
			}
			if same := confirmation(want, time.Now()); msg.ID != same.ID {
				t.Errorf("its id is %s, want %s", msg.ID, same.ID)
			}
		}
	}
	if n := len(org.Retained(confirmations)); n != 4 {
		t.Errorf("%d orders, want 4", n)
	}
}

// Confirmations that are wrong are passed over, and those that come twice are written once.
func TestTheListenerWritesEachOrderOnce(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { org.Close() }) // after the listener
	const id, last = "006000000000001AAA", "006000000000002AAA"
	for _, id := range []string{id, last} {
		org.SetRecord("Opportunity", id, map[string]any{"StageName": closedWon})
	}
	client := start(t, org, "listener", confirmations, func(client *sfstream.Client) handler { return listener{client}.handle }, opportunities)
	date := time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC)
	for _, record := range []any{"", "../Account/001000000000001AAA", "006000000000009AAA", nil, id, id, last} {
		if _, err := org.Publish(confirmations, map[string]any{"OpptyRecordId__c": record, "EstimatedDeliveryDate__c": date}); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]int)
	for seen[last] == 0 || seen[id] == 0 {
		msg, err := client.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		change, err := msg.Change()
		if err != nil || change.OriginClient() != listenerName {
			t.Fatalf("%+v, %v", change, err)
		}
		seen[change.RecordIDs[0]]++
	}
	if n := len(org.Retained(opportunities)); n != 2 {
		t.Errorf("%d changes of 2 opportunities", n)
	}
}

func TestNothingIsDeliveredOnAWeekend(t *testing.T) {
	for won, want := range map[string]string{
		"2026-11-23T23:59:59Z": "2026-11-30", // a Monday
		"2026-11-24T00:00:00Z": "2026-11-30",
		"2026-11-25T10:00:00Z": "2026-11-30",
		"2026-11-26T10:00:00Z": "2026-12-01",
	} {
		at, err := time.Parse(time.RFC3339, won)
		if got := deliveryDate(at).Format(time.DateOnly); err != nil || got != want {
			t.Errorf("won at %s: %s, want %s (%v)", won, got, want, err)
		}
	}
}

var update = flag.Bool("update", false, "write events.go anew")

// events.go must be what sfstream gen prints for this program's org.
func TestEventsAreGenerated(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	cmd := exec.CommandContext(t.Context(), "go", "run", "../../sfstream/cmd/sfstream", "gen", "-pkg", "main", opportunities, confirmations)
	cmd.Env = slices.DeleteFunc(os.Environ(), isAccount)
	cmd.Env = append(cmd.Env, environment(org)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	want, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if *update {
		if err := os.WriteFile("events.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("events.go"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("events.go is not what gen prints (%v): go test ./examples/inventory -update writes it anew", err)
	}
}

func isAccount(variable string) bool { return strings.HasPrefix(variable, "SALESFORCE_") }
