package sfstreamtest_test

import (
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestHandshakeHasNoAdviceAndTheFirstConnectIsAnsweredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		m := b.handshake()
		if m.Advice != nil || !m.Ext.Replay || string(m.ID) != `"1"` {
			t.Errorf("handshake: %+v", m)
		}
		if n := len(b.clientID); n < 25 || n > 31 {
			t.Errorf("clientId %q", b.clientID)
		}
		took(t, 0, func() {
			_, m := b.connect()
			if !m.ok() || m.ClientID != b.clientID || m.Advice["timeout"] != 110000.0 || m.Advice["interval"] != 0.0 {
				t.Errorf("first connect: %+v", m)
			}
			wantAdvice(t, m, "retry")
		})
		took(t, 110*time.Second, func() {
			if events, m := b.connect(); len(events) > 0 || !m.ok() || m.Advice != nil {
				t.Errorf("no_advice_steady: %v %+v", events, m)
			}
		})
		took(t, 0, func() {
			poll := connectMessage()
			poll["advice"] = object{"timeout": 0}
			wantAdvice(t, b.only(b.post(poll)), "retry")
		})
		if r.Handshakes() != 1 || r.Connects() != 3 || r.Sessions() != 1 || r.OpenConnects() != 0 {
			t.Errorf("%d handshakes, %d connects, %d sessions, %d open", r.Handshakes(), r.Connects(), r.Sessions(), r.OpenConnects())
		}
	})
}

func TestNumericIDsAndBareObjectsAndLongerPathsAreTaken(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, tail := range []string{"", "/", "/handshake"} {
			b := r.cometd()
			b.url += tail
			_, text, err := b.send(`{"channel":"/meta/handshake","id":7,"version":"1.0"}`)
			check(t, err)
			if m := b.only(b.decode(text)); !m.ok() || string(m.ID) != "7" {
				t.Errorf("%s: %s", b.url, text)
			}
		}
	})
}

func TestBadRequestsAreHTTPErrors(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		for _, body := range []string{"", "[]", "null", "7", "nonsense", `[{"channel":7}]`, `[{"channel":"/meta/connect"}] tail`} {
			resp, _, err := b.send(body)
			check(t, err)
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%q: %s", body, resp.Status)
			}
		}
		resp, _, err := b.send(`[{"channel":"/meta/handshake"},{"channel":"/meta/connect"}]`)
		check(t, err)
		if resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("a handshake with others: %s", resp.Status)
		}
		get, err := b.http.Get(b.url)
		check(t, err)
		check(t, get.Body.Close())
		if get.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET: %s", get.Status)
		}
		plain, err := b.http.Post(b.url, "text/plain", strings.NewReader("[]"))
		check(t, err)
		check(t, plain.Body.Close())
		if plain.StatusCode != http.StatusBadRequest {
			t.Errorf("text/plain: %s", plain.Status)
		}
	})
}

func TestOversizeRequest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		big := subscribeMessage(orders, nil)
		big["padding"] = strings.Repeat("x", 33_000)
		m := b.only(b.post(big))
		wantError(t, m, "413::Maximum Request Size Exceeded")
		if m.Channel != "/meta/subscribe" || r.Streams(orders) != 0 {
			t.Errorf("%+v", m)
		}
	})
}

func TestAPIVersionRetired(t *testing.T) {
	const (
		unsupported = "400::Unsupported API version. Only API versions '37.0' and later are supported. URI format: '/cometd/68.0'"
		mandatory   = "400::API version in the URI is mandatory. URI format: '/cometd/68.0'"
	)
	refused := func(t *testing.T, r *rig, paths map[string]string) {
		for path, want := range paths {
			b := r.cometd()
			b.url = r.LoginURL() + path
			wantError(t, b.only(b.post(handshakeMessage())), want)
		}
	}
	bubble(t, func(t *testing.T, r *rig) {
		refused(t, r, map[string]string{
			"/cometd/22.0": unsupported, "/cometd/69.0": unsupported,
			"/cometd": mandatory, "/cometd/": mandatory, "/cometd/handshake": mandatory, "/cometd/NaN": mandatory,
		})
		for _, version := range []string{"23.0", "36.0", "36.0/handshake"} {
			b := r.cometd()
			b.url = r.LoginURL() + "/cometd/" + version
			b.handshake()
			r.publish(1)
			wantEvents(t, b.follow(orders, -2)[:1], r.Retained(orders)[:1]...) // this version is durable, as the newest one is
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		refused(t, r, map[string]string{"/cometd/36.0": unsupported, "/cometd/36.0/handshake": unsupported, "/cometd/23.0": unsupported})
	}, sfstreamtest.WithRetiredVersionsRefused())
}

func TestErrorsWithAnHTTPStatus(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		b.url = r.LoginURL() + "/cometd/22.0"
		resp, text, err := b.send(`[{"channel":"/meta/handshake"}]`)
		check(t, err)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "Unsupported API version") {
			t.Errorf("%s %s", resp.Status, text)
		}
		b.url, b.token = r.LoginURL()+"/cometd/60.0", "wrong"
		resp, text, err = b.send(`[{"channel":"/meta/handshake"}]`)
		check(t, err)
		if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(text), "403::Handshake denied") {
			t.Errorf("%s %s", resp.Status, text)
		}
	}, sfstreamtest.WithCometDHTTPStatus())
}

