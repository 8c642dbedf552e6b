package sfstreamtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// memberObject is the object of the Tooling API that the members of custom channels, and of the
// standard channel ChangeEvents, are.
const memberObject = "PlatformEventChannelMember"

var memberFields = append(slices.Clone(toolingFields),
	sobjectField{name: "EventChannel", typ: "picklist"}, sobjectField{name: "SelectedEntity", typ: "picklist"},
	sobjectField{name: "FilterExpression", typ: "textarea"})

// maxCaptured is how many entities can be selected for Change Data Capture.
const maxCaptured = 5

// channelMember is a member of a channel as its record shows it.
type channelMember struct {
	feed  feed
	event *topic // the channel of the event
	id    string
	name  string // FullName, which is DeveloperName too
}

// memberMetadata is the Metadata of a member.
type memberMetadata struct {
	EnrichedFields   []enrichedField `json:"enrichedFields"`
	EventChannel     *string         `json:"eventChannel"`
	FilterExpression *string         `json:"filterExpression"`
	SelectedEntity   *string         `json:"selectedEntity"`
}

type enrichedField struct {
	Name string `json:"name"`
}

// channelMembers returns the members of all channels, oldest channel first.
func (s *Server) channelMembers() []channelMember {
	var all []channelMember
	for _, t := range s.matching("") {
		t.mu.Lock()
		for _, f := range t.feeds {
			id := longID(fmt.Sprintf("0v8%06d%06d", f.topic.serial, f.serial))
			all = append(all, channelMember{f, t, id, or(f.name, memberFullName(f.topic.name, t.name))})
		}
		t.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b channelMember) int { return strings.Compare(a.id, b.id) })
	return all
}

func (s *Server) channelMember(match func(channelMember) bool) (channelMember, bool) {
	all := s.channelMembers()
	if i := slices.IndexFunc(all, match); i >= 0 {
		return all[i], true
	}
	return channelMember{}, false
}

// memberFullName returns the usual full name of a member: Sales_chn_AccountChangeEvent. Two
// underscores in a row would stand for a namespace.
func memberFullName(channel, event string) string {
	return strings.ReplaceAll(entity(channel)+"_"+entity(event), "__", "_")
}

// entity returns the last part of a channel's name, by which the Tooling API refers to it.
func entity(channel string) string { return channel[strings.LastIndexByte(channel, '/')+1:] }

func (s *Server) memberRows() []map[string]any {
	ids := make(map[*topic]string)
	for _, c := range s.customChannels() {
		ids[c.topic] = c.id
	}
	var rows []map[string]any
	for _, m := range s.channelMembers() {
		channel, event := entity(m.feed.topic.name), entity(m.event.name)
		meta := memberMetadata{EventChannel: &channel, SelectedEntity: &event, EnrichedFields: []enrichedField{}}
		for _, name := range m.feed.of.Enriched {
			meta.EnrichedFields = append(meta.EnrichedFields, enrichedField{name})
		}
		if m.feed.of.Filter != "" {
			meta.FilterExpression = &m.feed.of.Filter
		}
		rows = append(rows, map[string]any{
			"Id": m.id, "DeveloperName": m.name, "FullName": m.name, "MasterLabel": m.name, "Language": "en_US", "ManageableState": "unmanaged",
			"EventChannel": cmp.Or(ids[m.feed.topic], channel), "SelectedEntity": event, "FilterExpression": orNil(m.feed.of.Filter), "Metadata": meta,
		})
	}
	return rows
}

// createMember makes a channel carry an event from now on.
func (s *Server) createMember(fullName string, metadata json.RawMessage) (id string, err error) {
	var m memberMetadata
	if err := decodeStrictly(metadata, memberObject, &m); err != nil {
		return "", err
	}
	switch {
	case m.EventChannel == nil || *m.EventChannel == "":
		return "", missing([]string{"eventChannel"}, nil, true)
	case m.SelectedEntity == nil || *m.SelectedEntity == "":
		return "", missing([]string{"selectedEntity"}, nil, true)
	}
	if namespace, _, two := strings.Cut(fullName, "__"); two {
		return "", integrity("FullName", "Cannot create a new component with the namespace: %s. Only components in the same namespace "+
			"as the organization can be created through the API", namespace)
	}
	if !customName.MatchString(fullName) {
		return "", integrity("FullName", "The name of a channel member can contain only underscores and alphanumeric characters: %s", fullName)
	}
	c, err := s.channelOfMember(*m.EventChannel)
	if err != nil {
		return "", err
	}
	kind := strings.Split(c.name, "/")[1]
	def := m.member("/" + kind + "/" + *m.SelectedEntity)
	if err := s.selectable(c.name, def); err != nil {
		return "", err
	}
	if err := s.memberTaken(fullName, c, def.Channel); err != nil {
		return "", err
	}
	if err := s.capturedFor(def.Channel, c); err != nil {
		return "", err
	}
	if err := s.defineMembers(c.name, []Member{def}, fullName, true); err != nil {
		return "", integrity("Metadata", "%s", inOwnWords(err))
	}
	made, _ := s.channelMember(func(m channelMember) bool { return m.feed.topic == c && m.event.name == def.Channel })
	return made.id, nil
}

