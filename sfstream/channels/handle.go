package channels

import (
	"cmp"
	"context"

	"github.com/sfstream/sfstream-go/sfstream"
)

// HandlePushTopic adds a handler of a PushTopic's events to a mux. Each [sfstream.Client.Serve]
// declares the topic before it subscribes, as [PushTopics.Declare]. What no PushTopic can be is an
// error of Serve before it does anything.
//
//	channels.HandlePushTopic(mux, channels.PushTopic{
//		Name:  "OpenCases",
//		Query: "SELECT Id, CaseNumber, Status FROM Case WHERE IsClosed = false",
//	}, handle)
//
// Serve does not look at the topic again: one that somebody deletes or sets inactive later is a
// channel without events.
//
// A topic may have several handlers, which declare the same: that another one of the mux declares
// the topic otherwise is an error of Serve, too.
func HandlePushTopic(mux *sfstream.Mux, topic PushTopic, h sfstream.Handler, opts ...sfstream.SubscribeOption) {
	topic, err := topic.clean()
	if err != nil {
		mux.Mistake(err)
		return
	}
	mux.Handle(topic.Channel(), h, opts...)
	said := topic
	said.ID, said.Operations = "", cmp.Or(topic.Operations, allOperations) // as Declare takes them
	mux.OnStartOnce("PushTopic "+topic.Name, said, func(ctx context.Context, client *sfstream.Client) error {
		_, err := NewPushTopics(client).Declare(ctx, topic)
		return err
	})
}

// HandleSObject adds a handler of the changes of an object's records to a mux: of all, or as the
// options say. Each [sfstream.Client.Serve] builds the topic with [PushTopics.ForSObject] and
// declares it before it subscribes.
//
//	channels.HandleSObject(mux, "Contact", handle, channels.RecordType("Student"), channels.ExcludeCurrentUser())
//
// Several handlers of an object with other options need a [Name] each.
func HandleSObject(mux *sfstream.Mux, sobject string, h sfstream.Handler, opts ...SObjectOption) {
	s, err := newSObjectTopic(sobject, opts)
	if err != nil {
		mux.Mistake(err)
		return
	}
	mux.Handle(s.topic.Channel(), h, s.subscribe...)
	said := *s
	said.subscribe = nil // Handle compares them
	mux.OnStartOnce("PushTopic "+s.topic.Name, said, func(ctx context.Context, client *sfstream.Client) error {
		topics := NewPushTopics(client)
		topic, err := topics.forSObject(ctx, s) // what is in opts may be something else by now
		if err == nil {
			_, err = topics.Declare(ctx, topic)
		}
		return err
	})
}