func TestAuthNestedHandshakeAndMissingAuthHeader(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		for token, want := range map[string]string{
			"":      "401::Request requires authentication",
			"wrong": "401::Authentication invalid",
		} {
			b.token = token
			m := b.only(b.post(handshakeMessage()))
			wantError(t, m, "403::Handshake denied")
			wantAdvice(t, m, "none")
			if m.ClientID != "" || m.Ext.SFDC.FailureReason != want {
				t.Errorf("token %q: %+v", token, m)
			}
		}
	})
}

func TestAuthRevokedConnectIsNoticedAtTheEndOfTheHold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		r.ExpireToken()
		took(t, 110*time.Second, func() {
			_, m := split(t, <-poll)
			wantError(t, m, "401::Authentication invalid")
			wantAdvice(t, m, "none")
		})
		if r.Sessions() != 0 || r.Streams(orders) != 0 {
			t.Errorf("%d sessions, %d streams", r.Sessions(), r.Streams(orders))
		}
	})
}

func TestExpiredTokenOnSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.ExpireToken()
		_, m := b.subscribe(orders, -1)
		wantError(t, m, "401::Authentication invalid")
		wantAdvice(t, m, "none")
	})
}

func TestALoginSessionInUseByAHeldConnectDoesNotTimeOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		for range 3 {
			if _, m := b.connect(); !m.ok() {
				t.Fatalf("%+v", m)
			}
		}
	}, sfstreamtest.WithSessionTimeout(time.Minute))
}

func TestCookieRequired(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		b.handshake()
		jar := b.http.Jar
		b.http.Jar = nil
		_, m := b.connect()
		wantError(t, m, "400::Client "+b.clientID+" has established a session, but no BAYEUX_BROWSER cookie present")
		b.http.Jar = jar
		if _, m := b.connect(); !m.ok() {
			t.Errorf("with the jar: %+v", m)
		}
	})
}

func TestCookieRotation(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.RotateLBCookie()
		b.connect()
		if _, m := b.connect(); !m.ok() {
			t.Errorf("with the new cookie: %+v", m)
		}
		old := b.http.Jar
		frozen, err := cookiejar.New(nil)
		check(t, err)
		req, err := http.NewRequest(http.MethodPost, b.url, nil)
		check(t, err)
		frozen.SetCookies(req.URL, old.Cookies(req.URL))
		r.RotateLBCookie()
		b.connect()
		time.Sleep(2 * time.Second) // longer than cookieGrace, for requests that are under way
		b.http.Jar = frozen
		_, m := b.connect()
		wantError(t, m, "403::Unknown client")
		wantAdvice(t, m, "handshake")
	})
}

func TestCookieExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		start := time.Now()
		n := 0
		for {
			_, m := b.connect()
			if m.ok() {
				n++
				continue
			}
			wantError(t, m, "403::Unknown client")
			wantAdvice(t, m, "handshake")
			break
		}
		if d := time.Since(start); d < 3*time.Hour || d > 3*time.Hour+2*time.Minute || n < 95 {
			t.Errorf("died after %v and %d connects", d, n)
		}
		if r.Streams(orders) != 0 {
			t.Error("the subscription lives")
		}
		b.handshake()
		b.connect()
		if _, m := b.connect(); !m.ok() {
			t.Errorf("after a new handshake: %+v", m)
		}
	})
}

func TestTwoSessionsOfOneBrowserAreOneTooMany(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		poll := b.connecting()
		second := *b
		second.handshake()
		second.connect()
		_, m := split(t, <-poll)
		wantError(t, m, "403::Unknown client")
		if r.Sessions() != 1 {
			t.Errorf("%d sessions", r.Sessions())
		}
	})
}

func TestVersionList(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		resp, err := r.HTTPClient().Get(r.LoginURL() + "/services/data/")
		check(t, err)
		defer resp.Body.Close()
		var list []struct{ Label, URL, Version string }
		decodeJSON(t, resp.Body, &list)
		last := list[len(list)-1]
		if len(list) != 32 || list[0].Version != "37.0" || last.Version != "68.0" || last.Label != "Winter '27" || last.URL != "/services/data/v68.0" {
			t.Errorf("%+v", list)
		}
	})
}