// memberTaken fails if a member has the name, or the channel has a member with the event.
func (s *Server) memberTaken(fullName string, c *topic, event string) error {
	if _, ok := s.channelMember(func(m channelMember) bool { return strings.EqualFold(m.name, fullName) }); ok {
		return &restError{http.StatusBadRequest, "The developer name is already in use by another channel member: " + fullName,
			"DUPLICATE_DEVELOPER_NAME", []string{"DeveloperName"}}
	}
	if other, ok := s.channelMember(func(m channelMember) bool { return m.feed.topic == c && m.event.name == event }); ok {
		return duplicate("SelectedEntity", other.id)
	}
	return nil
}

// member returns the definition that the metadata are.
func (m memberMetadata) member(channel string) Member {
	def := Member{Channel: channel}
	for _, f := range m.EnrichedFields {
		def.Enriched = append(def.Enriched, f.Name)
	}
	if m.FilterExpression != nil {
		def.Filter = *m.FilterExpression
	}
	return def
}

// channelOfMember returns the channel that eventChannel names: ChangeEvents, or a custom one.
func (s *Server) channelOfMember(name string) (*topic, error) {
	if name == entity(changeEvents) {
		return s.topic(changeEvents), nil
	}
	if c, ok := s.customChannelNamed(name); ok {
		return c.topic, nil
	}
	return nil, integrity("EventChannel", "Unable to find the specified channel: %s", name)
}

// selectable fails unless a channel can have the member. Nothing has happened yet.
func (s *Server) selectable(channel string, def Member) error {
	_, sc, err := s.publishable(def.Channel)
	if err != nil {
		object := changedObject(def.Channel)
		fields := standardObjects[object]
		text, err := objectSchema(object, fields)
		if err == nil {
			sc, err = parseSchema(text)
		}
		if err != nil || fields == nil || changeChannel(object) != def.Channel {
			return integrity("SelectedEntity", "invalid event in selectedEntity: %s", entity(def.Channel))
		}
	}
	if _, err := def.check(channel, sc); err != nil {
		return integrity("Metadata", "%s", inOwnWords(err))
	}
	return nil
}

// capturedFor makes the changes of a standard object events, if they are none yet. They are not on
// ChangeEvents by that, unless c is that channel.
func (s *Server) capturedFor(channel string, c *topic) error {
	if _, ok := s.lookup(channel); ok {
		return nil
	}
	captured := make(map[*topic]bool)
	for _, m := range s.channelMembers() {
		captured[m.event] = captured[m.event] || strings.HasPrefix(m.event.name, "/data/")
	}
	have := 0
	for _, data := range captured {
		if data {
			have++
		}
	}
	if have >= maxCaptured {
		return limitExceeded("entities that are selected for Change Data Capture", maxCaptured)
	}
	if err := s.DefineObject(changedObject(channel)); err != nil || c.name == changeEvents {
		return err
	}
	return s.removeMember(s.topic(changeEvents), s.topic(channel), true)
}

// updateMember gives a member other enriched fields and another filter: those that the metadata do
// not have are gone. Its channel and its event cannot be changed.
func (s *Server) updateMember(id string, metadata json.RawMessage) error {
	var meta memberMetadata
	if err := decodeStrictly(metadata, memberObject, &meta); err != nil {
		return err
	}
	m, _ := s.channelMember(func(m channelMember) bool { return m.id == id })
	switch {
	case meta.EventChannel != nil && *meta.EventChannel != entity(m.feed.topic.name):
		return integrity("EventChannel", "The eventChannel field can't be updated")
	case meta.SelectedEntity != nil && *meta.SelectedEntity != entity(m.event.name):
		return integrity("SelectedEntity", "The selectedEntity field can't be updated")
	}
	if err := s.defineMembers(m.feed.topic.name, []Member{meta.member(m.event.name)}, m.name, true); err != nil {
		return integrity("Metadata", "%s", inOwnWords(err))
	}
	return nil
}

func (s *Server) deleteMember(id string) error {
	m, _ := s.channelMember(func(m channelMember) bool { return m.id == id })
	return s.removeMember(m.feed.topic, m.event, true)
}
