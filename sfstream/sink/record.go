package sink

import (
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
)

// A maker makes records of the messages of one org. It keeps the texts that many records share.
type maker struct {
	org    string
	key    func(*sfstream.Message) string // nil: by kind of event
	places map[string]place               // by Message.Channel
	types  map[name]string                // what Record.Type is of a name
}

// A place is what the records of a channel have in common.
type place struct{ channel, ids, source string }

// A name is what Record.Type is made of.
type name struct{ kind, entity, change string }

func newMaker(org string, key func(*sfstream.Message) string) *maker {
	return &maker{org: org, key: key, places: make(map[string]place), types: make(map[name]string)}
}

// record makes a record without a value. barrier says that the event is of the channel as a whole,
// so that it has an order with all others of it.
func (k *maker) record(m *sfstream.Message) (r Record, barrier bool) {
	p, known := k.places[m.Channel]
	if !known {
		channel, _, _ := strings.Cut(m.Channel, "?") // a filter is not of the channel
		p = place{channel: channel, ids: k.org + "|" + channel + "|", source: "/salesforce/" + k.org + "/" + strings.TrimPrefix(channel, "/")}
		k.places[m.Channel] = p
	}
	r = Record{ID: p.ids + m.Key(), Channel: m.Channel, Source: p.source, Time: m.Date().UTC(), Message: m}
	kind := r.read(m, p.channel)
	r.Type = k.typeOf(name{kind, r.Entity, r.Change})
	switch {
	case k.key != nil:
		r.Key = k.key(m)
	case r.Subject != "":
		r.Key = r.Subject
	default:
		barrier = true
	}
	if r.Key == "" {
		r.Key = p.channel
	}
	return r, barrier
}

// read sets what the event is about, and returns its kind.
func (r *Record) read(m *sfstream.Message, channel string) (kind string) {
	if topic, ok := strings.CutPrefix(channel, "/topic/"); ok {
		var record struct {
			ID string `sf:"Id"`
		}
		if m.Decode(&record) == nil && isRecordID(record.ID) {
			r.Subject = record.ID
		}
		r.Entity, r.Change = topic, m.Type
		return "topic"
	}
	r.Change = "published"
	if generic, ok := strings.CutPrefix(channel, "/u/"); ok {
		r.Entity = generic
		return "u"
	}
	if r.Entity = m.EventName(); r.Entity == "" {
		r.Entity = channel[strings.LastIndexByte(channel, '/')+1:]
	}
	if strings.HasPrefix(channel, "/event/") {
		return "event"
	}
	change, err := m.Change() // of a managed subscription the channel does not tell
	switch {
	case err == nil:
		r.Entity, r.Change = change.EntityName, changeName(change.Type)
		if len(change.RecordIDs) == 1 && isRecordID(change.RecordIDs[0]) {
			r.Subject = change.RecordIDs[0]
		}
	case !strings.HasPrefix(channel, "/data/"):
		return "event"
	default: // it cannot be read
		r.Entity, r.Change = strings.TrimSuffix(r.Entity, "ChangeEvent"), "changed"
	}
	return "data"
}

// changeName is the participle of a change type: GAP_CREATE is gap_created.
func changeName(t sfstream.ChangeType) string {
	switch t {
	case sfstream.ChangeUndelete:
		return "undeleted"
	case sfstream.ChangeCreate:
		return "created"
	case sfstream.ChangeUpdate:
		return "updated"
	case sfstream.ChangeDelete:
		return "deleted"
	case sfstream.ChangeGapCreate, sfstream.ChangeGapUpdate, sfstream.ChangeGapDelete, sfstream.ChangeGapUndelete:
		return "gap_" + changeName(t[len("GAP_"):])
	}
	return strings.ToLower(string(t)) // also what Salesforce may add
}

// typeOf is the Record.Type of a name. The change of published events goes without saying.
func (k *maker) typeOf(n name) string {
	text, ok := k.types[n]
	if !ok {
		text = "com.salesforce." + n.kind + "." + strings.ToLower(n.entity)
		if n.kind == "data" || n.kind == "topic" {
			text += "." + n.change
		}
		n.entity, n.change = strings.Clone(n.entity), strings.Clone(n.change)
		k.types[n] = text
	}
	return text
}

// isRecordID reports whether an id is that of one record: not that of a gap's wildcard (001*), nor
// the zeros of an overflow.
func isRecordID(id string) bool {
	if len(id) != 15 && len(id) != 18 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return strings.Trim(id[:15], "0") != ""
}
