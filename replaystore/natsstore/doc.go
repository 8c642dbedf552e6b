// Package natsstore keeps replay markers in a key-value bucket of NATS JetStream. It is a
// [replaystore.Register], for package cluster and, by [replaystore.FromRegister], for one process.
// The connection is the program's own, and so is the bucket, which is made once:
//
//	js, err := jetstream.New(conn)
//	…
//	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "salesforce", Replicas: 3})
//	…
//	register, err := natsstore.New(ctx, js, "salesforce")
//
// # The bucket
//
//   - No TTL, file storage, no mirror, and values of 64 KiB allowed: [New] refuses others. A marker
//     that is gone means a start at new events.
//   - Replicas: 3 where it matters. One is as safe as its server's disk. The majority must be there
//     for each put: while it is not, delivery stops within the lease.
//   - History: 1 is enough. Older values are never read.
//   - A limit of the bucket's size makes puts fail, and deletes nothing.
//
// A server acknowledges a put when the majority has it, and writes it to the disk within two
// minutes ("sync_interval"). Where all servers can lose power at once, or there is one, set
// "sync_interval: always": otherwise the last markers go back and their events come again, or,
// where a key was new, it is gone.
//
// Values are read from the leader of the bucket's stream, because another replica can be behind. So
// the user needs leave to publish to $JS.API.STREAM.INFO.KV_<bucket>, to
// $JS.API.STREAM.MSG.GET.KV_<bucket> and to $KV.<bucket>.>.
//
// # Keys
//
// The key "epoch" is random text, and all others begin with it, because a bucket that is deleted
// and made again counts from 1 once more: a put that is late by all that time finds another key
// there, and no revision that looks like its own. Who deletes "epoch" deletes all markers. The rest
// is the register's key; what NATS does not take in a key is written as = and two hexadecimal
// digits:
//
//	epoch
//	KQ3TL5N6XPJ2YFVWGMBA4ZHR7D/00D000000000062EAA/pubsub//event/Order__e
//
// # Caveats
//
//   - Let the connection come back by itself: by default nats.go gives up after some two minutes,
//     for good, and waits 2 seconds before each attempt. nats.MaxReconnects(-1) and
//     nats.ReconnectWait(250*time.Millisecond) let a cluster go on soon after the servers are back.
//   - A bucket that is restored from a backup has old revisions again, and old markers: events come
//     again.
//   - While a connection is away, its client keeps what is published and sends it later. A put that
//     comes too late is a conflict.
package natsstore
