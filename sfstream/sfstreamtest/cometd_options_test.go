package sfstreamtest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestKnobsOfCometD(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		old := publishTopic(t, r, map[string]any{"Id": "1"})
		b := r.cometd()
		b.url = r.LoginURL() + "/cometd/41.0"
		wantError(t, b.only(b.post(handshakeMessage())), "400::Unsupported API version. Only API versions '37.0' and later are supported. URI format: '/cometd/40.0'")
		b.url = r.LoginURL() + "/cometd/40.0"
		b.handshake()
		if _, m := b.connect(); m.Advice["timeout"] != 7000.0 {
			t.Errorf("%+v", m)
		}
		took(t, 7*time.Second, func() { b.connect() })
		_, m := b.subscribe(accounts, nil)
		if !m.ok() {
			t.Errorf("%+v", m)
		}
		long := subscribeMessage(accounts, nil)
		long["padding"] = strings.Repeat("x", 500)
		wantError(t, b.only(b.post(long)), "413::Maximum Request Size Exceeded")
		time.Sleep(6 * time.Second)
		if r.Sessions() != 0 {
			t.Error("the window is longer than 5 s")
		}
		time.Sleep(time.Minute)
		b.handshake()
		_, m = b.subscribe(accounts, old.Number)
		if m.ok() {
			t.Error("retained for more than a minute")
		}
		n := 0
		for ; ; n++ {
			if _, m = b.connect(); !m.ok() {
				break
			}
		}
		wantError(t, m, "403::Unknown client")
		if n == 0 || n > 1+10*60/7 {
			t.Errorf("%d connects in 10 minutes", n)
		}
	}, sfstreamtest.WithAPIVersions("39.0", "40.0"), sfstreamtest.WithHold(7*time.Second), sfstreamtest.WithReconnectWindow(5*time.Second),
		sfstreamtest.WithLBCookieLife(10*time.Minute), sfstreamtest.WithTopicRetention(time.Minute), sfstreamtest.WithCometDRequestBytes(400))
}

func TestNonsenseForKnobsOfCometD(t *testing.T) {
	for name, option := range map[string]sfstreamtest.Option{
		"WithHold":                   sfstreamtest.WithHold(0),
		"WithReconnectWindow":        sfstreamtest.WithReconnectWindow(-1),
		"WithReplyBytes":             sfstreamtest.WithReplyBytes(0),
		"WithMaxSessions":            sfstreamtest.WithMaxSessions(-1),
		"WithDuplicateConnectStatus": sfstreamtest.WithDuplicateConnectStatus(200),
		"WithAPIVersions":            sfstreamtest.WithAPIVersions("new"),
		"WithAPIVersions()":          sfstreamtest.WithAPIVersions(),
	} {
		if _, err := sfstreamtest.Start(sfstreamtest.InMemory(), option); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(name, "()")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCometDOverTLSAndRealSockets(t *testing.T) {
	r := newRig(t, sfstreamtest.WithTLS())
	b := r.shaken()
	b.follow(orders, -1)
	want := r.publish(3)
	events, m := b.connect()
	wantEvents(t, events, want...)
	if !m.ok() {
		t.Errorf("%+v", m)
	}
	r.LoseResponse(1)
	r.publish(1)
	if _, _, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`); err == nil {
		t.Error("the response is not lost")
	}
	poll := object{"channel": "/meta/disconnect"}
	if m := b.only(b.post(poll)); !m.ok() || r.Sessions() != 0 {
		t.Errorf("%+v, %d sessions", m, r.Sessions())
	}
}

func TestOtherConnectionTypesAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		m := handshakeMessage()
		m["supportedConnectionTypes"] = []string{"websocket"}
		wantError(t, b.only(b.post(m)), "400::Invalid connection type {websocket}")
		b.handshake()
		poll := connectMessage()
		poll["connectionType"] = "websocket"
		wantError(t, b.only(b.post(poll)), "400::Invalid connection type {websocket}")
		wantError(t, b.only(b.post(object{"channel": "/meta/x"})), "404::Unknown meta channel")
		oauth, err := http.NewRequest(http.MethodPost, b.url, strings.NewReader(`[{"channel":"/meta/connect","clientId":"`+b.clientID+`"}]`))
		check(t, err)
		oauth.Header.Set("Content-Type", "application/json;charset=UTF-8")
		oauth.Header.Set("Authorization", "OAuth "+b.token)
		resp, err := b.http.Do(oauth)
		check(t, err)
		defer resp.Body.Close()
		var got []message
		decodeJSON(t, resp.Body, &got)
		if len(got) != 1 || !got[0].ok() {
			t.Errorf("Authorization: OAuth: %+v", got)
		}
	})
}
