package replaystore

import (
	"context"
	"errors"
)

// ErrConflict says that a value is not the one that was read: somebody else has written it since.
// A [Store] that returns it from Save serves another process now, so the client ends at once. Match
// it with [errors.Is].
var ErrConflict = errors.New("replaystore: somebody else has written this key")

// ErrHandled says of an [Advance] that it is made already: the transaction that made it was
// committed, and only its reply was lost. The program rolls back and acks the message.
var ErrHandled = errors.New("replaystore: the marker has this message already")

// Register keeps one small value per key in an engine that several processes share, and replaces a
// value only if nobody else has meanwhile. That is enough for a lease, a marker and a fence in one.
// This comment is its contract; replaystoretest.RunRegister tests it.
//
// Keys are any text of 1 to 1,024 bytes, values any bytes of at most 64 KiB; a register encodes
// keys as its engine needs, so that different keys stay different. Both methods are safe for
// concurrent use, read and write one linear history (never from a cache or a replica that is
// behind), and return soon after ctx ends. What is put is durable when Put returns.
//
// A Put that returns any error other than [ErrConflict] may have happened, and may still happen
// later. It never happens once the revision that it names is no longer the stored one.
type Register interface {
	// Get returns the value and its revision. The error is [ErrNotFound] if there is none, and
	// never where it merely cannot be read. The value belongs to the caller.
	Get(ctx context.Context, key string) (value []byte, rev string, err error)

	// Put replaces the value if rev is still its revision, and returns the new one; with rev "" it
	// puts the value only if there is none. Otherwise the error is [ErrConflict], and nothing is
	// changed. A revision never comes again for a key, also not after the key was deleted. The
	// value belongs to the caller, who may reuse it after Put returns.
	Put(ctx context.Context, key string, value []byte, rev string) (newRev string, err error)
}

// Fenced is what a [Store] implements that may come to belong to another process, such as those of
// package cluster. The client asks it before each message is handed out.
type Fenced interface {
	Store

	// Held returns nil while this process alone may hand out the messages of the store's channels.
	// Any error ends the client, which hands out no further message. It is called for each message,
	// so it reads a clock and no more.
	Held() error

	// Lost is closed when Held will never return nil again.
	Lost() <-chan struct{}
}

// Advancer is what a [Store] over a [Register] implements, so that a program can write its own rows
// and the marker in one transaction.
type Advancer interface {
	// Advance returns the step of the key's marker from before to after, where before is the place
	// up to which all is handled. The error is [ErrConflict] if the key belongs to another process.
	//
	// No Save of the key with a marker older than before may be under way when Advance is called,
	// nor begin later: it could put the marker back behind the transaction. A Save that its ctx has
	// ended is no longer under way when it has returned.
	Advance(ctx context.Context, key Key, before, after Marker) (Advance, error)
}

// Advance is one step of a marker that is written by other means than [Register.Put]: within the
// transaction that also has the program's rows. It is made for packages such as sqlstore.
type Advance struct {
	// Register has the key: the transaction must be one of its engine, on its database.
	Register Register

	// Key is the register's key.
	Key string

	// Next is given the stored value, which the transaction has locked, and returns the one to
	// store. The stored value is nil if there is none: then the transaction creates the key, unless
	// another one does. The error is [ErrHandled] if the stored value is after the step already, and
	// [ErrConflict] if another process owns it. Any other error says that the step can no longer be
	// made: the message is handled again, or was. It waits for nothing.
	Next func(stored []byte) (value []byte, err error)
}
