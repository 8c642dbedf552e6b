package sfstream

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

const (
	apiPubSub  = "pubsub"
	apiManaged = "managed" // of markers: the Pub/Sub API, where the server keeps the position
	apiCometD  = "cometd"
	apiREST    = "rest"
)

const (
	// maxCredit is how many events Salesforce lets a stream have outstanding; it clamps more:
	// internal/eventbus/PROTOCOL.md, "Credit".
	maxCredit = 100

	// unaryTimeout bounds GetTopic, GetSchema and the question for the org's API versions. A cold
	// GetTopic was seen to take 4 s: internal/eventbus/PROTOCOL.md, "Connections".
	unaryTimeout = 20 * time.Second
)

// A transport makes attempts to connect. It never retries and never backs off, because the link
// does both. Every error that a server reports leaves the transport as a *ServerError.
type transport interface {
	// open starts a session for channels: for one channel over the Pub/Sub API, for any number over
	// the Streaming API. ctx bounds the session's life.
	open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error)
	close()
}

// A session is one connection's worth of events. It is crash-only: after an error the link closes
// it and opens another one.
type session interface {
	// recv returns what the server sent next, or an empty batch when changed was signalled. It
	// returns an error once, as the last thing; io.EOF means that the session ended politely.
	recv(changed <-chan struct{}) (batch, error)
	// update adds and drops channels, and says that channels may have room again. The server's
	// answers come from recv. A session of one channel ignores update.
	update(add []request, drop []*subscription)
	close()
}

var (
	// errReopen ends a session that cannot follow a change, where a new session can.
	errReopen = errors.New("a new session is needed")

	// errSilent is wrapped by the error of a session that the client gave up because the server
	// sent nothing for too long.
	errSilent = errors.New("nothing came for too long")

	// errParted is wrapped by the error of a session that the server ended by a message of its own.
	// The link does not count that as trouble.
	errParted = errors.New("the server has ended the session")
)

// subscription is a channel as transports see it: its name, and for how many events there is room.
type subscription = inbox.Credit[Message]

// request asks for a channel from a position on.
type request struct {
	sub      *subscription
	verify   bool // ask first whether the channel exists and the user may subscribe to it
	position position
	managed  *managed // nil: the channel is no managed subscription
}

// batch is something that a session tells its link, mostly a slab of messages.
type batch struct {
	kind        batchKind
	sub         *subscription // the channel; nil: all channels of the session
	messages    []Message     // batchMessages
	provisional bool          // batchMessages: older messages may still come, until batchConfirmed
	latest      []byte        // batchQuiet, batchUndeliverable: the replay id
	whole       bool          // batchQuiet: further events of the replay id that the last event has would have come
	proves      bool          // batchAnswered, batchMessages: the session works
	err         error         // batchRefused: why; the session lives on
}

type batchKind int

const (
	// batchChanged brings nothing: the link's own signal has ended recv.
	batchChanged batchKind = iota
	// batchAccepted says that the server follows the channel from the requested position on.
	batchAccepted
	// batchRefused says that the server does not follow the channel.
	batchRefused
	// batchMessages is a slab of messages of the channel.
	batchMessages
	// batchQuiet says that the server lives and has sent all events that there are, up to latest
	// where it names a replay id.
	batchQuiet
	// batchUndeliverable names, by latest, the first event that was received and will not be
	// delivered. The session's error follows.
	batchUndeliverable
	// batchConfirmed says that nothing is missing before the provisional messages of the channel.
	batchConfirmed
	// batchFollowed says that the server still follows the channel, though it may be behind.
	batchFollowed
	// batchAnswered says that the server has answered on the connection that receives. Where it
	// proves, the answer shows that the session works. Over the Streaming API messages do not show
	// that: they come with the answer to the subscribe, and receiving may fail all the same.
	batchAnswered
)

// bareName is a channel's name without a filter: /topic/Accounts of /topic/Accounts?Region=EU. The
// server names the events of a filtered subscription by it, and a replay id belongs to it:
// internal/bayeux/PROTOCOL.md, "Subscribe".
func bareName(channel string) string {
	bare, _, _ := strings.Cut(channel, "?")
	return bare
}

// settled is how long a session must have lasted to count as a success where nothing was received
// on it: less than what proxies grant an idle stream.
const settled = 10 * time.Second

// pace is how long to wait before the next request to a server that answers at once, so that it is
// not stormed. rush is how many answers in a row have come at once; the first two are nothing
// special.
func pace(rush int) time.Duration {
	if rush < 2 {
		return 0
	}
	return min(100*time.Millisecond<<min(rush-2, 10), 5*time.Second)
}
