package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// TestJSForce runs jsforce's streaming client against sfstreamtest: what we take for Salesforce is
// what a client that others wrote takes for it.
func TestJSForce(t *testing.T) {
	t.Parallel()
	org := sfstreamtest.NewServer(t)
	check(t, org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Lab", Query: "SELECT Id, N__c FROM Account"}))
	check(t, org.DefineEvent("/event/Order__e", `{"type": "record", "name": "Order__e", "fields": [
		{"name": "N__c", "type": ["null", "double"], "default": null}]}`))
	check(t, org.DefineGenericChannel("/u/lab"))
	topic := func(n int) sfstreamtest.Event {
		e, err := org.PublishTopic("Lab", "created", map[string]any{"Id": "001", "N__c": n})
		check(t, err)
		return e
	}
	var before []sfstreamtest.Event
	for n := range 5 {
		before = append(before, topic(n))
	}

	t.Run("live", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Lab")
		js.line(map[string]any{"subscribed": "/topic/Lab"})
		for n := range 30 {
			e := topic(n)
			js.event(n, e.Number)
		}
	})
	t.Run("all that is retained", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Lab", "-2")
		for n, e := range before {
			js.event(n, e.Number)
		}
	})
	t.Run("after a replay id", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Lab", strconv.FormatUint(before[2].Number, 10))
		js.event(3, before[3].Number)
		js.event(4, before[4].Number)
	})
	t.Run("a platform event", func(t *testing.T) {
		js := startJSForce(t, org, "/event/Order__e")
		js.line(map[string]any{"subscribed": "/event/Order__e"})
		e, err := org.Publish("/event/Order__e", map[string]any{"N__c": 2.5})
		check(t, err)
		js.line(map[string]any{"schema": e.SchemaID, "payload": map[string]any{"N__c": 2.5},
			"event": map[string]any{"EventUuid": e.ID, "replayId": float64(e.Number)}})
	})
	t.Run("a generic event", func(t *testing.T) {
		js := startJSForce(t, org, "/u/lab")
		js.line(map[string]any{"subscribed": "/u/lab"})
		result, err := org.Push("/u/lab", "hello")
		check(t, err)
		js.line(map[string]any{"payload": "hello",
			"event": map[string]any{"createdDate": result.Event.Date.Format("2006-01-02T15:04:05.000Z"), "replayId": float64(result.Event.Number)}})
	})
	t.Run("a session that the server has forgotten", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Lab")
		js.line(map[string]any{"subscribed": "/topic/Lab"})
		org.EndStreams("/topic/Lab", "")
		check(t, org.AwaitStreams(t.Context(), "/topic/Lab", 1)) // it has shaken hands again, and subscribed
		e := topic(7)
		js.event(7, e.Number)
	})
	t.Run("a token that is refused", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Lab", "bad token")
		js.line(map[string]any{"authFailure": true})
	})
	t.Run("a channel that does not exist", func(t *testing.T) {
		js := startJSForce(t, org, "/topic/Nowhere")
		if got := js.next(); got["error"] == nil {
			t.Errorf("%v", got)
		}
	})
}

// clientProgram is one of those in clients: it prints JSON, an object a line.
type clientProgram struct {
	t   *testing.T
	out *bufio.Scanner
	in  io.Writer
}

func startClient(t *testing.T, env []string, script string, args ...string) *clientProgram {
	t.Helper()
	cmd := node(t, filepath.Join("clients", script), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	limit := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }) // a line that never comes
	t.Cleanup(func() {
		stdin.Close() // it ends with it
		_ = cmd.Wait()
		limit.Stop()
	})
	return &clientProgram{t, bufio.NewScanner(stdout), stdin}
}

func startJSForce(t *testing.T, org *sfstreamtest.Server, args ...string) *clientProgram {
	t.Helper()
	return startJSForceWith(t, org, "", args...)
}

// startJSForceWith has jsforce log in by a flow of its program.
func startJSForceWith(t *testing.T, org *sfstreamtest.Server, flow string, args ...string) *clientProgram {
	t.Helper()
	account := org.Account()
	env := []string{
		"CONSUMER_KEY=" + account.ConsumerKey, "CONSUMER_SECRET=" + account.ConsumerSecret, "FLOW=" + flow,
		"REFRESH_TOKEN=" + account.RefreshToken, "PRIVATE_KEY=" + string(org.PrivateKeyPEM()),
	}
	return startClient(t, env, "jsforce.js", append([]string{org.LoginURL(), account.Username, account.Password + account.SecurityToken}, args...)...)
}

func (j *clientProgram) next() map[string]any {
	j.t.Helper()
	if !j.out.Scan() {
		j.t.Fatalf("the program has ended: %v", j.out.Err())
	}
	var got map[string]any
	if err := json.Unmarshal(j.out.Bytes(), &got); err != nil {
		j.t.Fatalf("%s: %v", j.out.Bytes(), err)
	}
	return got
}

func (j *clientProgram) line(want map[string]any) {
	j.t.Helper()
	if got := j.next(); !reflect.DeepEqual(got, want) {
		j.t.Fatalf("got %v, want %v", got, want)
	}
}

// event is the next line: an event of the PushTopic. One that is replayed may come before the word
// that the subscription is accepted.
func (j *clientProgram) event(n int, replayID uint64) {
	j.t.Helper()
	got := j.next()
	if got["subscribed"] != nil {
		got = j.next()
	}
	event, _ := got["event"].(map[string]any)
	if want := map[string]any{"Id": "001", "N__c": float64(n)}; !reflect.DeepEqual(got["sobject"], want) ||
		fmt.Sprintf("%.0f", event["replayId"]) != fmt.Sprint(replayID) || event["type"] != "created" {
		j.t.Fatalf("got %v, want number %d, replay id %d", got, n, replayID)
	}
}
