package sfstreamtest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestUnknownClientConnect(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		r.UnknownClient(1)
		before := cookieOf(t, b, "sfdc-stream")
		_, m := b.connect()
		wantError(t, m, "403::Unknown client")
		wantAdvice(t, m, "handshake")
		if m.ClientID != "" || r.Sessions() != 0 || r.Streams(orders) != 0 || cookieOf(t, b, "sfdc-stream") == before {
			t.Errorf("%+v, %d sessions, %d streams", m, r.Sessions(), r.Streams(orders))
		}
		b.handshake()
		if _, m := b.connect(); !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}

func cookieOf(t *testing.T, b *bayeux, name string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.url, nil)
	check(t, err)
	for _, c := range b.http.Jar.Cookies(req.URL) {
		if c.Name == name {
			return c.Value
		}
	}
	t.Fatalf("no cookie %s", name)
	return ""
}

func TestUnknownClientSubscribe(t *testing.T) {
	for fault, do := range map[string]func(r *rig){
		"FailCometD": func(r *rig) {
			r.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Channel: orders, Error: "403::Unknown client"})
		},
		"Reject": func(r *rig) { r.Reject(orders, 1, "403::Unknown client") },
		"OK":     func(r *rig) { r.Reject(orders, 1, "OK") },
	} {
		t.Run(fault, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				b := r.shaken()
				do(r)
				_, m := b.subscribe(orders, -1)
				wantError(t, m, "403::Unknown client")
				wantAdvice(t, m, "")
				if r.Sessions() != 0 {
					t.Errorf("%d sessions", r.Sessions())
				}
				b.handshake()
				b.follow(orders, -1)
			})
		})
	}
}

func TestUnknownClientAdviceIsAKnob(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		b.clientID = "gone"
		_, m := b.subscribe(orders, -1)
		wantAdvice(t, m, "handshake")
	}, sfstreamtest.WithUnknownClientAdvice())
}

func TestLegacy402Interval(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.LegacyUnknownClient(1)
		_, m := b.connect()
		wantError(t, m, "402::Unknown client")
		if m.Advice["interval"] != 500.0 || r.Sessions() != 0 {
			t.Errorf("%+v", m)
		}
	})
}

func TestLostResponsesAreLost(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"LoseResponse":     func(r *rig) { r.LoseResponse(1) },
		"TruncateResponse": func(r *rig) { r.TruncateResponse(1) },
		"EmptyReply":       func(r *rig) { r.EmptyReply(1) },
		"CutAfter": func(r *rig) {
			r.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Channel: orders, CutAfter: 100})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				b := r.shaken()
				lose(r)
				if _, m := b.subscribe(orders, -1); !m.ok() {
					t.Fatalf("%+v", m)
				}
				lost := r.publish(3)
				resp, text, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`)
				var got []message
				if err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(text, &got) == nil {
					t.Fatalf("nothing is wrong with %s", text)
				}
				if name == "CutAfter" && len(text) != 100 {
					t.Errorf("%d bytes", len(text))
				}
				kept := r.publish(1)
				events, m := b.connect()
				wantEvents(t, events, kept...)
				if !m.ok() {
					t.Errorf("%+v", m)
				}
				b.handshake()
				wantEvents(t, b.follow(orders, lost[0].Number), append(lost[1:], kept...)...)
			})
		})
	}
}

func TestHTML502LosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		r.HTMLError(2, http.StatusBadGateway)
		want := r.publish(1)
		for range 2 {
			resp, _, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`)
			check(t, err)
			if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Content-Type") != "text/html;charset=UTF-8" {
				t.Errorf("%s %v", resp.Status, resp.Header)
			}
		}
		events, _ := b.connect()
		wantEvents(t, events, want...)
	})
}

func TestReplyFirstAndEventsOnly(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		r.ConnectReplyFirst(true)
		r.publish(2)
		got := b.post(connectMessage())
		if len(got) != 3 || got[0].Channel != "/meta/connect" || got[2].Channel != orders {
			t.Errorf("reply_first_order: %+v", got)
		}
		r.ConnectReplyFirst(false)
		r.OmitConnectReply(1)
		r.publish(2)
		got = b.post(connectMessage())
		if len(got) != 2 || got[0].Channel != orders || got[1].Channel != orders {
			t.Errorf("events_only_batch: %+v", got)
		}
	})
}

