package sfstreamtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bayeux is a raw client of the Streaming API: it sends the messages that it is given, and
// remembers nothing but cookies.
type bayeux struct {
	tb       testing.TB
	rig      *rig
	http     *http.Client
	url      string
	token    string
	clientID string
	ids      int
}

// message is a reply or an event.
type message struct {
	Channel      string
	ID           json.RawMessage
	ClientID     string
	Successful   *bool
	Error        string
	Subscription string
	Advice       map[string]any
	Ext          struct {
		Replay bool
		SFDC   struct{ FailureReason string }
	}
	Data json.RawMessage
}

func (m message) ok() bool { return m.Successful != nil && *m.Successful }

// object has the elements of a message that is sent.
type object = map[string]any

// cometd returns a new client, with a login.
func (r *rig) cometd() *bayeux {
	r.tb.Helper()
	jar, err := cookiejar.New(nil)
	check(r.tb, err)
	reply := r.login()
	return &bayeux{
		tb: r.tb, rig: r, http: &http.Client{Transport: r.HTTPClient().Transport, Jar: jar},
		url: reply["instance_url"] + "/cometd/60.0", token: reply["access_token"],
	}
}

// shaken returns a client whose handshake and first connect are done.
func (r *rig) shaken() *bayeux {
	r.tb.Helper()
	b := r.cometd()
	b.handshake()
	b.connect()
	return b
}

// send posts a body and returns the response as it is.
func (b *bayeux) send(body string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(b.tb.Context(), http.MethodPost, b.url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

// post sends messages and returns the messages of the response, which must be an array.
func (b *bayeux) post(messages ...object) []message {
	b.tb.Helper()
	for _, m := range messages {
		b.ids++
		if m["id"] == nil {
			m["id"] = strconv.Itoa(b.ids)
		}
		if m["clientId"] == nil && b.clientID != "" && m["channel"] != "/meta/handshake" {
			m["clientId"] = b.clientID
		}
	}
	body, err := json.Marshal(messages)
	check(b.tb, err)
	resp, text, err := b.send(string(body))
	check(b.tb, err)
	if resp.StatusCode != http.StatusOK {
		b.tb.Errorf("status %s: %s", resp.Status, text)
	}
	return b.decode(text)
}

func (b *bayeux) decode(text []byte) []message {
	b.tb.Helper()
	var got []message
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&got); err != nil {
		b.tb.Errorf("%s: %v", text, err)
	}
	return got
}

// only returns the only message, and fails if there is not exactly one.
func (b *bayeux) only(got []message) message {
	b.tb.Helper()
	if len(got) != 1 {
		b.tb.Fatalf("got %d messages, want 1: %+v", len(got), got)
	}
	return got[0]
}

func handshakeMessage() object {
	return object{
		"channel": "/meta/handshake", "version": "1.0", "minimumVersion": "1.0",
		"supportedConnectionTypes": []string{"long-polling"}, "ext": object{"replay": true},
	}
}

func (b *bayeux) handshake() message {
	b.tb.Helper()
	m := b.only(b.post(handshakeMessage()))
	if !m.ok() || m.ClientID == "" {
		b.tb.Fatalf("handshake: %+v", m)
	}
	b.clientID = m.ClientID
	return m
}

func connectMessage() object {
	return object{"channel": "/meta/connect", "connectionType": "long-polling"}
}

// connect polls once. The reply is the last message.
func (b *bayeux) connect() (events []message, reply message) {
	b.tb.Helper()
	return split(b.tb, b.post(connectMessage()))
}

// connecting polls in the background; when it returns, the org holds the connect.
func (b *bayeux) connecting() <-chan []message {
	done := make(chan []message, 1)
	go func() {
		defer close(done)
		body, err := json.Marshal([]object{{
			"channel": "/meta/connect", "connectionType": "long-polling", "clientId": b.clientID, "id": "poll",
		}})
		if err != nil {
			return
		}
		resp, text, err := b.send(string(body))
		if err != nil || resp.StatusCode != http.StatusOK {
			return
		}
		var got []message
		if json.Unmarshal(text, &got) == nil {
			done <- got
		}
	}()
	b.rig.settle()
	return done
}

// split separates the events from the reply, which must be the last message.
func split(tb testing.TB, got []message) (events []message, reply message) {
	tb.Helper()
	if len(got) == 0 {
		tb.Fatal("an empty array")
	}
	events, reply = got[:len(got)-1], got[len(got)-1]
	if reply.Successful == nil {
		tb.Fatalf("the last message is no reply: %+v", reply)
	}
	return events, reply
}

// subscribeMessage returns the message that subscribes to a channel, from an id if there is one.
func subscribeMessage(channel string, replay any) object {
	m := object{"channel": "/meta/subscribe", "subscription": channel}
	if replay != nil {
		bare, _, _ := strings.Cut(channel, "?")
		m["ext"] = object{"replay": object{bare: replay}}
	}
	return m
}

func (b *bayeux) subscribe(channel string, replay any) (events []message, reply message) {
	b.tb.Helper()
	return split(b.tb, b.post(subscribeMessage(channel, replay)))
}

// follow subscribes, and fails if that is refused.
func (b *bayeux) follow(channel string, replay any) []message {
	b.tb.Helper()
	events, reply := b.subscribe(channel, replay)
	if !reply.ok() || reply.Subscription != channel {
		b.tb.Fatalf("subscribe: %+v", reply)
	}
	return events
}

// numbers returns the replay ids of events.
func numbers(tb testing.TB, events []message) []uint64 {
	tb.Helper()
	ids := []uint64{}
	for _, e := range events {
		var data struct{ Event struct{ ReplayID uint64 } }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			tb.Errorf("%s: %v", e.Data, err)
		}
		ids = append(ids, data.Event.ReplayID)
	}
	return ids
}

func wantError(tb testing.TB, m message, text string) {
	tb.Helper()
	if m.ok() || m.Error != text {
		tb.Errorf("%s: error %q, want %q", m.Channel, m.Error, text)
	}
}

// wantAdvice compares the parts of an advice that matter; "" means no advice at all.
func wantAdvice(tb testing.TB, m message, reconnect string) {
	tb.Helper()
	got, _ := m.Advice["reconnect"].(string)
	if got != reconnect {
		tb.Errorf("%s: advice %v, want %q", m.Channel, m.Advice, reconnect)
	}
}

// took measures how much virtual time something takes.
func took(tb testing.TB, want time.Duration, do func()) {
	tb.Helper()
	start := time.Now()
	do()
	if got := time.Since(start); got != want {
		tb.Errorf("took %v, want %v", got, want)
	}
}

// settle waits until nothing moves any more.
func (r *rig) settle() { synctest.Wait() }

func decodeJSON(tb testing.TB, from io.Reader, into any) {
	tb.Helper()
	check(tb, json.NewDecoder(from).Decode(into))
}

func containsText(text []byte, part string) bool { return bytes.Contains(text, []byte(part)) }
