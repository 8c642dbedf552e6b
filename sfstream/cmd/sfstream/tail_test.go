package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orgOfChanges is an org with a change of each kind, and the environment that leads to it.
func orgOfChanges(t *testing.T) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t)
	accounts := []sfstreamtest.Field{
		{Name: "Name", Type: "Text"}, {Name: "Phone", Type: "Phone"}, {Name: "Industry", Type: "DynamicEnum"},
		{Name: "BillingAddress", Type: "Address"}, {Name: "LastModifiedDate", Type: "DateTime"},
	}
	for _, object := range []string{"Account", "Contact"} {
		if err := org.DefineObject(object, accounts...); err != nil {
			t.Fatal(err)
		}
	}
	one, two := "001000000000001AAA", "001000000000002AAA"
	for _, c := range []sfstreamtest.Change{
		{Object: "Account", Type: "CREATE", RecordIDs: []string{one}, Set: map[string]any{"Name": "Byron & Sons", "Industry": "Retail"}},
		{Object: "Account", Type: "UPDATE", RecordIDs: []string{one, two}, Set: map[string]any{"Phone": "+33 4"}, Null: []string{"Industry"}},
		{Object: "Account", Type: "UPDATE", RecordIDs: []string{one}, Set: map[string]any{"BillingAddress": map[string]any{"City": "Lyon"}}},
		{Object: "Contact", Type: "UPDATE", RecordIDs: []string{two}, Set: map[string]any{"Phone": "+44\x1b[2J\u009b2J\u202e"}},
		{Object: "Account", Type: "GAP_UPDATE", RecordIDs: []string{one}},
		{Object: "Account", Type: "DELETE", RecordIDs: []string{one}},
		{Object: "Account", Type: "GAP_OVERFLOW", RecordIDs: []string{"000000000000000AAA"}},
	} {
		if _, err := org.Change(c); err != nil {
			t.Fatal(err)
		}
	}
	account := org.Account()
	for name, value := range map[string]string{
		"LOGIN_URL": org.LoginURL(), "PUBSUB_ENDPOINT": org.PubSubEndpoint(), "CONSUMER_KEY": account.ConsumerKey,
		"CONSUMER_SECRET": account.ConsumerSecret,
	} {
		t.Setenv("SALESFORCE_"+name, value)
	}
	return org
}

// tailOut runs tail, in this process, and returns what it prints. One that would print too little,
// and wait for more, is interrupted.
func tailOut(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if status := run(ctx, append([]string{"tail"}, args...), &stdout, &stderr); status != 0 {
		t.Fatalf("tail %q: exit status %d: %s", args, status, &stderr)
	}
	return stdout.String()
}

