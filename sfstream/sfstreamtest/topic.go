package sfstreamtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// changeEvents is the channel that has the changes of all objects.
const changeEvents = "/data/ChangeEvents"

// topic is a channel: its schema, its events and its subscribers.
type topic struct {
	name      string
	serial    int          // counts the org's channels, for record ids
	streaming bool         // a channel of the Streaming API alone, /topic or /u
	members   atomic.Int32 // how many members the channel has had

	mu        sync.Mutex
	schema    *schema // current; nil if none was defined, and for multi-entity channels
	multi     bool
	revoked   bool
	readOnly  bool       // see RevokePublish
	reset     bool       // the replay ids have gone back, see ResetReplay
	acceptOld bool       // replay ids from before the reset are accepted
	before    uint64     // the replay id before the first event, which seekOn has named to streams
	push      *pushTopic // the definition of a /topic, else nil
	generic   bool       // the channel is a /u
	record    *channelRecord
	feeds     []feed // the multi-entity channels that also carry its events
	label     string // of a custom channel
	removals  int    // how often the channel was removed
	log       eventLog
	sent      int // index of the first record that was not sent to any stream

	streams        map[*stream]struct{}
	subs           map[*subscription]struct{}
	streamsChanged chan struct{} // closed and replaced when streams or subs changes
	subscribes     []SubscribeCall
	maxOutstanding int

	schemas        []*schema // all that the channel has had, for what clients publish
	publishes      []PublishCall
	publishStreams map[*publishStream]struct{}
}

// topic returns a channel, new if there is none.
func (s *Server) topic(name string) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil {
		t = &topic{
			name: name, serial: len(s.topics) + 1, log: newEventLog(newDice(s.config.seed, name, 0)),
			streaming: strings.HasPrefix(name, "/topic/") || strings.HasPrefix(name, "/u/"),
			streams:   make(map[*stream]struct{}), subs: make(map[*subscription]struct{}),
			streamsChanged: make(chan struct{}), publishStreams: make(map[*publishStream]struct{}),
		}
		s.topics[name] = t
	}
	return t
}

// lookup returns a channel, if it exists for subscribers of the Pub/Sub API.
func (s *Server) lookup(name string) (*topic, bool) {
	t, ok := s.find(name)
	return t, ok && !t.streaming
}

// find returns a channel, if it exists for subscribers of any kind.
func (s *Server) find(name string) (*topic, bool) {
	s.mu.Lock()
	t := s.topics[name]
	s.mu.Unlock()
	if t == nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t, t.existsLocked()
}

func (t *topic) existsLocked() bool {
	return t.schema != nil || t.multi || t.push != nil || t.generic
}

// matching returns the channel, or all channels if channel is "".
func (s *Server) matching(channel string) []*topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*topic
	for name, t := range s.topics {
		if channel == "" || name == channel {
			found = append(found, t)
		}
	}
	return found
}

// DefineEvent makes a channel, such as /event/Order__e, with its Avro schema. For a channel that
// exists it is a schema change: events that were published before keep their schema. The events of
// a /data channel also appear on /data/ChangeEvents.
func (s *Server) DefineEvent(channel, schemaJSON string) error {
	return s.define(channel, schemaJSON, true)
}

func (s *Server) define(channel, schemaJSON string, keep bool) error {
	if err := validChannel(channel); err != nil {
		return err
	}
	sc, err := parseSchema(schemaJSON)
	if err != nil {
		return fmt.Errorf("sfstreamtest: schema of %s: %w", channel, err)
	}
	all := s.topic(changeEvents)
	t := s.topic(channel)
	s.mu.Lock()
	if known := s.schemas[sc.id]; known != nil {
		sc = known // an id always means the same schema, its docs included
	} else {
		s.schemas[sc.id] = sc
	}
	s.mu.Unlock()

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.multi {
		return fmt.Errorf("sfstreamtest: %s carries several kinds of event and has no schema of its own", channel)
	}
	if keep && t.schema != sc {
		if err := s.journal.write(entry{Op: opDefine, Channel: channel, Schema: schemaJSON}); err != nil {
			return err
		}
	}
	fresh := t.schema == nil
	t.schema = sc
	if !slices.Contains(t.schemas, sc) {
		t.schemas = append(t.schemas, sc)
	}
	if strings.HasPrefix(channel, "/data/") && fresh && !t.feedsLocked(all) {
		t.feedLocked(all, feed{of: Member{Channel: channel}})
	}
	return nil
}

