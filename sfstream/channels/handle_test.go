package channels_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestServeTellsAllMistakesOfTopicsBeforeItDoesAnything(t *testing.T) {
	o := newTopicOrg()
	client := o.client(t)
	sent := len(o.got)
	handle := func(context.Context, *sfstream.Message) error { return nil }
	mux := sfstream.NewMux()
	mux.OnStart(func(context.Context, *sfstream.Client) error { t.Error("OnStart was called"); return nil })
	channels.HandlePushTopic(mux, channels.PushTopic{Name: "NoQuery"}, handle)
	channels.HandlePushTopic(mux, channels.PushTopic{Query: "SELECT Id FROM Account"}, handle)
	channels.HandlePushTopic(mux, accounts, nil)
	channels.HandlePushTopic(mux, channels.PushTopic{Name: "Fine", Query: "SELECT Id FROM Account"}, handle)
	channels.HandleSObject(mux, "Contact", handle, channels.RecordType("InternationalStudent"))
	channels.HandleSObject(mux, "no object", handle)
	channels.HandleSObject(mux, "Contact", handle, channels.SubscribeWith(sfstream.Via(sfstream.PubSub)))
	channels.HandlePushTopic(mux, channels.PushTopic{Name: "Fine", Query: "SELECT Id, Name FROM Account"}, handle)
	channels.HandleSObject(mux, "Lead", handle, channels.Fields("Id", "Name"))
	channels.HandleSObject(mux, "Lead", handle, channels.Fields("Name"), channels.ExcludeCurrentUser())
	channels.HandlePushTopic(mux, channels.PushTopic{Name: "Lead", Query: "SELECT Id FROM Lead"}, handle)
	err := client.Serve(t.Context(), mux)
	if !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Fatalf("Serve: %v, want ErrInvalidOption", err)
	}
	lab.Contains(t, err.Error(), "PushTopic NoQuery: it has no Query", `PushTopic "": it has no Name`, "/topic/Accts: no handler",
		"27 characters, and Salesforce takes 25: give another one with Name", `"no object" is no name of an object`, "/topic/Contact", "Streaming API only")
	for of, want := range map[string]int{"Fine": 1, "Lead": 2} {
		if n := strings.Count(err.Error(), "PushTopic "+of+": two handlers of the mux declare it, and not alike"); n != want {
			t.Errorf("%s: told %d times, want %d: %v", of, n, want, err)
		}
	}
	if len(o.got) != sent {
		t.Errorf("%d requests were sent", len(o.got)-sent)
	}
}

// Handlers that share a topic declare it once.
func TestHandlersOfOneTopicDeclareItOnce(t *testing.T) {
	o := newTopicOrg()
	client := o.client(t)
	mux := sfstream.NewMux()
	ctx, cancel := context.WithCancel(t.Context())
	handle := func(context.Context, *sfstream.Message) error { return nil }
	for range 3 {
		channels.HandlePushTopic(mux, accounts, handle)
		channels.HandleSObject(mux, "Contact", handle, channels.Fields("Name"))
	}
	same := accounts
	same.ID, same.Operations = "0IF000000000009AAA", channels.Create|channels.Update|channels.Delete|channels.Undelete
	channels.HandlePushTopic(mux, same, handle)
	mux.OnStart(func(context.Context, *sfstream.Client) error { cancel(); return nil })
	lab.Must(t, client.Serve(ctx, mux))
	described := 0
	for _, a := range o.got {
		if strings.HasSuffix(a.path, "/describe") {
			described++
		}
	}
	if described != 1 {
		t.Errorf("described %d times", described)
	}
	if n := len(o.wrote()); n != 2 || len(o.topics) != 2 {
		t.Errorf("%d writes, %d topics, want 2 and 2", n, len(o.topics))
	}
}

// Options that several objects share may be in one slice, to which each object's own are appended.
func TestOptionsOfSeveralObjectsMayShareASlice(t *testing.T) {
	o := newTopicOrg()
	client := o.client(t)
	mux := sfstream.NewMux()
	ctx, cancel := context.WithCancel(t.Context())
	common := append(make([]channels.SObjectOption, 0, 2), channels.NotifyOn(channels.Create))
	for _, object := range []string{"Contact", "Case"} {
		channels.HandleSObject(mux, object, func(context.Context, *sfstream.Message) error { return nil }, append(common, channels.Name("New"+object))...)
	}
	mux.OnStart(func(context.Context, *sfstream.Client) error { cancel(); return nil })
	lab.Must(t, client.Serve(ctx, mux))
	topics, err := channels.NewPushTopics(client).List(t.Context())
	lab.Must(t, err)
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic.Name
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"NewCase", "NewContact"}) {
		t.Errorf("declared %v", names)
	}
}

func TestServeEndsWhereATopicCannotBeDeclared(t *testing.T) {
	o := newTopicOrg()
	client := o.client(t)
	mux := sfstream.NewMux()
	channels.HandleSObject(mux, "Contact", func(context.Context, *sfstream.Message) error { return nil }, channels.RecordType("Pupil"))
	err := client.Serve(t.Context(), mux)
	if !errors.Is(err, channels.ErrNotFound) || len(client.Subscriptions()) != 0 {
		t.Fatalf("Serve: %v, with the subscriptions %v", err, client.Subscriptions())
	}
	lab.Contains(t, err.Error(), "PushTopic ContactPupil", "it has Student, Teacher")
}