// kinds returns entity and type of the events in tail's lines.
func kinds(t *testing.T, out string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(out) {
		var event struct {
			Data struct {
				Payload struct {
					ChangeEventHeader struct{ EntityName, ChangeType string }
				}
			}
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		header := event.Data.Payload.ChangeEventHeader
		all = append(all, header.EntityName[:1]+":"+header.ChangeType)
	}
	return strings.Join(all, " ")
}

func TestTailFiltersChangeEvents(t *testing.T) {
	orgOfChanges(t)
	for _, test := range []struct {
		flags string
		want  string
	}{
		{"-entity Contact", "C:UPDATE"},
		{"-entity account -type DELETE", "A:DELETE A:GAP_OVERFLOW"},
		{"-entity Contact,Account -type create", "A:CREATE A:GAP_OVERFLOW"},
		{"-entity Contact -entity Account -type UNDELETE", "A:GAP_OVERFLOW"},
		{"-type UPDATE", "A:UPDATE A:UPDATE C:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-type GAP_UPDATE", "A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-field Phone", "A:UPDATE C:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-field phone,Name", "A:CREATE A:UPDATE C:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-field BillingAddress", "A:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-field BillingAddress.City", "A:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-field BillingAddress.Street", "A:GAP_UPDATE A:GAP_OVERFLOW"},
		{"-entity Account -type UPDATE -field Industry", "A:UPDATE A:GAP_UPDATE A:GAP_OVERFLOW"}, // which it nulled
	} {
		for _, api := range []string{"", "-cometd "} {
			count := len(strings.Fields(test.want))
			args := strings.Fields(fmt.Sprintf("%s%s -from all -count %d /data/ChangeEvents", api, test.flags, count))
			if got := kinds(t, tailOut(t, args...)); got != test.want {
				t.Fatalf("tail %v printed %s, want %s", args, got, test.want)
			}
		}
	}
}

// What is filtered out is handled, and -count counts what is printed.
func TestWhatIsFilteredOutDoesNotComeAgain(t *testing.T) {
	orgOfChanges(t)
	file := filepath.Join(t.TempDir(), "replay.db")
	if got := kinds(t, tailOut(t, "-replay", file, "-from", "all", "-type", "DELETE", "-count", "1", "/data/AccountChangeEvent")); got != "A:DELETE" {
		t.Errorf("printed %s", got)
	}
	if got := kinds(t, tailOut(t, "-replay", file, "-count", "1", "/data/AccountChangeEvent")); got != "A:GAP_OVERFLOW" {
		t.Errorf("then printed %s", got)
	}
}

// clockTime is the time that begins a line.
var clockTime = regexp.MustCompile(`(?m)^\d\d-\d\d \d\d:\d\d:\d\d  `)

func TestAnEventIsOneLine(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	if _, err := org.Publish("/event/Order__e", map[string]any{"Number__c": 7}); err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{"", "-cometd "} {
		out := tailOut(t, strings.Fields(api+"-o line -from all -count 7 /data/ChangeEvents")...)
		out = clockTime.ReplaceAllString(regexp.MustCompile(`LastModifiedDate="[^"]*"`).ReplaceAllString(out, "LastModifiedDate"), "")
		want := `Account  CREATE    001000000000001AAA  Industry="Retail" Name="Byron & Sons"
Account  UPDATE    001000000000001AAA +1  Phone="+33 4" Industry=null LastModifiedDate
Account  UPDATE    001000000000001AAA  BillingAddress.City="Lyon" LastModifiedDate
Contact  UPDATE    001000000000002AAA  Phone="+44\x1b[2J\u009b2J\u202e" LastModifiedDate
Account  GAP_UPDATE  001000000000001AAA  Salesforce does not tell the fields: read the records again
Account  DELETE    001000000000001AAA
Account  GAP_OVERFLOW  more changes than Salesforce tells one by one: read all records again
`
		if out != want {
			t.Errorf("%sprinted\n%s\nwant\n%s", api, out, want)
		}
	}
	out := clockTime.ReplaceAllString(tailOut(t, "-o", "line", "-from", "all", "-count", "1", "/event/Order__e"), "")
	if !regexp.MustCompile(`^Order__e  0000[0-9a-f]{16}  Number__c=7\n$`).MatchString(out) {
		t.Errorf("printed %q", out)
	}
}

func TestALineIsCutAndColouredAsTheTerminalWants(t *testing.T) {
	p := painter{}
	p.add(bold, "Account")
	p.add(noColour, "  ")
	p.add(yellow, "東京\x1b[2J")
	for _, test := range []struct {
		on   terminal
		want string
	}{
		{terminal{}, `Account  東京\x1b[2J`},
		{terminal{is: true, width: 20}, `Account  東京\x1b[2J`},
		{terminal{is: true, width: 19}, `Account  東京\x1b[…`},
		{terminal{is: true, width: 13}, `Account  東…`},
		{terminal{is: true, width: 12}, `Account  東…`},
		{terminal{is: true, width: 11}, `Account  …`},
		{terminal{is: true, width: 3}, `Ac…`},
		{terminal{is: true, width: 1}, `…`},
		{terminal{is: true, width: 14, colour: true}, "\x1b[1mAccount\x1b[0m  \x1b[33m東京\x1b[0m…"},
	} {
		if got := p.line(test.on); got != test.want {
			t.Errorf("%+v: %q, want %q", test.on, got, test.want)
		}
	}
}

func TestJSONIsForGrepAndForTerminals(t *testing.T) {
	line, err := plainJSON(map[string]string{"a": "<Byron> & Sons\u007f\u009b2J\x1b[2J\n\u202e東"})
	if want := `{"a":"<Byron> & Sons\u007f\u009b2J\u001b[2J\n\u202e東"}`; err != nil || string(line) != want {
		t.Errorf("%s, %v, want %s", line, err, want)
	}
	orgOfChanges(t)
	if out := tailOut(t, "-from", "all", "-count", "1", "/data/AccountChangeEvent"); !strings.Contains(out, `"Name":"Byron & Sons"`) {
		t.Errorf("printed %s", out)
	}
}

func TestARefusedIDFallsBackWhereItIsTold(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 2)
	for _, api := range []string{"-cometd=false", "-cometd"} {
		if got := o.tailed(t, api, "-from", "123456", "-fallback", "all", "-count", "2", "/event/Order__e"); got != "1 2" {
			t.Errorf("%s: printed %s", api, got)
		}
	}
	tail := startProgram(t, program(t, o.env(), "tail", "-from", "123456", "-fallback", "new", "-count", "1", "/event/Order__e"))
	ended := make(chan error, 1)
	go func() { // it ends with the program
		for tail.lines.Scan() {
		}
		ended <- tail.Wait()
	}()
	for n := 3; ; n++ {
		o.publish(t, n, n) // until tail has fallen back to new events
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%v: %s", err, tail.stderr)
			}
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	if !strings.Contains(tail.stderr.String(), "warning: /event/Order__e: stored position refused, events may have been missed (replay id 000000000001e2400000, resume new)") {
		t.Errorf("told %s", tail.stderr)
	}
}

