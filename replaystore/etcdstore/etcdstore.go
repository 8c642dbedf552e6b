// Package etcdstore keeps the values of a [replaystore.Register] in etcd, for clusters that have
// one already: each value is one key.
//
//	client, err := clientv3.New(clientv3.Config{
//		Endpoints:            []string{"etcd:2379"},
//		DialKeepAliveTime:    5 * time.Second, // finds a connection that is dead
//		DialKeepAliveTimeout: 2 * time.Second,
//	})
//	if err != nil {
//		return err
//	}
//	defer client.Close() // after everything that uses the register
//	register := etcdstore.New(client)
//
// # What etcd does for it
//
// An acknowledged put is on the disks of most members, and reads are linearizable: a member that is
// cut off from the others answers neither. Put is one transaction, which compares the key with what
// was read. Keys have no etcd lease and are never evicted; the register's own lease is in the value.
//
// The user of the client needs read and write permission for the keys that begin with the prefix
// ([WithPrefix]):
//
//	etcdctl role grant-permission sfstream --prefix=true readwrite sfstream/
//
// # Caveats
//
//   - etcd keeps every value that a key ever had until it is compacted, and refuses writes when its
//     space is used up (mvcc: database space exceeded). A leader puts up to once a second: run etcd
//     with --auto-compaction-retention, and alert on its NOSPACE alarm.
//   - With --unsafe-no-fsync an acknowledged put can be lost.
//   - After a restore from a snapshot etcd counts its revisions again from that of the snapshot. A
//     revision of this register has a random part too, so what was read before the restore is not
//     taken for what was put after it. The markers are those of the snapshot: the events since then
//     come again, if Salesforce still has them. Stop the replicas while etcd is restored: a leader
//     that runs on puts its own marker again.
//   - Every change of a value outside this package makes it unreadable. Deleting the key is allowed.
package etcdstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Register is a [replaystore.Register] in etcd. It is safe for concurrent use, by any number of
// processes.
type Register struct {
	kv     clientv3.KV
	prefix string
}

// Option is an option of [New].
type Option func(*Register)

// WithPrefix sets what the register's keys begin with in etcd. The default is "sfstream/". Processes
// that share a register need the same prefix.
func WithPrefix(prefix string) Option {
	return func(r *Register) { r.prefix = prefix }
}

// New returns the register in the etcd of kv, which is a [clientv3.Client] as a rule. The client is
// the caller's, who closes it after everything that uses the register.
func New(kv clientv3.KV, opts ...Option) *Register {
	r := &Register{kv: kv, prefix: "sfstream/"}
	for _, opt := range opts {
		opt(r)
	}
	return r
}

// What is stored is a nonce, the version of the format, and the value. The nonce is new with each
// put. A comparison in etcd is with a whole value, but it knows less and greater: what begins with
// the nonce and the version is greater than the nonce, and less than the nonce with the next
// version.
const (
	nonceSize  = 16
	version    = 1
	headerSize = nonceSize + 1
)

// Get implements [replaystore.Register].
func (r *Register) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	response, err := r.kv.Get(ctx, r.prefix+key)
	if err != nil {
		return nil, "", fmt.Errorf("etcdstore: get key %q: %w", r.prefix+key, err)
	}
	if len(response.Kvs) == 0 {
		return nil, "", replaystore.ErrNotFound
	}
	stored := response.Kvs[0]
	if len(stored.Value) < headerSize || stored.Value[nonceSize] != version {
		return nil, "", fmt.Errorf("etcdstore: the value of key %q was not put by this version of etcdstore: "+
			"use another prefix, or delete the key if its marker may be lost", r.prefix+key)
	}
	return stored.Value[headerSize:], revision(stored.ModRevision, stored.Value[:nonceSize]), nil
}

// Put implements [replaystore.Register].
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error) {
	compared, ok := unchanged(r.prefix+key, rev)
	if !ok {
		return "", replaystore.ErrConflict
	}
	stored := make([]byte, nonceSize, headerSize+len(value))
	rand.Read(stored)
	stored = append(append(stored, version), value...)
	put := clientv3.OpPut(r.prefix+key, string(stored))
	response, err := r.kv.Txn(ctx).If(compared...).Then(put).Commit()
	if err != nil {
		return "", fmt.Errorf("etcdstore: put key %q: %w", r.prefix+key, err)
	}
	if !response.Succeeded {
		return "", replaystore.ErrConflict
	}
	return revision(response.Header.Revision, stored[:nonceSize]), nil
}

// revision names what etcd's revision mod of a key has. The nonce tells it from what has the same
// revision in another history of the cluster.
func revision(mod int64, nonce []byte) string {
	return strconv.FormatInt(mod, 10) + "-" + hex.EncodeToString(nonce)
}

// unchanged returns the comparisons that hold while rev is the key's revision. It is false if rev
// is none that this package returns.
func unchanged(key, rev string) (compared []clientv3.Cmp, ok bool) {
	if rev == "" {
		return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", 0)}, true
	}
	number, text, _ := strings.Cut(rev, "-")
	mod, err := strconv.ParseInt(number, 10, 64)
	if err != nil || mod <= 0 {
		return nil, false
	}
	nonce, err := hex.DecodeString(text)
	if err != nil || len(nonce) != nonceSize {
		return nil, false
	}
	next := append(bytes.Clone(nonce), version+1)
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(key), "=", mod),
		clientv3.Compare(clientv3.Value(key), ">", string(nonce)),
		clientv3.Compare(clientv3.Value(key), "<", string(next)),
	}, true
}
