package sfstreamtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// channelKind is the object that the channels of a kind are records of.
type channelKind struct {
	object, prefix, idPrefix string
	label                    string // of the field Name, as errors have it
	maxName, maxDescription  int
}

var (
	pushTopics        = channelKind{"PushTopic", "/topic/", "0IF", "Topic Name", 25, 400}
	streamingChannels = channelKind{"StreamingChannel", "/u/", "0M6", "Streaming Channel Name", 80, 255}
)

// channelKindOf returns the kind of channels that are records of an object.
func channelKindOf(object string) (channelKind, bool) {
	for _, kind := range []channelKind{pushTopics, streamingChannels} {
		if strings.EqualFold(kind.object, object) {
			return kind, true
		}
	}
	return channelKind{}, false
}

// author is who writes a record, and when.
type author struct {
	user string
	at   time.Time
}

// channelRecord is what a channel is as a record. Its topic's mutex guards it.
type channelRecord struct {
	id, description   string
	owner             string // of a generic channel; "" is who has created it
	created, modified author
}

// recordLocked notes that the channel's record is written. moved is the record that it was under
// another name, else nil.
func (t *topic) recordLocked(moved *channelRecord, description string, by author) {
	if moved != nil {
		t.record = moved
	}
	if t.record == nil {
		prefix := streamingChannels.idPrefix
		if strings.HasPrefix(t.name, pushTopics.prefix) {
			prefix = pushTopics.idPrefix
		}
		t.record = &channelRecord{id: longID(fmt.Sprintf("%s%06d%06d", prefix, t.removals, t.serial)), created: by}
	}
	t.record.description, t.record.modified = description, by
}

// renamed takes the record away from a channel whose name is no more. Sessions that have subscribed
// to it stay. before has the channels of this name and those that it had before.
func (t *topic) renamed() (record *channelRecord, before []*topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record, before = t.record, []*topic{t}
	if t.push != nil {
		before = append(before, t.push.before...)
	}
	t.push, t.generic, t.record = nil, false, nil
	t.removals++
	return record, before
}

// channelsOf returns the channels of a kind, oldest first.
func (s *Server) channelsOf(kind channelKind) []*topic {
	var found []*topic
	for _, t := range s.matching("") {
		t.mu.Lock()
		if t.record != nil && strings.HasPrefix(t.name, kind.prefix) {
			found = append(found, t)
		}
		t.mu.Unlock()
	}
	slices.SortFunc(found, func(a, b *topic) int { return cmp.Compare(a.serial, b.serial) })
	return found
}

// channel returns the channel with a record id, which may have 15 characters too.
func (s *Server) channel(kind channelKind, id string) (*topic, error) {
	if err := checkID(kind.object, id); err != nil {
		return nil, err
	}
	for _, t := range s.channelsOf(kind) {
		t.mu.Lock()
		found := t.record != nil && t.record.id == longID(id)
		t.mu.Unlock()
		if found {
			return t, nil
		}
	}
	return nil, notFound()
}

// asRecord returns the values of a channel's record.
func (t *topic) asRecord(s *Server) map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record
	if r == nil { // it was deleted a moment ago
		return map[string]any{"IsDeleted": true}
	}
	rec := map[string]any{
		"Id": r.id, "Name": t.name, "Description": orNil(r.description), "IsDeleted": false,
		"CreatedById": r.created.user, "CreatedDate": r.created.at, "LastModifiedById": r.modified.user,
		"LastModifiedDate": r.modified.at, "SystemModstamp": r.modified.at,
	}
	if t.push == nil {
		rec["IsDynamic"], rec["OwnerId"] = false, or(r.owner, r.created.user)
		return rec
	}
	t.push.record(rec, s.newestVersion())
	return rec
}

