// Package redissink puts the events of Salesforce into streams of Redis, for sink.Forward:
//
//	queue, err := redissink.New(redis.NewClient(&redis.Options{Addr: "redis:6379"}), "salesforce")
//	if err != nil {
//		return err
//	}
//	err = sink.Forward(ctx, client, queue, sink.WithEnvelope(sink.CloudEvents))
//
// # What arrives
//
// An event is an entry with these fields:
//
//	id            Record.ID: the same for each copy of an event
//	key           Record.Key: what is in order
//	content-type  of the value
//	value         the event
//	ce_type …     the attributes of the event, with sink.Raw and sink.CloudEventsBinary
//
// Redis does not know copies: an event that comes again after a restart, or after a connection was
// lost, is an entry with the same id. A reader that must not act twice keeps the ids of the last
// events.
//
// An event is acked when the server has the entry. What that survives is up to its configuration:
// with "appendonly yes" and "appendfsync always" a crash, with "everysec" all but the last second
// or two. Replication is asynchronous, and a failover can lose entries that were acked;
// "min-replicas-to-write 1" with a short "min-replicas-max-lag" keeps that small.
// "maxmemory-policy" is to be noeviction: then a server that is full refuses entries, and Forward
// waits.
//
// Streams grow until they are trimmed. [WithMaxLen] trims them whether or not the entries were
// read, so it has to be more than the slowest reader is ever behind. XTRIM by a program that knows
// its readers is better.
//
// # Order
//
// The entries of a batch go in by one script, in their order: if the server fails on the way,
// nothing behind is there. That holds within a stream; a key whose events are spread over several,
// such as by salesforce.{entity}.{change}, has no order among them for a reader.
//
// In a cluster the streams of a batch can be on several servers, so there is one script for each
// run of entries of one stream, one after the other.
//
// # Caveats
//
//   - A [redis.Ring] is refused: while one of its servers is away, it would put the entries of a
//     stream into another one.
//   - A user with an ACL needs the keys of the streams and +eval +evalsha +xadd.
//   - The server does nothing else while it puts in a batch, some milliseconds: see sink.WithBatch.
package redissink
