package sfstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

const (
	// refusedWithin is how long a session of a managed subscription waits for a refusal before it
	// reports that the channel is accepted: the server says nothing else before it has something to
	// send, which may take it minutes.
	refusedWithin = 2 * time.Second

	// commitAgainAfter is after which time without a commit the last one is sent again. A stream
	// without commits is ended after 30 minutes: internal/eventbus/PROTOCOL.md, "Managed
	// subscriptions".
	commitAgainAfter = 10 * time.Minute
)

// managed is what a channel has that is a managed subscription: how it is named, and how its marks
// reach the org. The position of its sessions is the server's: after what is committed.
type managed struct {
	name   string // as the program gave it
	isID   bool   // name is an id
	topic  string // empty: not known
	log    *slog.Logger
	keeper *inbox.Channel[Message]

	mu     sync.Mutex
	stream *managedStream // takes commits; nil: none does
	status ManagedStatus
	told   string // the last refusal of a commit that the log has
}

// channel is the Channel of its messages.
func (m *managed) channel() string {
	if m.topic == "" {
		return m.name
	}
	return m.topic
}

// attach makes a stream take the commits, also those that none could take.
func (m *managed) attach(s *managedStream) {
	m.mu.Lock()
	m.stream = s
	m.mu.Unlock()
	m.keeper.SaveNow()
}

func (m *managed) detach(s *managedStream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stream == s {
		m.stream = nil
	}
}

// commit commits a marker on the present stream. Without one, or if that ends meanwhile, the next
// stream does it.
func (m *managed) commit(ctx context.Context, marker replaystore.Marker) error {
	if len(marker.ReplayID) == 0 {
		return nil
	}
	m.mu.Lock()
	s := m.stream
	m.mu.Unlock()
	if s == nil {
		return inbox.ErrLater
	}
	err := s.commit(ctx, marker.ReplayID)
	if errors.Is(err, inbox.ErrLater) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.CommitError = err
	if err == nil {
		m.status.Committed, m.status.CommittedAt, m.told = marker.ReplayID, time.Now(), ""
		return nil
	}
	if text := err.Error(); text != m.told {
		m.told = text
		m.log.Warn("a commit has failed, trying again", "channel", m.name, "error", err)
	}
	return err
}

// snapshot is what Status shows.
func (m *managed) snapshot() *ManagedStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	status := m.status
	status.Topic = m.topic
	return &status
}

// managedStream is what the stream of a managed subscription has that others have not.
type managedStream struct {
	*managed
	ctx      context.Context // of the stream
	stream   eventbus.ResponseStream
	sending  chan struct{} // that of the session
	response *eventbus.Response
	refusal  func(text string) error // the error of the subscription for what the server says

	first chan error    // the result of the first Recv, while that is not taken; else nil
	ended chan struct{} // closed when the goroutine of the first Recv has ended; nil: there was none

	mu      sync.Mutex
	serial  int         // of commits
	waiting *commitWait // the commit that is not answered; nil: there is none
	sent    time.Time   // when the last commit was sent, or the stream opened
}

// A commitWait waits for the answer to a commit.
type commitWait struct {
	id     string
	answer chan error // capacity 1
}

// demand asks for n events.
func (s *managedStream) demand(n int) error { return s.stream.SendManaged(s.request(n, nil)) }

func (s *managedStream) request(n int, commit *eventbus.CommitReplayRequest) *eventbus.ManagedFetchRequest {
	req := &eventbus.ManagedFetchRequest{NumRequested: int32(n), CommitReplayIdRequest: commit}
	if s.isID {
		req.SubscriptionId = s.name
	} else {
		req.DeveloperName = s.name
	}
	return req
}

// isRefused reports whether the server has ended the stream at once. If not, the stream takes
// commits from now on.
func (s *managedStream) isRefused() bool {
	s.first, s.ended = make(chan error, 1), make(chan struct{})
	go func() { // ends with its Recv; close waits
		defer close(s.ended)
		s.first <- s.stream.Recv(s.response)
	}()
	timer := time.NewTimer(refusedWithin)
	defer timer.Stop()
	select {
	case err := <-s.first:
		s.first <- err // for receive
		if err != nil {
			return true
		}
	case <-timer.C:
	}
	s.attach(s)
	return false
}

// receive receives the next response.
func (s *managedStream) receive() error {
	if s.first != nil {
		err := <-s.first
		s.first = nil
		return err
	}
	return s.stream.Recv(s.response)
}

// close waits for what the stream has begun. Its context has ended.
func (s *managedStream) close() {
	s.detach(s)
	if s.ended != nil {
		<-s.ended
	}
}

// commit commits a replay id and waits for the answer.
func (s *managedStream) commit(ctx context.Context, replayID []byte) error {
	s.mu.Lock()
	s.serial++
	s.sent = time.Now()
	w := &commitWait{id: strconv.Itoa(s.serial), answer: make(chan error, 1)}
	s.waiting = w
	s.mu.Unlock()
	select {
	case <-s.ctx.Done():
		return inbox.ErrLater
	case <-ctx.Done():
		return ctx.Err()
	case s.sending <- struct{}{}:
	}
	err := s.stream.SendManaged(s.request(0, &eventbus.CommitReplayRequest{CommitRequestId: w.id, ReplayId: replayID}))
	<-s.sending
	if err != nil {
		return inbox.ErrLater // the stream has ended, and recv returns the reason
	}
	select {
	case err := <-w.answer:
		return err
	case <-s.ctx.Done():
		return inbox.ErrLater
	case <-ctx.Done():
		return fmt.Errorf("sfstream: %s: no answer to a commit: %w", s.name, ctx.Err())
	}
}

// takeAnswer gives the answer to a commit that the response has to who waits for it. A response
// that has nothing else is alone: it says nothing about the events, and its replay id is no reason
// to commit. Where no commit was sent for long, the last one is sent again.
func (s *managedStream) takeAnswer() (alone bool, err error) {
	answer, err := s.response.Commit()
	if err != nil {
		return false, s.refusal(err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer == nil {
		if time.Since(s.sent) >= commitAgainAfter {
			s.sent = time.Now()
			s.keeper.SaveAgain()
		}
		return false, nil
	}
	// There is one commit at a time, so that an answer to several is that to the last one. An
	// answer to one that was given up is of no use any more.
	if w := s.waiting; w != nil && w.id == answer.CommitRequestId {
		s.waiting = nil
		var refused error
		if e := answer.Error; e != nil {
			refused = s.refusal("commit: " + e.Msg)
		}
		w.answer <- refused
	}
	return len(s.response.Events) == 0, nil
}

// isWithoutCommits reports whether the server has ended a stream on which nothing was to be
// committed.
func isWithoutCommits(err error) bool {
	return status.Code(err) == codes.DeadlineExceeded && strings.Contains(err.Error(), "CommitReplayRequest")
}
