// Package sink forwards the events of a client to a queue: Kafka, NATS, Redis, a table. An event is
// acked when the queue has acked it, and not before, so none is lost where a program is killed.
//
//	client, err := sfstream.New(auth, sfstream.WithAck(sfstream.AckManual), sfstream.WithReplayStore(store))
//	…
//	err = sink.Forward(ctx, client, queue, sink.WithEnvelope(sink.CloudEvents))
//
// queue is a [Sink]. Those of Kafka, NATS, Redis and SQL are modules of their own beside this
// package; sinktest tests one.
//
// # What arrives
//
// Each event becomes one [Record]. What was sent and not acked before a program ended, or a
// connection broke, is sent again: an event is in the queue at least once, and a duplicate has the
// same [Record].ID, by which queues that deduplicate know it and readers can. By first occurrence,
// the records of one key are in the order of their channel.
//
// # Order
//
// Record.Key is what is kept in order, and what a queue with partitions is to partition by:
//
//   - of a change event of one record, and of a PushTopic's event, the record's id, with
//     18 characters where Salesforce sends so many;
//   - of all else the channel: platform events and generic events, and change events of several
//     records, of an overflow or of a wildcard (001*).
//
// A change event of several records is a barrier: it is sent when all earlier events of its channel
// are acked, and later ones when it is. So each record's changes are acked in order, although a
// queue with partitions has such an event in another one than the changes of each record. A program
// for which that is not enough gives all events of an object one key ([WithKey]).
package sink
