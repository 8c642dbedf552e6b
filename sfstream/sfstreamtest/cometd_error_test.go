package sfstreamtest_test

import "testing"

func TestRejectSpeaksCometD(t *testing.T) {
	const busy = "503::Server is too busy.  Please try your request again later."
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		id := r.publish(1)[0].Number
		for code, want := range map[string]string{
			"topic.not.found":                        "400::The channel you requested to subscribe to does not exist {" + orders + "}",
			"topic.meta.permission":                  "403::Restricted channel",
			"subscription.topic.cannot.subscribe":    "403::Restricted channel",
			"subscription.fetch.replayid.corrupted":  "400::The replayId {" + jsonOf(t, id) + "} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.",
			"subscription.limit.exceeded":            "403::Organization total events daily limit exceeded",
			"service.auth.error":                     "401::Authentication invalid",
			"service.unavailable":                    busy,
			"UNAVAILABLE":                            busy,
			"UNAVAILABLE: This application is down":  busy,
			"INTERNAL made.up.code: text":            busy,
			"403:denied_by_security_policy:whatever": "403:denied_by_security_policy:whatever",
		} {
			r.Reject(orders, 1, code)
			_, m := b.subscribe(orders, id)
			wantError(t, m, want)
			if reason := m.Ext.SFDC.FailureReason; (want == busy) != (reason == busy) {
				t.Errorf("%s: failureReason %q", code, reason)
			}
		}
		b.follow(orders, id)
	})
}

func TestEndStreamsEndsSessions(t *testing.T) {
	for code, want := range map[string]struct{ error, advice string }{
		"":                   {"403::Unknown client", "handshake"},
		"OK":                 {"403::Unknown client", "handshake"},
		"UNAVAILABLE":        {"403::Unknown client", "handshake"},
		"service.auth.error": {"401::Authentication invalid", "none"},
		"403::x":             {"403::x", "handshake"},
	} {
		for _, held := range []bool{true, false} {
			bubble(t, func(t *testing.T, r *rig) {
				b := r.shaken()
				b.follow(orders, -1)
				other := r.shaken()
				var m message
				if held {
					poll := b.connecting()
					r.EndStreams(orders, code)
					_, m = split(t, <-poll)
				} else {
					r.EndStreams(orders, code)
					_, m = b.connect()
				}
				wantError(t, m, want.error)
				wantAdvice(t, m, want.advice)
				if r.Sessions() != 1 || r.Streams(orders) != 0 {
					t.Errorf("%d sessions, %d streams", r.Sessions(), r.Streams(orders))
				}
				other.follow(orders, -1)
			})
		}
	}
}

func TestRevokeAndRemoveEndTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		r.Revoke(orders)
		_, m := split(t, <-poll)
		wantError(t, m, "403::Unknown client")
		b.handshake()
		_, m = b.subscribe(orders, -1)
		wantError(t, m, "403::Restricted channel")
		r.Grant(orders)
		b.follow(orders, -1)
		b.connect()
		poll = b.connecting()
		check(t, r.Remove(orders))
		_, m = split(t, <-poll)
		wantError(t, m, "403::Unknown client")
		b.handshake()
		_, m = b.subscribe(orders, -1)
		wantError(t, m, "400::The channel you requested to subscribe to does not exist {"+orders+"}")
	})
}

func TestDuplicatesAfterASubscribeFromAnID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		old := r.publish(5)
		r.Duplicate(orders, 2)
		wantEvents(t, b.follow(orders, old[3].Number), old[2:]...)
	})
}

func TestInstanceMoved(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		oldURL := b.url
		r.MoveInstance()
		_, m := b.connect()
		wantError(t, m, "401::Authentication invalid")
		moved := r.cometd()
		if moved.url == oldURL {
			t.Fatal("the instance has not moved")
		}
		moved.handshake()
		moved.url = oldURL
		m = moved.only(moved.post(handshakeMessage()))
		wantError(t, m, "403::Handshake denied")
	})
}

func TestTheHistoryOfRequests(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.post(subscribeMessage(orders, -1), subscribeMessage("/topic/No", -1))
		got := r.CometDRequests()
		if len(got) != 4 || got[0].Kind != "handshake" || got[1].Kind != "connect" || got[2].Channel != orders ||
			got[3].Channel != "/topic/No" || got[3].Bytes < 100 || got[3].At.IsZero() {
			t.Errorf("%+v", got)
		}
	})
}
