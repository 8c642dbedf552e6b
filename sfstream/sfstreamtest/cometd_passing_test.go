package sfstreamtest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// channelsOf returns the channels of messages, in the order of the messages.
func channelsOf(got []message) string {
	text := ""
	for _, m := range got {
		text += m.Channel + " "
	}
	return text
}

func TestTheServerDisconnects(t *testing.T) {
	for name, want := range map[bool]string{true: "/meta/disconnect ", false: "/meta/disconnect /meta/connect "} {
		bubble(t, func(t *testing.T, r *rig) {
			b := r.shaken()
			b.follow(orders, -1)
			poll := b.connecting()
			r.DisconnectSessions("/event/Other__e", name)
			r.settle()
			if r.Sessions() != 1 {
				t.Fatal("a session of another channel has ended")
			}
			r.DisconnectSessions(orders, name)
			got := <-poll
			if channelsOf(got) != want || !got[0].ok() || string(got[0].ID) != "" || !got[len(got)-1].ok() {
				t.Errorf("held: %+v", got)
			}
			_, m := b.connect()
			wantError(t, m, "403::Unknown client")

			// The next connect brings what the session has still to get, and the end.
			b.handshake()
			b.connect()
			b.follow(orders, -1)
			events := r.publish(2)
			r.DisconnectSessions("", name)
			got = b.post(connectMessage())
			if channelsOf(got) != orders+" "+orders+" "+want || r.Sessions() != 0 {
				t.Errorf("%d sessions, %+v", r.Sessions(), got)
			}
			wantEvents(t, got[:2], events...)

			b.handshake()
			b.connect()
			b.follow(orders, -1)
			r.DisconnectWithEvents(1, name)
			poll = b.connecting()
			r.publish(1)
			if got := <-poll; channelsOf(got) != orders+" "+want || r.Sessions() != 0 {
				t.Errorf("with events: %d sessions, %+v", r.Sessions(), got)
			}
		})
	}
}

func TestErrorsThatPassHaveAdviceNone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, text := range []string{"500::Internal error", "502::Bad gateway", "504::Timeout", "409::Conflict", ""} {
			b := r.shaken()
			r.PassingError("", 1, text)
			_, m := b.connect()
			wantError(t, m, text)
			wantAdvice(t, m, "none")
			b.handshake()
			b.connect()
			r.PassingError("subscribe", 1, text)
			_, m = b.subscribe(orders, -1)
			wantError(t, m, text)
			wantAdvice(t, m, "none")
			b.follow(orders, -1)
			r.PassingError("handshake", 1, text)
			m = b.only(b.post(handshakeMessage()))
			wantError(t, m, text)
			wantAdvice(t, m, "none")
			b.handshake()
		}
	})
}

func TestCreateDeniedIsADeadToken(t *testing.T) {
	const denied = "403:denied_by_security_policy:create_denied"
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		r.ExpireToken()
		m := b.only(b.post(handshakeMessage()))
		wantError(t, m, denied)
		b = r.cometd()
		b.handshake()
		r.CreateDenied(1)
		wantError(t, b.only(b.post(handshakeMessage())), denied)
		b.handshake()
	}, sfstreamtest.WithCreateDenied())
}

func TestRESTErrorsOnTheCometDURL(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		for code, status := range map[string]int{
			"API_DISABLED_FOR_ORG": http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED": http.StatusForbidden,
			"INVALID_SESSION_ID": http.StatusUnauthorized, "SERVER_UNAVAILABLE": http.StatusServiceUnavailable, "OTHER": http.StatusForbidden,
		} {
			r.RESTError(1, code)
			resp, text, err := b.send(`[{"channel":"/meta/connect","connectionType":"long-polling","clientId":"` + b.clientID + `","id":"1"}]`)
			check(t, err)
			var got []struct{ ErrorCode, Message string }
			check(t, json.Unmarshal(text, &got))
			if resp.StatusCode != status || len(got) != 1 || got[0].ErrorCode != code || got[0].Message == "" {
				t.Errorf("%s: %s %s", code, resp.Status, text)
			}
		}
		if _, m := b.connect(); !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}

func TestADisconnectWithoutAReply(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.SilenceDisconnect(true)
		if got := b.post(object{"channel": "/meta/disconnect"}); len(got) > 0 || r.Sessions() != 0 {
			t.Errorf("%d sessions, %+v", r.Sessions(), got)
		}
		r.ClearFaults()
		b.handshake()
		if m := b.only(b.post(object{"channel": "/meta/disconnect"})); !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}
