package sfstreamtest_test

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const accounts = "/topic/Accts"

// withTopics defines a PushTopic and a generic channel.
func withTopics(t *testing.T, r *rig) {
	t.Helper()
	check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id, Name, City__c FROM Account"}))
	check(t, r.DefineGenericChannel("/u/ops"))
}

func publishTopic(t *testing.T, r *rig, sobject map[string]any) sfstreamtest.Event {
	t.Helper()
	e, err := r.PublishTopic("Accts", "updated", sobject)
	check(t, err)
	return e
}

func TestBothFacesHaveTheSameEvents(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineChannel("/event/Sales__chn", orders))
		b := r.shaken()
		stream := r.open(earliest(orders, 10))
		b.follow("/event/Sales__chn", -1)
		b.follow(orders, -1)
		r.await(orders, 2)
		if r.Streams("") != 3 {
			t.Errorf("%d streams", r.Streams(""))
		}
		e := r.publish(1)[0]
		got, _ := b.connect()
		if len(got) != 2 || got[0].Channel != "/event/Sales__chn" || got[1].Channel != orders {
			t.Fatalf("got %+v", got)
		}
		if ids := recvIDs(t, stream, 1); ids[0] != e.ID {
			t.Errorf("Pub/Sub has %v", ids)
		}
		wantEvents(t, got[1:], e)
	})
}

func TestNoSuchChannel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		check(t, r.DefineGenericChannel("/u/gone"))
		check(t, r.Remove("/u/gone"))
		b := r.shaken()
		for channel, want := range map[string]string{
			"/event/No__e":       "400::The channel you requested to subscribe to does not exist {/event/No__e}",
			"/topic/No":          "400::The channel you requested to subscribe to does not exist {/topic/No}",
			orders + "?A='1'":    "400::The channel you requested to subscribe to does not exist {" + orders + "?A='1'}",
			"/u/nobody":          "404::Unknown channel",
			"/u/gone":            "404::Unknown channel",
			"/u/OPS":             "404::channel names may not vary only by case",
			"/foo/bar":           "403:denied_by_security_policy:create_denied",
			"/meta/connect":      "403::Restricted channel",
			"":                   "400::Channel name not specified",
			"topic/Accts":        "400::Channel subscriptions must start with a leading '/'",
			"/topic/*":           "400::Wildcard subscriptions are not supported {/topic/*}",
			"/topic/Accts?X='1'": "400::Query fields {X} do not exist on the topic entity",
		} {
			_, m := b.subscribe(channel, nil)
			wantError(t, m, want)
		}
		_, text, err := b.send(`[{"channel":"/meta/subscribe","subscription":["` + orders + `"],"clientId":"` + b.clientID + `"}]`)
		check(t, err)
		if want := `"error":"400::Subscription must be a single channel name"`; !containsText(text, want) {
			t.Errorf("an array: %s", text)
		}
		m := b.only(b.post(object{"channel": "/meta/subscribe"}))
		wantError(t, m, "400::Channel name not specified")
		m = b.only(b.post(object{"channel": "/meta/subscribe", "subscription": orders, "clientId": ""}))
		wantError(t, m, "403::Client has not completed handshake")
		m = b.only(b.post(object{"channel": orders, "data": object{}}))
		wantError(t, m, "403:denied_by_security_policy:publish_denied")
		if r.Sessions() != 1 || r.Streams("") != 0 {
			t.Errorf("%d sessions, %d streams", r.Sessions(), r.Streams(""))
		}
	})
}

func TestNoPermission(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		check(t, r.DefineObject("Account", accountFields()...))
		b := r.shaken()
		for channel, want := range map[string]string{
			orders:                     "403::Restricted channel",
			"/data/AccountChangeEvent": "403::User not allowed to subscribe CDC without View All Data permissions",
			accounts:                   "403::Subscriber does not have access to the entity in this topic",
			"/u/ops":                   "403::No access on channel",
		} {
			r.Revoke(channel)
			_, m := b.subscribe(channel, -1)
			wantError(t, m, want)
			r.Grant(channel)
			b.follow(channel, -1)
		}
	})
}

func TestBulkPartial(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		b := r.shaken()
		got := b.post(subscribeMessage(orders, -1), subscribeMessage("/topic/No", -1), subscribeMessage("/u/ops", -1))
		if len(got) != 3 || !got[0].ok() || got[1].ok() || !got[2].ok() || r.Streams("") != 2 {
			t.Errorf("%+v, %d streams", got, r.Streams(""))
		}
	})
}

func TestFilteredTopic(t *testing.T) {
	for bare, options := range map[bool][]sfstreamtest.Option{false: nil, true: {sfstreamtest.WithBareFilteredChannel()}} {
		bubble(t, func(t *testing.T, r *rig) {
			withTopics(t, r)
			b := r.shaken()
			const filtered = accounts + "?Name='Acme'&City__c=Lyon"
			publishTopic(t, r, map[string]any{"Id": "0", "Name": "Other"})
			one := publishTopic(t, r, map[string]any{"Id": "1", "Name": "Acme"})
			events := b.follow(filtered, -2)
			wantEvents(t, events, one)
			if want := map[bool]string{false: filtered, true: accounts}[bare]; events[0].Channel != want {
				t.Errorf("channel %q, want %q", events[0].Channel, want)
			}
			if r.Streams(accounts) != 1 {
				t.Errorf("%d streams", r.Streams(accounts))
			}
			publishTopic(t, r, map[string]any{"Id": "2", "City__c": nil})
			two := publishTopic(t, r, map[string]any{"Id": "3", "City__c": "Lyon"})
			events, _ = b.connect()
			wantEvents(t, events, two)
		}, options...)
	}
}

func TestSubscribingAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		old := r.publish(2)
		wantEvents(t, b.follow(orders, -2), old...)
		wantEvents(t, b.follow(orders, nil))
		wantEvents(t, b.follow(orders, old[0].Number), old[1])
		if r.Streams(orders) != 1 {
			t.Errorf("%d streams", r.Streams(orders))
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		_, m := b.subscribe(orders, -1)
		wantError(t, m, "403::Subscription already exists {"+orders+"}")
	}, sfstreamtest.WithResubscribeError())
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		for range 2 { // the second time the session does not have the channel, which is no error
			m := b.only(b.post(object{"channel": "/meta/unsubscribe", "subscription": orders}))
			if !m.ok() || m.Subscription != orders || r.Streams(orders) != 0 {
				t.Errorf("%+v, %d streams", m, r.Streams(orders))
			}
		}
		r.publish(1)
		took(t, 110*time.Second, func() {
			if events, _ := b.connect(); len(events) > 0 {
				t.Errorf("got %v", events)
			}
		})
		wantError(t, b.only(b.post(object{"channel": "/meta/unsubscribe", "subscription": "/topic/No"})), "400::channel_missing")
	})
}
