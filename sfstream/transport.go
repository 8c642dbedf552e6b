package sfstream

import (
	"context"

	"github.com/sfstream/sfstream-go/authenticator"
)

// A transport makes attempts. It never retries, sleeps or backs off: the link
// does. Whatever a server says leaves it as a *ServerError.
type transport interface {
	// open starts a session for one subscription. ctx bounds the session's life.
	open(ctx context.Context, creds *authenticator.Credentials, req request) (session, error)
	close() error
}

// A session is one connection's worth of events. It is crash-only: after an
// error it is closed and another one opened.
type session interface {
	// recv returns what the server sent next. Its error is the last thing it
	// returns; io.EOF means that the server ended an idle stream politely.
	recv() (batch, error)
	close()
}

// request is where and how a session starts.
type request struct {
	sub      *subscription
	verify   bool // ask first whether the channel exists and may be followed
	position position
	credit   int // events to ask for at first, at least 1
}

// batch is what a server sent as one: a slab of messages, or none and the id
// that a quiet channel has reached.
type batch struct {
	messages []Message
	latest   []byte // set where there are no messages
	unread   []byte // beside an error: the first event that was received and is not returned
}
