package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// retained returns how many events the order channel retains.
func (o *org) retained(t *testing.T) int {
	t.Helper()
	resp, err := http.Get(o.ControlURL + "/control/channels")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply struct {
		Channels []struct {
			Channel string
			Events  int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	for _, c := range reply.Channels {
		if c.Channel == "/event/Text__e" {
			return c.Events
		}
	}
	return 0
}

// A request that publishes much does not outlive the org.
func TestTestorgEndsWhileItPublishes(t *testing.T) {
	log := filepath.Join(t.TempDir(), "org.log")
	o := startOrg(t, "-keep", log)
	o.control(t, "define", map[string]any{"channel": "/event/Text__e", "schema": map[string]any{
		"type": "record", "name": "Text__e", "fields": []any{map[string]any{"name": "Text__c", "type": "string"}}}})
	const count = 10_000
	body, err := json.Marshal(map[string]any{"channel": "/event/Text__e", "count": count,
		"payload": map[string]any{"Text__c": strings.Repeat("x", 6_500)}})
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan string, 1)
	go func() { // ends with the org
		resp, err := http.Post(o.ControlURL+"/control/publish", "application/json", bytes.NewReader(body))
		if err != nil {
			published <- ""
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		published <- string(text)
	}()
	for o.retained(t) < 10 {
		time.Sleep(time.Millisecond) // another process: nothing tells when
	}
	began := time.Now()
	if err := o.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for o.lines.Scan() { // until its output ends
	}
	if took := time.Since(began); took > 3*time.Second { // a second, on a machine that has nothing else to do
		t.Errorf("it ended after %v", took)
	}
	if reply := <-published; reply != "" {
		t.Errorf("the request was answered: %.200s", reply)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(`"op":"event"`)); n < 10 || n >= count {
		t.Errorf("%d events were published", n)
	}
}

// An outage by the control API, and its end.
func TestTestorgIsUnreachableForAWhile(t *testing.T) {
	o := startOrg(t)
	login := func() error {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.PostForm(o.LoginURL+"/services/oauth2/token", url.Values{})
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(o.PubSub, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := login(); err != nil {
		t.Fatal(err)
	}
	o.control(t, "fault", map[string]any{"fault": "Refuse"})
	o.control(t, "fault", map[string]any{"fault": "DropConnections"}) // and this is answered
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the connection ended politely")
	}
	if login() == nil {
		t.Error("it is reached")
	}
	o.control(t, "fault", map[string]any{"fault": "Refuse", "on": false})
	if err := login(); err != nil {
		t.Error(err)
	}
}
