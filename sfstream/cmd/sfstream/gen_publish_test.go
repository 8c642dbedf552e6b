package main

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// WideEvent is an event of /event/Wide__e, schema "abc".
type WideEvent struct {
	CreatedDate time.Time  `sf:"CreatedDate" json:"CreatedDate"` // DateTime
	CreatedById string     `sf:"CreatedById" json:"CreatedById"` // EntityId
	Text        *string    `sf:"Text__c" json:"Text__c"`         // Text
	Due         *time.Time `sf:"Due__c" json:"Due__c"`           // DateOnly
	At          *time.Time `sf:"At__c" json:"At__c"`             // DateTime
	Big         *int64     `sf:"Big__c" json:"Big__c"`           // Integer
	Amount      *float64   `sf:"Amount__c" json:"Amount__c"`     // Double
	Yes         *bool      `sf:"Yes__c" json:"Yes__c"`           // Boolean
}

// A struct is published as gen has written it, and comes back equal.
func TestGeneratedStructsArePublished(t *testing.T) {
	const channel = "/event/Wide__e"
	source, err := structs("main", []channelSchema{{[]string{channel}, "abc", wideSchema}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("gen_publish_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, generated, ok := bytes.Cut(source, []byte("// WideEvent is")); !ok || !bytes.Contains(own, generated) {
		t.Fatalf("WideEvent is not what gen writes:\n%s", source)
	}
	org := sfstreamtest.NewServer(t)
	if err := org.DefineEvent(channel, wideSchema); err != nil {
		t.Fatal(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Open(t.Context()), client.Subscribe(t.Context(), channel)); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 2, 28, 23, 59, 59, 999e6, time.UTC)
	events := []WideEvent{
		{CreatedDate: at, CreatedById: "005000000000001AAA"}, // the rest is null
		{at, "005000000000001AAA", new(""), new(at.Truncate(24 * time.Hour)), new(at), new(int64(1<<53 + 1)), new(-0.1), new(false)},
	}
	if _, err := client.Publish(t.Context(), channel, events[0], &events[1]); err != nil {
		t.Fatal(err)
	}
	for _, want := range events {
		msg, err := client.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sfstream.Decode[WideEvent](msg); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
		}
	}
}
