package sfstream

import (
	"context"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// disconnectTimeout bounds the disconnect request of close, which frees one of the sessions that
// the org may have.
const disconnectTimeout = time.Second

// cometdSession is one Bayeux session. It has two connections, because a server holds a connect
// request until it has events: poll receives on one connection, calls subscribes and unsubscribes
// on the other one. Events come on both, and its merger makes one sequence of them. See
// internal/bayeux/PROTOCOL.md, "Two connections".
type cometdSession struct {
	bayeux  *bayeux.Session
	life    context.Context // of the link
	ctx     context.Context // of the requests; cancelled by close and by the first error
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	ready   chan struct{} // wakes recv (capacity 1)
	room    chan struct{} // wakes a poll that waits for room (capacity 1)
	strange func(subscribed, named string)

	mu     sync.Mutex
	merger merger

	// queue is a second hop between the wire and the program, beside the queue of delivery. It is
	// there because two connections feed it, and because changed must interrupt recv while both of
	// them wait for the server. It stays short: poll begins no connect before the link has emptied
	// it.
	queue []batch
	idle  bool  // the link has found queue empty
	err   error // why the session has ended; recv returns it after the queue

	wanted  []call // for the goroutine of calls
	calling bool   // it runs
}

func (s *cometdSession) recv(changed <-chan struct{}) (batch, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			b := s.queue[0]
			s.queue[0] = batch{}
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return b, nil
		}
		err := s.err
		s.idle = true
		s.mu.Unlock()
		notify(s.room)
		if err != nil {
			return batch{}, err
		}
		select {
		case <-s.ready:
		case <-changed:
			return batch{kind: batchChanged}, nil
		case <-s.life.Done():
			return batch{}, s.life.Err()
		}
	}
}

// queueLocked stores the queue, to which the merger may have appended batches, and wakes recv.
func (s *cometdSession) queueLocked(queue []batch) {
	s.queue = queue
	if len(queue) > 0 {
		s.idle = false
		notify(s.ready)
	}
}

// fail ends the session, with its first error.
func (s *cometdSession) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *cometdSession) failLocked(err error) {
	if s.err == nil {
		s.err = err
		s.queueLocked(s.merger.end(s.queue))
	}
	s.cancel()
	notify(s.ready)
}

// close ends the session, also at the server, unless the server has already forgotten it.
func (s *cometdSession) close() {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if !refused(err) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), disconnectTimeout)
		_ = s.bayeux.Disconnect(ctx) // where it fails, the server ends the session after 40 s
		cancel()
	}
	s.cancel()
	s.wg.Wait()
}

// deliver handles events that came with a connect.
func (s *cometdSession) deliver(events []bayeux.Event) { s.take(events, false) }

// deliverCall handles events that came with the reply to a call.
func (s *cometdSession) deliverCall(events []bayeux.Event) { s.take(events, true) }

func (s *cometdSession) take(events []bayeux.Event, withCall bool) {
	if subscribed, named := s.merge(events, withCall); named != "" {
		s.strange(subscribed, named)
	}
}

// merge gives events to the merger, channel by channel. Where some came under almost the name of a
// channel that is followed, it returns the names.
func (s *cometdSession) merge(events []bayeux.Event, withCall bool) (subscribed, named string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(events) > 0 {
		// Events of one channel that follow each other become one batch. Mostly that is all of
		// them.
		n := 1
		for n < len(events) && events[n].Channel == events[0].Channel {
			n++
		}
		bare := bareName(events[0].Channel)
		queue, known := s.merger.events(s.queue, bare, events[:n], withCall)
		s.queueLocked(queue)
		if !known {
			if almost := s.merger.almost(bare); almost != "" {
				subscribed, named = almost, bare
			}
		}
		events = events[n:]
	}
	return subscribed, named
}

// call is what one update of the link wants: channels to drop and channels to add.
type call struct {
	add  []request
	drop []*subscription
}