func TestHoldThenLateAndDeadPeer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Delay: 5 * time.Second})
		took(t, 115*time.Second, func() {
			if _, m := b.connect(); !m.ok() {
				t.Errorf("%+v", m)
			}
		})
		r.FailCometD(sfstreamtest.CometDFault{Kind: "connect", NoAnswer: true})
		b.http.Timeout = 130 * time.Second
		took(t, 130*time.Second, func() {
			if _, _, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`); err == nil {
				t.Error("dead_peer: answered")
			}
		})
	})
}

func TestSlowBody(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		want := r.publish(9)
		r.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Pause: time.Minute})
		took(t, time.Minute, func() {
			events, _ := b.connect()
			wantEvents(t, events, want...)
		})
	})
}

func TestABlackHoleSwallowsTheBatch(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		r.Blackhole()
		r.publish(1)
		r.settle()
		select {
		case got := <-poll:
			t.Errorf("got %v", got)
		default:
		}
		kept := r.publish(1)
		events, m := b.connect() // this connect has a connection of its own
		wantEvents(t, events, kept...)
		if !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}

func TestRefusedConnections(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.Refuse(true)
		r.DropConnections()
		if _, _, err := b.send("[]"); err == nil {
			t.Error("connected")
		}
		r.Refuse(false)
		if _, m := b.connect(); !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}

func TestSilentOrgsHoldConnectsForEver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		r.SilenceKeepalive(true)
		poll := b.connecting()
		time.Sleep(time.Hour)
		if r.OpenConnects() != 1 {
			t.Error("the connect was answered")
		}
		want := r.publish(1)
		events, _ := split(t, <-poll)
		wantEvents(t, events, want...)
	})
}

func TestBusy503Disguised(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.Busy503As401(1)
		_, m := b.connect()
		wantError(t, m, "401::Authentication invalid")
		wantAdvice(t, m, "none")
		if m.Ext.SFDC.FailureReason != "503::Server is too busy.  Please try your request again later." {
			t.Errorf("%+v", m)
		}
	})
}

func TestConcurrentLimit(t *testing.T) {
	denied := func(t *testing.T, b *bayeux) {
		t.Helper()
		m := b.only(b.post(handshakeMessage()))
		wantError(t, m, "403::Handshake denied")
		if m.Ext.SFDC.FailureReason != "403::Organization concurrent user limit exceeded" {
			t.Errorf("%+v", m)
		}
	}
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		r.ConcurrentLimit(1)
		denied(t, b)
		b.handshake()
	})
	bubble(t, func(t *testing.T, r *rig) {
		first, b := r.shaken(), r.cometd()
		denied(t, b)
		first.post(object{"channel": "/meta/disconnect"})
		b.handshake()
	}, sfstreamtest.WithMaxSessions(1))
}

func TestDailyLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		r.DailyLimit(time.Hour)
		want := r.publish(1)
		took(t, 110*time.Second, func() {
			if events, m := b.connect(); len(events) > 0 || !m.ok() {
				t.Errorf("daily_limit_silence: %v %+v", events, m)
			}
		})
		_, m := b.subscribe(orders, -1)
		wantError(t, m, "403::Organization total events daily limit exceeded")
		for {
			if events, _ := b.connect(); len(events) > 0 {
				wantEvents(t, events, want...)
				break
			}
		}
		r.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Error: "403::Organization total events daily limit exceeded"})
		_, m = b.connect()
		wantError(t, m, "403::Organization total events daily limit exceeded")
	})
	bubble(t, func(_ *testing.T, r *rig) { r.DailyLimit(time.Hour) }) // Close stops the timer of the limit
}

func TestAdviceHandshakeLoop(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.cometd()
		r.HandshakeAdviceLoop(2)
		for range 2 {
			b.handshake()
			_, m := b.connect()
			wantAdvice(t, m, "handshake")
		}
		b.handshake()
		if _, m := b.connect(); !m.ok() {
			t.Errorf("%+v", m)
		}
	})
}

func TestFaultsWaitAndRepeatAndAreTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		r.FailCometD(sfstreamtest.CometDFault{
			Kind: "connect", After: 1, Times: -1, Error: "999:a,b:free: text", Advice: `{"reconnect":"retry","interval":7}`,
		})
		b.connect()
		for range 3 {
			_, m := b.connect()
			wantError(t, m, "999:a,b:free: text")
			if m.Advice["interval"] != 7.0 {
				t.Errorf("%+v", m)
			}
		}
		r.ClearFaults()
		if _, m := b.connect(); !m.ok() {
			t.Errorf("%+v", m)
		}
		r.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", NoCookies: true})
		c := r.cometd()
		c.handshake()
		_, m := c.connect()
		wantError(t, m, "400::Client "+c.clientID+" has established a session, but no BAYEUX_BROWSER cookie present")
		r.FailCometD(sfstreamtest.CometDFault{Error: "503::x", Advice: "-", Status: http.StatusServiceUnavailable})
		resp, text, err := b.send(`[{"channel":"/meta/connect","clientId":"` + b.clientID + `"}]`)
		check(t, err)
		if resp.StatusCode != http.StatusServiceUnavailable || !containsText(text, `"error":"503::x"`) || containsText(text, "advice") {
			t.Errorf("%s %s", resp.Status, text)
		}
	})
}
