package sfstreamtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Member is one kind of event on a channel that carries several kinds, see [Server.DefineMembers].
type Member struct {
	Channel string `json:"channel"` // the event's own channel, which names its kind: /data/AccountChangeEvent, /event/Order__e
	// Enriched are the fields that come with every UPDATE and DELETE although they did not change;
	// a compound field is named as a whole. Only for /data.
	Enriched []string `json:"enriched,omitempty"`
	// Filter is a condition in SOQL, such as Industry = 'Energy' AND BillingAddress.City != null;
	// it can also name fields of the header, such as ChangeEventHeader.changeType. The channel
	// carries only events that meet it, and gap and overflow events, which always come. The fields
	// that it names are enriched by that.
	Filter string `json:"filter,omitempty"`
}

// UnmarshalJSON reads an object, or a text, which is the Channel alone.
func (m *Member) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(string(text), `"`) {
		return json.Unmarshal(text, &m.Channel)
	}
	type plain Member
	return json.Unmarshal(text, (*plain)(m))
}

// feed is a multi-entity channel, as the channel of one of its members refers to it.
type feed struct {
	topic  *topic
	member *member // nil if the events come without enrichment and filter

	of     Member
	name   string // the full name of the member's record; "": memberFullName has it
	serial int32  // counts the members that the channel has had
}

// member is a Member that has been checked.
type member struct {
	enriched []string // the enriched fields, including those that the filter names
	filter   expr     // nil: all events pass
}

// DefineMembers makes a channel that carries several kinds of event, as DefineChannel does, with
// enriched fields and filters: a custom channel (/data/X__chn, and /event/X__chn, which can have
// filters only), or /data/ChangeEvents, whose other members stay as they are. A member that is
// there already is changed.
//
// If a member is enriched, be it only by its Filter, a change of several records is a group on the
// channel: one event per record, and all of them have one replay id. [WithSharedEventID] decides
// whether they also share their [Event].ID. Enriched fields have the value that the record has when
// the event is published, and at a replay the one that it has then; a field that the event changed
// keeps the event's value. The values are known from the changes that the org has had
// ([Server.Change]).
func (s *Server) DefineMembers(channel string, members ...Member) error {
	return s.defineMembers(channel, members, "", true)
}

// defineMembers does what DefineMembers does. name is the full name of the members' record, for one
// member, and "" if it has the usual one.
func (s *Server) defineMembers(channel string, members []Member, name string, keep bool) error {
	names := make([]string, len(members))
	checked := make([]*member, len(members))
	for i, m := range members {
		names[i] = m.Channel
		var err error
		if checked[i], err = s.checkMember(channel, m); err != nil {
			return err
		}
	}
	if err := s.defineChannel(channel, names, keep); err != nil {
		return err
	}
	c := s.topic(channel)
	for i, m := range members {
		if keep {
			e := entry{Op: opMember, Channel: channel, Member: &m, ID: name}
			if err := s.journal.write(e); err != nil {
				return err
			}
		}
		t := s.topic(m.Channel)
		t.mu.Lock()
		t.feedLocked(c, feed{member: checked[i], of: m, name: name})
		t.mu.Unlock()
	}
	return nil
}

// feedLocked makes the channel c carry the events of t, as f says.
func (t *topic) feedLocked(c *topic, f feed) {
	f.topic = c
	i := slices.IndexFunc(t.feeds, func(f feed) bool { return f.topic == c })
	if i < 0 {
		f.serial = c.members.Add(1)
		t.feeds = append(t.feeds, f)
		return
	}
	f.serial, f.name = t.feeds[i].serial, or(f.name, t.feeds[i].name)
	t.feeds = slices.Clone(t.feeds) // a publisher may read the old slice at the same time
	t.feeds[i] = f
}

// removeMember makes a channel no longer carry the events of t.
func (s *Server) removeMember(c, t *topic, keep bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if keep {
		if err := s.journal.write(entry{Op: opUnmember, Channel: c.name, Members: []string{t.name}}); err != nil {
			return err
		}
	}
	t.unfeedLocked(c)
	return nil
}

func (t *topic) unfeedLocked(c *topic) {
	t.feeds = slices.DeleteFunc(slices.Clone(t.feeds), func(f feed) bool { return f.topic == c })
}

// emptied takes all members off a channel that is removed.
func (s *Server) emptied(c *topic) {
	for _, t := range s.matching("") {
		t.mu.Lock()
		t.unfeedLocked(c)
		t.mu.Unlock()
	}
}

func (s *Server) checkMember(channel string, m Member) (*member, error) {
	_, sc, err := s.publishable(m.Channel)
	if err != nil {
		return nil, err
	}
	return m.check(channel, sc)
}

// check returns the member that m is on a channel. sc is the schema of its events.
func (m Member) check(channel string, sc *schema) (*member, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("sfstreamtest: member %s of %s: %s", m.Channel, channel, fmt.Sprintf(format, args...))
	}
	data := strings.HasPrefix(m.Channel, "/data/")
	if len(m.Enriched) > 0 && !data {
		return nil, bad("only change events can be enriched")
	}
	checked := &member{enriched: slices.Clone(m.Enriched)}
	for i, name := range checked.enriched {
		checked.enriched[i] = compoundOf(sc, name)
	}
	if m.Filter != "" {
		q, err := parseSOQL("SELECT Id FROM Event WHERE " + m.Filter)
		if err != nil {
			return nil, bad("the filter expression has syntax errors: %v", err)
		}
		if err := checkFilter(sc, q.where, data); err != nil {
			return nil, bad("filter: %v", err)
		}
		checked.filter = q.where
		for _, name := range q.where.fields(nil) {
			if parent, _, _ := strings.Cut(name, "."); parent != "ChangeEventHeader" {
				checked.enriched = append(checked.enriched, parent)
			}
		}
	}
	slices.Sort(checked.enriched)
	checked.enriched = slices.Compact(checked.enriched)
	for _, name := range checked.enriched {
		if f, _ := field(sc.avro, name); f == nil || name == "ChangeEventHeader" {
			return nil, bad("The selected field, %s, isn't valid: there is no field %s", name, name)
		}
	}
	if !data {
		checked.enriched = nil
	}
	if checked.filter == nil && len(checked.enriched) == 0 {
		return nil, nil
	}
	return checked, nil
}

// passes reports whether the filter lets an event through, by the values of its record and by its
// header.
func (m *member) passes(values map[string]any, header map[string]any) bool {
	if m.filter == nil {
		return true
	}
	flat := make(map[string]any)
	for name, value := range values {
		flat[name] = value
		if members, ok := value.(map[string]any); ok {
			for child, value := range members {
				flat[name+"."+child] = value
			}
		}
	}
	for name, value := range header {
		flat["ChangeEventHeader."+name] = value
	}
	return m.filter.holds(flat)
}

// one returns the split function (see post) of an event that is a single record on every channel:
// the record as it is, or none if the member's filter keeps it back.
func one(r record, values map[string]any) func(*member) ([]record, error) {
	return func(m *member) ([]record, error) {
		if m != nil && !m.passes(values, nil) {
			return nil, nil
		}
		return []record{r}, nil
	}
}