// createChannelRecord creates a PushTopic or a StreamingChannel.
func (s *Server) createChannelRecord(r *http.Request, kind channelKind) (int, any, error) {
	values, by, err := s.channelValues(r, kind)
	if err != nil {
		return 0, nil, err
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	if err := s.recordFault(kind.object); err != nil {
		return 0, nil, err
	}
	t, err := s.writeChannel(kind, nil, values, by)
	if err != nil {
		return 0, nil, err
	}
	rec := t.asRecord(s)
	id, _ := rec["Id"].(string)
	return http.StatusCreated, written{ID: id, Success: true, Errors: []restWarning{}}, nil
}

// writableChannel returns the channel whose record a request changes or deletes. That of a generic
// channel needs what a push to it needs.
func (s *Server) writableChannel(r *http.Request, kind channelKind) (*topic, error) {
	t, err := s.channel(kind, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := t.pushable(); err != nil {
		return nil, err
	}
	return t, s.recordFault(kind.object)
}

// updateChannelRecord changes those fields of a PushTopic or a StreamingChannel that the request
// has.
func (s *Server) updateChannelRecord(r *http.Request, kind channelKind) (int, any, error) {
	values, by, err := s.channelValues(r, kind)
	if err != nil {
		return 0, nil, err
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	t, err := s.writableChannel(r, kind)
	if err == nil {
		_, err = s.writeChannel(kind, t, values, by)
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) deleteChannelRecord(r *http.Request, kind channelKind) (int, any, error) {
	s.setup.Lock()
	defer s.setup.Unlock()
	t, err := s.writableChannel(r, kind)
	if err != nil {
		return 0, nil, err
	}
	if !s.config.quietDelete {
		return http.StatusNoContent, nil, s.Remove(t.name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := s.journal.write(entry{Op: opRemove, Channel: t.name}); err != nil {
		return 0, nil, err
	}
	t.removeLocked()
	return http.StatusNoContent, nil, nil
}

// WithQuietDelete lets sessions that have subscribed to a PushTopic or a generic channel live on in
// silence when a request deletes it. Default: they end. No page says what Salesforce does.
func WithQuietDelete() Option { return func(c *config) { c.quietDelete = true } }

// channelValues reads the fields of a request that writes a channel's record.
func (s *Server) channelValues(r *http.Request, kind channelKind) (values map[string]any, by author, err error) {
	var body map[string]any
	if err := readBody(r, &body); err != nil {
		return nil, by, err
	}
	ses, _ := s.bearer(r)
	values, _, err = s.systemObject(kind.object).values(body)
	return values, author{ses.user, s.now()}, err
}

// writeChannel writes the record of a channel, of a new one if t is nil, and returns the channel.
func (s *Server) writeChannel(kind channelKind, t *topic, values map[string]any, by author) (*topic, error) {
	required := []string{"Name"}
	if kind == pushTopics {
		required = []string{"Name", "Query", "ApiVersion"}
	}
	if err := missing(required, values, t == nil); err != nil {
		return nil, err
	}
	name, _ := values["Name"].(string)
	description, _ := values["Description"].(string)
	if len([]rune(name)) > kind.maxName {
		return nil, tooLong(kind.label, name, kind.maxName, "Name")
	}
	if len([]rune(description)) > kind.maxDescription {
		return nil, tooLong("Description", description, kind.maxDescription, "Description")
	}
	if err := s.nameTaken(kind, t, name); err != nil {
		return nil, err
	}
	if kind == pushTopics {
		return s.writePushTopic(t, values, by)
	}
	return s.writeStreamingChannel(t, values, by)
}

// nameTaken fails if another channel than t has the name, in any case.
func (s *Server) nameTaken(kind channelKind, t *topic, name string) error {
	for _, other := range s.channelsOf(kind) {
		rec := other.asRecord(s)
		id, _ := rec["Id"].(string)
		if taken, _ := rec["Name"].(string); other != t && strings.EqualFold(taken, name) {
			return duplicate("Name", id)
		}
	}
	return nil
}