// Mistakes are found before anything is reached or touched.
func TestMistakesAreFoundBeforeALogin(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int32
	done := make(chan struct{})
	go func() { // it ends with the listener
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	defer func() { listener.Close(); <-done }()
	url := "http://" + listener.Addr().String()
	for name, value := range map[string]string{"LOGIN_URL": url, "PUBSUB_ENDPOINT": url, "CONSUMER_KEY": "k", "CONSUMER_SECRET": "s"} {
		t.Setenv("SALESFORCE_"+name, value)
	}
	file := filepath.Join(t.TempDir(), "replay.db")
	for _, test := range []struct {
		args string // tail's, separated by blanks; '' is an empty one
		text string
	}{
		{"", "no channel"},
		{"Order__e", `"Order__e"; want /event/Name__e`},
		{"/event/", "want /event/Name__e"},
		{"/event/*", "want /event/Name__e"},
		{"/event/Order__e /data/", "want /event/Name__e"},
		{"/event/Order__e /event/Order__e", "/event/Order__e is given twice"},
		{"/topic/A /topic/A?B='C'", "given twice"},
		{"-count -1 /event/Order__e", "-count"},
		{"-from yesterday /event/Order__e", "-from"},
		{"-from 0012 /event/Order__e", "hex"},
		{"-from 0000000000c4f3d60000 /topic/A", "Streaming API"},
		{"-cometd -from 0000000000c4f3d60000 /event/Order__e", "Streaming API"},
		{"-from 12907478 /event/Order__e /event/Other__e", "one channel"},
		{"-from '' /event/Order__e", "-from"},
		{"-replay '' /event/Order__e", "-replay"},
		{"-health 8080 /event/Order__e", "-health"},
		{"-fallback oldest /event/Order__e", "-fallback"},
		{"-o xml /event/Order__e", "-o"},
		{"-store-ack never /event/Order__e", "-store-ack"},
		{"-type UPDATED /data/ChangeEvents", "GAP_UPDATE"},
		{"-type , /data/ChangeEvents", "-type"},
		{"-field Phone /event/Order__e", "/data"},
		{"-entity Account /data/ChangeEvents /topic/A", "/data"},
		{"-sandbox /event/Order__e", "SALESFORCE_LOGIN_URL"},
		{"-login-url '' /event/Order__e", "-login-url"},
		{"-login-url acme /event/Order__e", "https"},
		{"-sandbox -login-url https://acme.my.salesforce.com /event/Order__e", "exclude"},
		{"-account '' /event/Order__e", "-account"},
		{"/event/Order__e -bogus", "-bogus"},
	} {
		args := []string{"tail"}
		if !strings.HasPrefix(test.args, "-replay") {
			args = append(args, "-replay", file)
		}
		for _, arg := range strings.Fields(test.args) {
			args = append(args, strings.TrimPrefix(arg, "''"))
		}
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), args, &stdout, &stderr)
		if text := stderr.String(); status != 2 || stdout.Len() > 0 || !strings.Contains(text, test.text) || strings.Count(text, "\n") != 1 || goWords.MatchString(text) {
			t.Errorf("%s: exit status %d, printed %q, said %q, want %q", test.args, status, &stdout, text, test.text)
		}
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s: the file is there", test.args)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the org was reached %d times", n)
	}
}

