// Package natssink puts the events of Salesforce into streams of NATS JetStream, for sink.Forward:
//
//	js, err := jetstream.New(conn)
//	…
//	queue, err := natssink.New(js, "salesforce.{entity}.{change}")
//	if err != nil {
//		return err
//	}
//	err = sink.Forward(ctx, client, queue, sink.WithEnvelope(sink.CloudEvents))
//
// The connection is the program's own, and so is the stream that takes the subjects, here
// salesforce.>, which is made once.
//
// # What arrives
//
// An update of a Lead is a message with the subject salesforce.lead.updated. Its headers are
// Nats-Msg-Id, which is Record.ID, Content-Type, and with sink.Raw and sink.CloudEventsBinary the
// attributes of the event with the prefix ce-, as CloudEvents has them for NATS: ce-datacontenttype
// is among them, and values are percent-encoded where they have more than printable ASCII.
//
// An event is acked when the stream has it. It survives what a stream survives: let it have file
// storage and 3 replicas. Servers write to the disk within two minutes ("sync_interval"); where all
// can lose power at once, or there is one, set "sync_interval: always".
//
// The stream drops a message whose Nats-Msg-Id it has had within its duplicate window
// (StreamConfig.Duplicates, by default 2 minutes). So an event that comes again after a restart or
// a takeover is stored once if the window is longer than that took: an hour is a good one. After
// the window it is a second message with the same Nats-Msg-Id, which a reader can tell.
//
// # Order
//
// The messages of one key go out one after the other, each when the stream has acked the one
// before, because a stream may refuse a message and take the next. So a key has some hundreds to
// some thousands of events a second, by the way to the servers, and all keys of a batch go at once.
// In one stream they are in order, whatever their subjects; a consumer that filters a subject sees
// the order of those.
//
// # Caveats
//
//   - A publisher of platform events that gives several of them one EventUuid gives them one
//     Nats-Msg-Id, too (see sfstream.Message.Key): within the duplicate window the stream keeps the
//     first of them only.
//   - Let the connection come back by itself: by default nats.go gives up after some two minutes,
//     for good. nats.MaxReconnects(-1) never does.
//   - A subject that no stream takes, and a stream that is full (DiscardNew), are not errors:
//     Forward tries again. A message that is too large for the server or the stream is one that it
//     will never take: see sink.WithDeadLetter.
//   - While a connection is away, its client keeps what is published and sends it later, also after
//     Send has returned. Such a message is a copy.
package natssink
