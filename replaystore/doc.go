// Package replaystore keeps where to resume: one [Marker] per org, API and channel, so that a
// program which restarts goes on with the event after the last one it handled.
//
// [OpenBolt] keeps markers in one file and is what most programs want:
//
//	store, err := replaystore.OpenBolt("replay.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close() // after the client's Close, which still saves
//
// [NewMemory] keeps them for as long as the process lives: for tests, and for programs that start
// anew each time. [FromRegister] keeps them in a database; see "Several machines".
//
// # The contract
//
// A [Store] has two methods. It promises five things, and package replaystoretest checks what can
// be checked from outside:
//
//   - Load returns what the last successful Save of that [Key] stored, and [ErrNotFound] only where there is
//     nothing. A record that cannot be read is another error: taken for "not found", it would lose events.
//   - Save stores each marker whole or not at all, and they survive a crash once it has returned nil.
//   - The last Save wins. A marker may go back: replay ids are opaque and a store never compares them. A store
//     that several processes share may refuse the Save of one that has lost the key: [ErrConflict].
//   - Keys are compared in their canonical form ([Key.Canonical]).
//   - Both methods may be called from any goroutine, end when their ctx does where they can, and share no
//     memory with their caller.
//
// It serves one consumer per [Key]. Two clients that follow the same channel of the same org
// through one store overwrite each other's markers, and after a restart one of them resumes where
// the other one was. Give each its own store (its own file; its own prefix or table).
//
// # Several machines
//
// A [Register] is what processes on several machines share: one small value per key, which is put
// only if nobody else has put it meanwhile. Such an [Entry] is lease, marker and fence in one. There
// are registers for Redis, PostgreSQL, SQLite, NATS, etcd and Kubernetes, each a module of its own
// beside this package: redisstore, sqlstore, natsstore, etcdstore, k8sstore. What takes one:
//
//   - Package cluster, for replicas that take turns: one leads a channel, and where it falls silent another
//     goes on after a few seconds.
//   - [FromRegister], for a program that runs once and keeps its markers in a database. Started a second time,
//     the newer process takes over and the older one ends with [ErrConflict].
//
// A register that keeps its values in memory, or evicts some when it is full, forgets markers: a
// program that is started after that begins where WithReplay says. The documentation of each
// register says how its engine keeps what it has acknowledged. An engine that is not among them
// needs two methods and the tests of replaystoretest.RunRegister.
//
// # Your own store
//
// [Key] is an [encoding.TextMarshaler] and [Marker] an [encoding.BinaryMarshaler], which is all
// that a key-value database needs; both also work with encoding/json. A complete store in one JSON
// file is [in the examples]. Run replaystoretest.Run and replaystoretest.RunDurable in your tests.
//
// # Caveats
//
//   - A replay file belongs to one process at a time. A second [OpenBolt], in any process, fails with
//     [ErrLocked] instead of waiting: on a rolling deploy the new process has to try again until the old one
//     is gone.
//   - Keep the file on a local disk. Network file systems (NFS, SMB, some container volumes) promise neither
//     the lock nor the memory mapping that bbolt needs; for those use a store in a database.
//   - A file on a disk that is thrown away with the container is no better than [NewMemory].
//   - Do not copy, truncate or replace the file while a process has it open. Where it is deleted, renamed or
//     replaced, each call fails until it is back: what is written to a file without its name is lost at a restart.
//   - The file is in the byte order of the machine that wrote it.
//
// [in the examples]: https://github.com/sfstream/sfstream-go/blob/main/examples/jsonstore/store.go
package replaystore