// A reader that has enough, as head, loses nothing for who comes after it.
func TestAPipeMayEnd(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 5)
	file := filepath.Join(t.TempDir(), "replay.db")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, o.env(), "tail", "-replay", file, "-from", "all", "/event/Order__e")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	var read []byte
	for bytes.Count(read, []byte("\n")) < 5 {
		chunk := make([]byte, 4096)
		n, err := reader.Read(chunk)
		if err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		read = append(read, chunk[:n]...)
	}
	reader.Close()
	o.publish(t, 6, 7)
	if err := cmd.Wait(); err != nil || strings.Contains(stderr.String(), "sfstream:") {
		t.Errorf("%v: %s", err, &stderr)
	}
	if got := o.tailed(t, "-replay", file, "-count", "2", "/event/Order__e"); got != "6 7" {
		t.Errorf("after 1 to 5 came %s", got)
	}
}

func TestTailAnswersProbes(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	cmd := program(t, o.env(), "tail", "-health", address, "-from", "all", "/event/Order__e")
	out, err := cmd.CombinedOutput()
	if want := "sfstream: -health " + address + ": another program has this port; choose another one\n"; err == nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
	listener.Close()
	o.publish(t, 1, 1)
	tail := startProgram(t, program(t, o.env(), "tail", "-health", address, "-from", "all", "/event/Order__e"))
	tail.line(t)
	for _, probe := range []string{"/livez", "/readyz"} {
		resp, err := http.Get("http://" + address + probe)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", probe, resp.Status)
		}
	}
	if err := tail.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := tail.Wait(); err != nil {
		t.Errorf("%v: %s", err, tail.stderr)
	}
}

func TestCtrlCSumsUp(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	ids := o.publish(t, 1, 3)
	file := filepath.Join(t.TempDir(), "replay.db")
	o.control(t, "define", map[string]any{"object": "Account", "fields": []map[string]string{{"name": "Name", "type": "Text"}}})
	tail := startProgram(t, program(t, o.env(), "tail", "-replay", file, "-from", "all", "/event/Order__e", "/data/AccountChangeEvent"))
	for range 3 {
		tail.line(t)
	}
	if err := tail.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := tail.Wait(); err != nil {
		t.Fatalf("%v: %s", err, tail.stderr)
	}
	_, summary, _ := strings.Cut(tail.stderr.String(), "sfstream: ")
	want := fmt.Sprintf(`^3 events in \d+s
  /data/AccountChangeEvent: 0 events(; %[1]s goes on after \w+)?
  /event/Order__e: 3 events; %[1]s goes on after %[2]s
$`, regexp.QuoteMeta(file), ids[2])
	if !regexp.MustCompile(want).MatchString(summary) {
		t.Errorf("summed up %q, want %s", tail.stderr, want)
	}
}

func TestABacklogIsToldWithItsRate(t *testing.T) {
	status := func(lags ...time.Duration) (s sfstream.Status) {
		for _, lag := range lags {
			s.Channels = append(s.Channels, sfstream.ChannelStatus{Lag: lag})
		}
		return s
	}
	if got := backlog(status(3*time.Second, 2*time.Hour), 12345, 1800); got != "12,345 events, 1,800/s, 2h0m0s behind" {
		t.Errorf("told %q", got)
	}
	if got := backlog(status(3*time.Second), 12345, 1800); got != "" {
		t.Errorf("told %q of no backlog", got)
	}
	var out bytes.Buffer
	c := &console{out: io.Discard, err: &out, below: terminal{is: true, width: 12}}
	t.Setenv("TERM", "xterm")
	c.show("1,234 events behind")
	c.note("a note")
	c.show("again")
	c.show("")
	if want := "1,234 event…\r\x1b[Ka note\nagain\r\x1b[K"; out.String() != want {
		t.Errorf("wrote %q, want %q", &out, want)
	}
	t.Setenv("TERM", "dumb")
	out.Reset()
	if c.show("status"); out.Len() > 0 {
		t.Errorf("wrote %q to a dumb terminal", &out)
	}
}
