// Package kafkasink puts the events of Salesforce into Kafka, for sink.Forward:
//
//	queue, err := kafkasink.New("salesforce.{entity}", kgo.SeedBrokers("kafka:9092"))
//	if err != nil {
//		return err
//	}
//	defer queue.Close()
//	err = sink.Forward(ctx, client, queue, sink.WithEnvelope(sink.CloudEvents))
//
// It works with all that speaks Kafka's protocol from version 0.11 on.
//
// # What arrives
//
// The topic is made of a [sink.Template]. It must exist, unless the brokers create topics and
// kgo.AllowAutoTopicCreation is among the options. The key is Record.Key: by default the record's
// id, or the channel. The headers are the attributes of the event with the prefix ce_, as
// CloudEvents has them for Kafka, content-type, and sfstream-id, which is Record.ID: the same for
// each copy of an event. The timestamp is the time of sending: an event's own date can be days old,
// and brokers refuse or delete what is.
//
// An event is acked when all in-sync replicas have it. It survives what they survive: let topics
// have a replication.factor of 3 and min.insync.replicas of 2, and leave
// unclean.leader.election.enable off.
//
// Copies come only where a program ends before it has seen the ack: the producer is idempotent, so
// what it sends again itself is stored once.
//
// # Order
//
// Records of one key go to one partition, one batch of it at a time: if the brokers refuse it, none
// of its records is stored, and nothing goes out behind it. That holds within a topic; a key whose
// events are spread over several, such as by salesforce.{entity}.{change}, has no order among them
// for a reader. If partitions are added to a topic later, keys move to others.
//
// # Caveats
//
//   - Brokers before Kafka 3.0 want the permission IdempotentWrite on the cluster, all want Write and
//     Describe on the topic.
//   - kgo.ProducerBatchMaxBytes is to be at most the topic's max.message.bytes. If it is more, larger batches
//     are refused and sent again in smaller ones. A record that is refused alone is one that Kafka never
//     takes: see sink.WithDeadLetter.
//   - Sends of several lanes wait for each other, so sink.WithLanes speeds nothing up.
package kafkasink
