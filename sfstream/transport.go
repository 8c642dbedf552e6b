package sfstream

import (
	"context"
	"errors"

	"github.com/sfstream/sfstream-go/authenticator"
)

const (
	apiPubSub = "pubsub"
	apiCometD = "cometd"
)

// A transport makes attempts. It never retries or backs off: the link does.
// Whatever a server says leaves it as a *ServerError.
type transport interface {
	// open starts a session for channels: one over the Pub/Sub API, any number
	// over the Streaming API. ctx bounds the session's life.
	open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error)
	close()
}

// A session is one connection's worth of events. It is crash-only: after an
// error it is closed and another one opened.
type session interface {
	// recv returns what the server sent next, or an empty batch when changed was
	// signalled. Its error is the last thing it returns; io.EOF means that the
	// session ended politely.
	recv(changed <-chan struct{}) (batch, error)
	// update adds and drops channels, and tells that there may be room again. What
	// the server says to it comes from recv. A session of one channel ignores it.
	update(add []request, drop []*subscription)
	close()
}

// errReopen ends a session that cannot be changed as wanted: a new one can.
var errReopen = errors.New("a new session is needed")

// errSilent is what the error of a session wraps that we have given up because
// nothing came.
var errSilent = errors.New("nothing came for too long")

// errParted is what the error of a session wraps that its server has ended by a
// message of its own: that is no trouble.
var errParted = errors.New("the server has ended the session")

// request is what a session follows, and from where.
type request struct {
	sub      *subscription
	verify   bool // ask first whether the channel exists and may be followed
	position position
}

// batch is what a server sent as one.
type batch struct {
	kind     batchKind
	sub      *subscription // whose; nil: of all that the session follows
	messages []Message
	early    bool   // they may have overtaken others, until batchSure
	latest   []byte // the replay id that it is about
	whole    bool   // batchQuiet: events that share the last one's id would have come
	err      error  // batchRefused: why the channel is not followed; the session lives on
}

type batchKind int

const (
	batchChanged  batchKind = iota // nothing: the link wanted to be woken
	batchAccepted                  // the server follows sub from the requested position on
	batchRefused                   // it does not
	batchMessages                  // a slab of messages of sub
	batchQuiet                     // the server lives, and all that there is has been sent, up to latest if it tells
	batchUnread                    // latest is the first event that was received and will not be delivered; an error follows
	batchSure                      // nothing is missing before the early messages of sub
	batchHeard                     // the server answers on both connections
	batchFollowed                  // the server still follows sub, whether it is behind or not
	batchAlive                     // the session works: messages alone do not prove that where they come with the subscribe
)