// DefineChannel makes a custom channel, such as /event/Sales__chn, that carries the events of its
// members from now on.
func (s *Server) DefineChannel(channel string, members ...string) error {
	return s.defineChannel(channel, members, true)
}

func (s *Server) defineChannel(channel string, members []string, keep bool) error {
	if err := validChannel(channel); err != nil {
		return err
	}
	for _, member := range members {
		if _, ok := s.lookup(member); !ok {
			return fmt.Errorf("sfstreamtest: member %s of %s is not defined", member, channel)
		}
	}
	c := s.topic(channel)
	c.mu.Lock()
	single := c.schema != nil
	c.multi = !single
	c.mu.Unlock()
	if single {
		return fmt.Errorf("sfstreamtest: %s is the channel of one event", channel)
	}
	if keep {
		if err := s.journal.write(entry{Op: opChannel, Channel: channel, Members: members}); err != nil {
			return err
		}
	}
	for _, member := range members {
		t := s.topic(member)
		t.mu.Lock()
		if !t.feedsLocked(c) {
			t.feedLocked(c, feed{of: Member{Channel: member}})
		}
		t.mu.Unlock()
	}
	return nil
}

func (t *topic) feedsLocked(c *topic) bool {
	return slices.ContainsFunc(t.feeds, func(f feed) bool { return f.topic == c })
}

// canPublishLocked reports whether a client may publish on the channel: it is one platform event
// that the org has defined. Salesforce alone publishes change events and standard events, and a
// custom channel has what its members have.
func (t *topic) canPublishLocked() bool {
	return t.schema != nil && strings.HasPrefix(t.name, "/event/") && strings.HasSuffix(t.name, "__e") && !t.readOnly
}

func validChannel(channel string) error {
	for _, prefix := range []string{"/event/", "/data/"} {
		if name, ok := strings.CutPrefix(channel, prefix); ok && name != "" && !strings.Contains(name, "/") {
			return nil
		}
	}
	return fmt.Errorf("sfstreamtest: %q is not a channel of the Pub/Sub API: /event/Name__e or /data/NameChangeEvent", channel)
}

// addLocked appends a record, with the next replay id unless it has one, and wakes the streams. It
// writes the log file under the mutex, so that an event is on disk, in its place, before any stream
// can see it.
func (t *topic) addLocked(r record, j *journal) (record, error) {
	if r.replay == 0 {
		r.replay = t.log.nextReplay()
	}
	if err := j.writeRecord(t.name, r); err != nil {
		return r, err
	}
	t.log.append(r)
	if r.kind != mark {
		for st := range t.streams {
			st.wakeUp()
		}
		for sub := range t.subs {
			sub.session.wakeUp()
		}
	}
	return r, nil
}

// markLocked makes sure that the newest position is no older than age.
func (t *topic) markLocked(now time.Time, age time.Duration, j *journal) error {
	if t.log.first < t.log.next && t.log.at(t.log.next-1).at > now.Add(-age).UnixNano() {
		return nil
	}
	_, err := t.addLocked(record{at: now.UnixNano(), kind: mark}, j)
	return err
}

// removeLocked ends the channel; a later definition begins it anew.
func (t *topic) removeLocked() {
	t.schema, t.schemas, t.multi, t.feeds = nil, nil, false, nil
	t.push, t.generic, t.record = nil, false, nil
	t.label = ""
	t.removals++
	t.log.forget(t.log.next)
}
