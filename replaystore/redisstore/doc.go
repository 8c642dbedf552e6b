// Package redisstore keeps replay markers in Redis, or in a server that speaks its protocol and
// runs Lua scripts, such as Valkey. The client is the program's own:
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"redis:6379"}})
//	register, err := redisstore.New(client)
//
// [New] makes a [replaystore.Register], for package cluster and, by [replaystore.FromRegister], for
// one process: a second one that saves the same key gets [replaystore.ErrConflict]. [NewStore]
// makes a plain [replaystore.Store], whose last writer wins.
//
// # What Redis must be told
//
// As it is installed, Redis keeps an acknowledged write in memory and writes it to the disk later.
// A marker that is gone is worse than one that is old: a program that finds none starts at new
// events. So for the server that has the markers:
//
//   - "appendonly yes" and "appendfsync always": what was put is on the disk when Put returns. With
//     "everysec" a crash of the machine loses the last second or two: events come again.
//   - "maxmemory-policy noeviction", or one of the "volatile-" policies: these evict only keys that
//     have a time to live, which a Register never gives to its keys, nor a Store without [WithTTL].
//     Under "allkeys-" a marker can be evicted.
//   - No FLUSHALL, and no "CONFIG SET" that undoes the above. A process that has seen a value
//     creates it again with the last marker that it knows; one that starts at that moment cannot
//     know of it.
//
// Replication is asynchronous. A failover, by Sentinel or in a cluster, can lose writes that were
// acknowledged: the marker goes back, the events after it come again, and two processes that were
// both leaders within that time can both hand out messages until the next put of one of them. No
// event is lost by that, unless the key itself was new within that time and its program starts
// again. "min-replicas-to-write 1" with a short "min-replicas-max-lag" keeps the time short. A
// backup that is restored does the same, for as long as it is old.
//
// A replica that is behind is never asked: both kinds read by a script, which a cluster client
// sends to the primary, also where it is told to read from replicas.
//
// # Caveats
//
//   - A [redis.Ring] is refused: it asks another server while one is away, and finds no marker
//     there.
//   - go-redis repeats a command that got no reply (MaxRetries). A put is recognised by the
//     revision that it brings along, so a repeated one is no conflict with itself.
//   - go-redis does not stop waiting when a context is cancelled. Get, Put, Load and Save do; a
//     command that is left behind ends by the client's own timeouts (ReadTimeout, MaxRetries), and
//     may still be carried out.
//   - A user with an ACL needs the keys of the prefix and, of a Register, +eval +evalsha +hget
//     +hmget +hset; of a Store, +eval +evalsha +get +set, and +del for Delete.
//   - In a cluster each key is in the slot of its own name; nothing needs two keys at once.
package redisstore
