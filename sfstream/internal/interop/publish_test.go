package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// number is an order event as the Node client publishes it, with the type of a nullable value.
func (j *clientProgram) number(org *sfstreamtest.Server, id string, n float64) map[string]any {
	return map[string]any{"id": id, "payload": map[string]any{
		"CreatedDate": time.Now().UnixMilli(), "CreatedById": org.Account().UserID, "N__c": map[string]any{"double": n},
	}}
}

// publishes has the program publish, and returns the replay ids by the ids of the events. The
// program prints what it receives meanwhile, too: got adds those.
func (j *clientProgram) publishes(what any, want []string, got *[]float64) map[string]float64 {
	j.t.Helper()
	check(j.t, json.NewEncoder(j.in).Encode(what))
	for {
		line := j.next()
		list, ok := line["published"].([]any)
		if !ok {
			j.received(line, got)
			continue
		}
		var ids []string
		replay := make(map[string]float64)
		for _, item := range list {
			result, _ := item.(map[string]any)
			id, _ := result["correlationKey"].(string)
			ids = append(ids, id)
			replay[id], _ = result["replayId"].(float64)
		}
		if !slices.Equal(ids, want) {
			j.t.Fatalf("published %v, want %v", line, want)
		}
		return replay
	}
}

// received adds the number of an event that the program has printed.
func (j *clientProgram) received(line map[string]any, got *[]float64) {
	j.t.Helper()
	payload, _ := line["payload"].(map[string]any)
	n, ok := payload["N__c"].(float64)
	if !ok {
		j.t.Fatalf("got %v", line)
	}
	*got = append(*got, n)
}

// TestNodePubSubClientPublishes publishes with the Node client, by a call and by batches on a
// stream, and receives the same events with it and with ours; and it receives what ours publishes.
func TestNodePubSubClientPublishes(t *testing.T) {
	t.Parallel()
	org := sfstreamtest.NewServer(t, sfstreamtest.WithTLS())
	defineOrder(t, org)
	client := startNodePubSub(t, org, "oauth-client-credentials", map[string]any{"clientId": org.Account().ConsumerKey, "clientSecret": org.Account().ConsumerSecret})
	client.line(map[string]any{"subscribed": order})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check(t, org.AwaitStreams(ctx, order, 1))

	var got []float64
	replay := client.publishes(client.number(org, "one", 1), []string{"one"}, &got)
	for n := 2.0; n < 8; n += 2 {
		ids := []string{fmt.Sprint("id-", n), fmt.Sprint("id-", n+1)}
		events := []any{client.number(org, ids[0], n), client.number(org, ids[1], n+1)}
		for id, n := range client.publishes(events, ids, &got) {
			replay[id] = n
		}
	}
	for len(got) < 7 {
		client.received(client.next(), &got)
	}
	if !slices.Equal(got, []float64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("received %v", got)
	}
	retained := org.Retained(order)
	if len(retained) != 7 || len(replay) != 7 {
		t.Errorf("%d events are on the bus, %d were confirmed", len(retained), len(replay))
	}
	for _, e := range retained {
		if replay[e.ID] != float64(e.Number) {
			t.Errorf("event %s was confirmed as %v and is %d", e.ID, replay[e.ID], e.Number)
		}
	}
	ours, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	check(t, err)
	defer ours.Close()
	check(t, ours.Open(ctx))
	check(t, ours.Subscribe(ctx, order))
	for _, e := range retained {
		msg, err := ours.Receive(ctx)
		check(t, err)
		if fields, err := msg.Fields(); err != nil || msg.ID != e.ID || fields["CreatedById"] != org.Account().UserID {
			t.Errorf("ours receives %s: %v %v", msg.ID, fields, err)
		}
	}
	results, err := ours.Publish(ctx, order, map[string]any{"N__c": 8}, map[string]any{"N__c": 9.5})
	check(t, err)
	for i, want := range []float64{8, 9.5} {
		line := client.next()
		payload, _ := line["payload"].(map[string]any)
		if payload["N__c"] != want || payload["CreatedById"] != org.Account().UserID || results[i].Outcome != sfstream.Published {
			t.Errorf("the result %v is %v there", results[i], line)
		}
	}
	if n := org.PublishStreams(order); n != 1 {
		t.Errorf("%d streams are open", n)
	}
}
