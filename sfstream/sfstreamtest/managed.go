package sfstreamtest

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// ManagedSubscription is a managed event subscription of the org, as Setup and the Metadata API
// have it, and how far its client has committed.
type ManagedSubscription struct {
	ID                  string `json:"id,omitempty"` // 18 characters that begin with 18x; the org makes it
	DeveloperName       string `json:"developerName"`
	TopicName           string `json:"topicName"`
	DefaultReplay       string `json:"defaultReplay,omitempty"`       // LATEST (default) or EARLIEST: where it begins while nothing is committed
	ErrorRecoveryReplay string `json:"errorRecoveryReplay,omitempty"` // LATEST (default) or EARLIEST: where it begins if what is committed is not retained
	State               string `json:"state,omitempty"`               // RUN (default) or STOP
	Committed           []byte `json:"committed,omitempty"`           // the replay id that its client has committed; empty: none
}

const (
	runs          = "RUN"
	stopped       = "STOP"
	fromLatest    = "LATEST"
	fromEarliest  = "EARLIEST"
	managedPrefix = "18x"
	maxManaged    = 200
)

// managedConfig is what options say about managed subscriptions.
type managedConfig struct {
	expiry, commitIdle, coalesce time.Duration
	precondition, perStream      bool
	refuseAged                   bool
}

func managedDefaults() managedConfig {
	return managedConfig{expiry: 15 * time.Minute, commitIdle: 30 * time.Minute}
}

func (c managedConfig) validate() error {
	if c.expiry < 0 || c.commitIdle <= 0 || c.coalesce < 0 {
		return fmt.Errorf("sfstreamtest: WithManagedExpiry(%v), WithCommitIdle(%v), WithCommitDelay(%v): must not be negative, and the second must be positive",
			c.expiry, c.commitIdle, c.coalesce)
	}
	return nil
}

// WithManagedExpiry sets how long a managed subscription stays taken after its stream is lost and
// nobody has told the org ([Server.Blackhole]). After a clean close, or if the connection is cut,
// it is free at once. Default 15 min.
func WithManagedExpiry(d time.Duration) Option {
	return func(c *config) { c.managed.expiry = d }
}

// WithManagedPrecondition refuses a second stream of a managed subscription with
// FAILED_PRECONDITION. Default ALREADY_EXISTS: both have been seen.
func WithManagedPrecondition() Option {
	return func(c *config) { c.managed.precondition = true }
}

// WithCommitIdle sets how long the stream of a managed subscription lives without a commit. Default
// 1,800 s.
func WithCommitIdle(d time.Duration) Option {
	return func(c *config) { c.managed.commitIdle = d }
}

// WithCommitDelay makes the org answer commits late: those of this time have one answer, which has
// the id and the values of the last one, and events may come with it. Default 0: each has its own,
// at once.
func WithCommitDelay(d time.Duration) Option {
	return func(c *config) { c.managed.coalesce = d }
}

// WithCommitPerStream refuses commits of events that were delivered by an earlier stream of the
// managed subscription, until the present one has delivered them, too. Default: they are accepted.
func WithCommitPerStream() Option {
	return func(c *config) { c.managed.perStream = true }
}

// WithAgedCommitRefused refuses the first stream of a managed subscription whose committed replay
// id is not retained any more; the next one begins at ErrorRecoveryReplay. Default: the first one
// does.
func WithAgedCommitRefused() Option {
	return func(c *config) { c.managed.refuseAged = true }
}

