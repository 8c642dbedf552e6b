package moving

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// All ways to consume give the events in their order.
func TestReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org, log := t.Context(), newOrg(t), slog.New(slog.DiscardHandler)
		client := open(t, org,
			sfstream.WithReplay(sfstream.ReplayAll),
			sfstream.WithPrefetch(100),
			sfstream.WithJSON(json.Marshal, json.Unmarshal),
			sfstream.WithLogger(log),
		)
		publish(t, org, 1, 2, 3)
		lab.Must(t, client.Subscribe(ctx, "/event/Order__e"))
		expect(t, "subscriptions", client.Subscriptions(), []string{orders})

		msg, err := client.Receive(ctx)
		lab.Must(t, err)
		var order struct {
			Number string `sf:"Number__c"`
		}
		lab.Must(t, msg.Decode(&order))
		fields, err := msg.Fields()
		lab.Must(t, err)
		expect(t, "number", order.Number+" "+fields["Number__c"].(string), "A-1 A-1")
		line, err := json.Marshal(msg)
		lab.Must(t, err)
		lab.Contains(t, string(line), `"channel":"/event/Order__e"`, `"payload":{`, `"replayId":`)
		if msg.Channel != orders || len(msg.ReplayID) == 0 || msg.SchemaID == "" || msg.EventName() != "Order__e" || msg.Date().IsZero() || msg.Key() == "" || len(msg.Raw()) == 0 {
			t.Errorf("the message is %+v", msg)
		}
		for msg := range client.Messages(ctx) {
			fields, err := msg.Fields()
			lab.Must(t, err)
			expect(t, "number in the loop", fields["Number__c"], "A-2")
			msg.Ack() // before a break
			break
		}
		select {
		case msg := <-client.C(ctx):
			msg.Ack()
		case <-time.After(10 * time.Second):
			t.Error("C gives nothing")
		}
		expect(t, "what waits", client.Pending() > 0, false)

		lab.Must(t, client.Unsubscribe(ctx, "/event/Order__e"))
		lab.Must(t, client.Close())
		if !errors.Is(client.Status().Err, sfstream.ErrClosed) {
			t.Errorf("the status of a closed client is %v", client.Status().Err)
		}
	})
}

// A filter is part of the channel's name, with quotes around values.
func TestAFilteredTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client := open(t, org)
		lab.Must(t, client.Subscribe(ctx, "/topic/Accounts?Name='Acme'"))
		for id, name := range map[string]string{"001000000000001AAA": "Beta", "001000000000002AAA": "Acme"} {
			_, err := org.Change(sfstreamtest.Change{Object: "Account", Type: "CREATE", RecordIDs: []string{id}, Set: map[string]any{"Name": name}})
			lab.Must(t, err)
		}
		msg, err := client.Receive(ctx)
		lab.Must(t, err)
		fields, err := msg.Fields()
		lab.Must(t, err)
		expect(t, "event", msg.Type+" "+fields["Name"].(string), "created Acme")
	})
}

// The header of a change event has names, not bitmaps.
func TestAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client := open(t, org, sfstream.WithReplay(sfstream.ReplayAll))
		lab.Must(t, client.Subscribe(ctx, "/data/AccountChangeEvent"))
		_, err := org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"Name": "Acme"}, Null: []string{"Phone"}})
		lab.Must(t, err)
		msg, err := client.Receive(ctx)
		lab.Must(t, err)
		change, err := msg.Change()
		lab.Must(t, err)
		expect(t, "change", strings.Join(append(change.ChangedFields, change.NulledFields...), " "), "Name Phone Phone")
		expect(t, "record", change.EntityName+" "+change.RecordIDs[0], "Account 001000000000001AAA")
	})
}

// A program hears of what happens by hooks, and asks by Status.
func TestListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		heard := make(chan string, 100)
		client := open(t, org, sfstream.WithTransport(sfstream.CometD), sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithHooks(sfstream.Hooks{
			OnState:     func(channel string, state sfstream.State, err error) { heard <- "state" },
			OnReconnect: func(r sfstream.Reconnect) { heard <- "reconnect" },
			OnLogin:     func(e sfstream.LoginEvent) { heard <- "login" },
			OnRaw:       func(channel string, raw []byte) { heard <- channel },
			OnLimit:     func(err *sfstream.ServerError) { heard <- "limit" },
			OnSubscriptionError: func(channel string, err error) (drop bool) {
				return true
			},
		}))
		lab.Must(t, client.Subscribe(ctx, orders))
		publish(t, org, 1)
		expect(t, "number", next(t, client, 1), "A-1")
		lab.Must(t, client.Status().Check())
		expect(t, "state", client.Status().Channels[0].State, sfstream.StateLive)
		lab.Must(t, client.Close())
		close(heard)
		all := make(map[string]bool)
		for what := range heard {
			all[what] = true
		}
		for _, want := range []string{"state", "login", "/meta/handshake", orders} {
			if !all[want] {
				t.Errorf("no hook has heard of %s: %v", want, all)
			}
		}
	})
}