// managedFailures are the rows of the error table that are about managed subscriptions.
var managedFailures = map[string]failure{
	"managed.subscription.already.active":                          {status: codes.AlreadyExists, text: "The managed subscription already has an active stream."},
	"managed.subscription.config.stopped":                          {status: codes.FailedPrecondition, text: "The managed subscription is stopped."},
	"managed.subscription.config.deleted":                          {status: codes.NotFound, text: "The managed subscription was deleted."},
	"managed.subscription.developer.name.not.found":                {status: codes.NotFound, text: "A managed subscription with this developer name wasn't found."},
	"managed.subscription.subscription.id.not.found":               {status: codes.NotFound, text: "A managed subscription with this ID wasn't found."},
	"managed.subscription.subscription.id.invalid":                 {status: codes.InvalidArgument, text: "The ID of a managed subscription has 15 or 18 characters."},
	"managed.subscription.id.or.developer.name.empty":              {status: codes.InvalidArgument, text: "Provide either the ID or the developer name of the managed subscription."},
	"managed.subscription.fetch.request.events.invalid":            {status: codes.InvalidArgument, text: "The number of requested events can't be negative."},
	"managed.subscription.fetch.request.invalid":                   {status: codes.InvalidArgument, text: "The fetch request has neither a number of events nor a commit nor an auth_refresh."},
	"managed.subscription.fetch.request.commit.request.restricted": {status: codes.InvalidArgument, text: "The first request can't have a commit."},
	"managed.subscription.fetch.request.auth.request.restricted":   {status: codes.InvalidArgument, text: "The first request can't have an auth_refresh."},
}

// managed is a managed subscription, and which stream has it. The mutex of its table guards it.
type managed struct {
	ManagedSubscription
	Removed bool `json:"removed,omitempty"` // only in the log

	holder    *stream   // nil: no stream has it
	lost      time.Time // when the holder's connection went dead; zero: it has not
	taken     time.Time // until then the slot of a holder that was lost stays taken
	refused   bool      // a stream was refused because what is committed is not retained any more
	delivered uint64    // the newest replay id that was delivered or that a keepalive has named
}

// managedTable has the org's managed subscriptions. A topic's mutex may be held when its own is
// taken, never the other way round.
type managedTable struct {
	mu   sync.Mutex
	all  []*managed // in the order of their definition
	made int
}

// findLocked returns the subscription of a developer name, or of an id of 15 or 18 characters.
func (t *managedTable) findLocked(nameOrID string) *managed {
	for _, m := range t.all {
		if m.DeveloperName == nameOrID || m.ID == nameOrID || m.ID[:15] == nameOrID {
			return m
		}
	}
	return nil
}

// lose notes that the connections of all streams have gone dead, and nobody has told the org.
func (t *managedTable) lose(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.all {
		if m.holder != nil && m.lost.IsZero() {
			m.lost = now
		}
	}
}

// restore does again what a line of the log says.
func (t *managedTable) restore(e entry) {
	if e.Managed == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made++
	if known := t.findLocked(e.Managed.ID); known == nil {
		t.all = append(t.all, e.Managed)
	} else {
		known.ManagedSubscription = e.Managed.ManagedSubscription
	}
	if e.Managed.Removed {
		t.all = slices.DeleteFunc(t.all, func(m *managed) bool { return m.ID == e.Managed.ID })
	}
}

// keepLocked writes the subscription to the org's log.
func (s *Server) keepLocked(m *managed, removed bool) error {
	return s.journal.write(entry{Op: opManaged, Channel: m.TopicName, Managed: &managed{ManagedSubscription: m.ManagedSubscription, Removed: removed}})
}

var developerNameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}$`)

// DefineManagedSubscription makes a managed event subscription and returns its id, which begins
// with 18x. One that exists is changed: its topic stays, and STOP ends its stream and deletes what
// is committed, so that it begins at DefaultReplay after the next RUN.
func (s *Server) DefineManagedSubscription(def ManagedSubscription) (id string, err error) {
	def.DefaultReplay, def.ErrorRecoveryReplay = or(def.DefaultReplay, fromLatest), or(def.ErrorRecoveryReplay, fromLatest)
	def.State = or(def.State, runs)
	if err := def.validate(); err != nil {
		return "", err
	}
	if _, ok := s.lookup(def.TopicName); !ok {
		return "", fmt.Errorf("sfstreamtest: topic %s of managed subscription %s %w", def.TopicName, def.DeveloperName, errUndefined)
	}
	t := &s.managed
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.findLocked(def.DeveloperName)
	switch {
	case m == nil && len(t.all) == maxManaged:
		return "", fmt.Errorf("sfstreamtest: an org has at most %d managed subscriptions", maxManaged)
	case m == nil:
		t.made++
		m = &managed{}
		def.ID, def.Committed = fmt.Sprintf("%s%012dAAA", managedPrefix, t.made), nil
		t.all = append(t.all, m)
	case m.TopicName != def.TopicName:
		return "", fmt.Errorf("sfstreamtest: managed subscription %s is one of %s", m.DeveloperName, m.TopicName)
	default:
		def.ID, def.Committed = m.ID, m.Committed
	}
	if m.ManagedSubscription = def; def.State == stopped {
		m.Committed, m.delivered = nil, 0
		m.endLocked(s.newFailure("managed.subscription.config.stopped", def.TopicName))
	}
	return m.ID, s.keepLocked(m, false)
}

func (m ManagedSubscription) validate() error {
	if !developerNameForm.MatchString(m.DeveloperName) {
		return fmt.Errorf("sfstreamtest: %q is not a developer name", m.DeveloperName)
	}
	for name, value := range map[string]string{"DefaultReplay": m.DefaultReplay, "ErrorRecoveryReplay": m.ErrorRecoveryReplay} {
		if value != fromLatest && value != fromEarliest {
			return fmt.Errorf("sfstreamtest: %s of %s is %q: it is LATEST or EARLIEST", name, m.DeveloperName, value)
		}
	}
	if m.State != runs && m.State != stopped {
		return fmt.Errorf("sfstreamtest: State of %s is %q: it is RUN or STOP", m.DeveloperName, m.State)
	}
	return nil
}

func (m *managed) endLocked(err error) {
	if m.holder == nil {
		return
	}
	select {
	case m.holder.end <- err:
	default: // it is ending already
	}
}

// RemoveManagedSubscription deletes a managed subscription, by its developer name or id, and ends
// its stream.
func (s *Server) RemoveManagedSubscription(nameOrID string) error {
	t := &s.managed
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.findLocked(nameOrID)
	if m == nil {
		return nil
	}
	m.endLocked(s.newFailure("managed.subscription.config.deleted", m.TopicName))
	t.all = slices.DeleteFunc(t.all, func(other *managed) bool { return other == m })
	return s.keepLocked(m, true)
}

// ManagedSubscriptions returns the org's managed subscriptions, oldest first.
func (s *Server) ManagedSubscriptions() []ManagedSubscription {
	t := &s.managed
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []ManagedSubscription
	for _, m := range t.all {
		all = append(all, m.ManagedSubscription)
	}
	return all
}

// ManagedStart returns where the next stream of a managed subscription, by its developer name or
// id, would begin: CUSTOM after what is committed, else LATEST or EARLIEST.
func (s *Server) ManagedStart(nameOrID string) string {
	s.managed.mu.Lock()
	m := s.managed.findLocked(nameOrID)
	s.managed.mu.Unlock()
	if m == nil {
		return ""
	}
	t := s.topic(m.TopicName)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.expire(s.now(), s.config.retention)
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	_, preset := m.startLocked(t)
	return preset
}

// startLocked returns the index of the first record of a stream that begins now, and how it is
// found. The topic's mutex is held, too.
func (m *managed) startLocked(t *topic) (cursor int, preset string) {
	preset = m.DefaultReplay
	if len(m.Committed) > 0 {
		if i, ok := t.retainedAfterLocked(m.Committed); ok {
			return i, "CUSTOM"
		}
		preset = m.ErrorRecoveryReplay
	}
	if preset == fromEarliest {
		return t.log.first, preset
	}
	return t.log.next, preset
}

// retainedAfterLocked is afterLocked without ids of before a reset, which Subscribe may accept.
func (t *topic) retainedAfterLocked(id []byte) (int, bool) {
	accepts := t.acceptOld
	t.acceptOld = false
	defer func() { t.acceptOld = accepts }()
	return t.afterLocked(id)
}

// FailCommits makes the next n commits on a topic ("": any) fail with a text, in band: their
// streams go on. n < 0: all, until ClearFaults.
func (s *Server) FailCommits(topic string, n int, text string) {
	s.faults.add(fault{name: "FailCommits", at: atCommit, channel: topic, left: n, code: or(text, "The commit failed.")})
}
