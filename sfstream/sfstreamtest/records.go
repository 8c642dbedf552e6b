package sfstreamtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
)

// records has the current values of all records that changes told of: PushTopics see whole records,
// and REST reads them.
type records struct {
	// turn is held while records change and their events are published, so that the events are in
	// the order of the changes. mu may be taken under it.
	turn sync.Mutex

	mu       sync.Mutex
	objects  map[string]map[string]map[string]any // by object and id
	required map[string][]string                  // by object, see RequireFields
	prefixes map[string]string                    // of ids, by custom object
	made     int                                  // ids that newID has given out
}

// apply makes a change to a record. It returns the values that the record has then, and the names
// of the fields that changed. types is nil if the types of the object are not known.
func (r *records) apply(c Change, id string, types *avro.RecordSchema, now time.Time, user string) (rec map[string]any, changed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects == nil {
		r.objects = make(map[string]map[string]map[string]any)
	}
	byID := r.objects[c.Object]
	if byID == nil {
		byID = make(map[string]map[string]any)
		r.objects[c.Object] = byID
	}
	user = or(c.CommitUser, user)
	if !c.CommitTime.IsZero() {
		now = c.CommitTime
	}
	rec = maps.Clone(byID[id])
	if rec == nil || c.Type == "CREATE" {
		rec = map[string]any{"Id": id, "CreatedDate": now, "CreatedById": user}
	}
	set := func(name string, value any) {
		rec[name] = value
		changed = append(changed, name)
	}
	rec["IsDeleted"] = c.Type == "DELETE"
	set("LastModifiedDate", now)
	set("SystemModstamp", now)
	rec["LastModifiedById"] = user
	for name, value := range c.Set {
		if members, ok := value.(map[string]any); ok {
			old, _ := rec[name].(map[string]any)
			merged := maps.Clone(old)
			if merged == nil {
				merged = make(map[string]any)
			}
			maps.Copy(merged, members)
			value = merged
		}
		set(name, typed(types, name, value))
	}
	for _, name := range c.Null {
		parent, child, nested := strings.Cut(name, ".")
		if !nested {
			set(name, nil)
			continue
		}
		if members, ok := rec[parent].(map[string]any); ok {
			members = maps.Clone(members)
			members[child] = nil
			set(parent, members)
		}
	}
	byID[id] = rec
	return rec, changed
}

// count returns how many records of an object are known, with deleted ones.
func (r *records) count(object string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.objects[object])
}

// all returns the records of an object, deleted ones too, in the order of their ids. They are
// shared, so never written to.
func (r *records) all(object string) []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	byID := r.objects[object]
	var all []map[string]any
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[id])
	}
	return all
}

// keyPrefixes begin the ids of the records of an object.
var keyPrefixes = map[string]string{
	"Account": "001", "Contact": "003", "Opportunity": "006", "OpportunityHistory": "008", "Lead": "00Q", "Case": "500", "Task": "00T",
	"Event": "00U", "Contract": "800", "Order": "801", "Product2": "01t", "Asset": "02i", "Campaign": "701",
}

// newID returns an id that no record of the object has. restored is how many lines the org has
// found in its log, which may tell of records that it has had before.
func (r *records) newID(object string, restored int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	prefix, ok := keyPrefixes[object]
	if !ok {
		if prefix, ok = r.prefixes[object]; !ok {
			if r.prefixes == nil {
				r.prefixes = make(map[string]string)
			}
			prefix = fmt.Sprintf("a%02d", len(r.prefixes))
			r.prefixes[object] = prefix
		}
	}
	const first = 1_000_000 // above the ids that people write down
	for {
		r.made++
		id := longID(fmt.Sprintf("%s%012d", prefix, first+restored+r.made))
		if _, taken := r.objects[object][id]; !taken {
			return id
		}
	}
}

// find returns a record by its id, which may have 15 characters, and the id as the org has it.
func (r *records) find(object, id string) (own string, rec map[string]any, err error) {
	if err := checkID(object, id); err != nil {
		return "", nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, own := range []string{id, longID(id)} {
		rec, ok := r.objects[object][own]
		switch {
		case ok && rec["IsDeleted"] == true:
			return own, nil, &restError{http.StatusNotFound, "entity is deleted", "ENTITY_IS_DELETED", []string{}}
		case ok:
			return own, rec, nil
		}
	}
	return "", nil, notFound()
}

// owner returns the object of which the org has a record with this id.
func (r *records) owner(id string) (object string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for object, byID := range r.objects {
		for _, own := range []string{id, longID(id)} {
			if _, ok := byID[own]; ok {
				return object, true
			}
		}
	}
	return "", false
}

// SetRecord gives a record of an object these values, with no event of it: the record is created
// unless it is there. It is what has happened where Salesforce sends a gap event, and what was in
// the org before anyone followed it. CreatedDate, LastModifiedDate, SystemModstamp and IsDeleted
// can be among the values; LastModifiedDate and SystemModstamp are now unless they are.
func (s *Server) SetRecord(object, id string, values map[string]any) {
	var types *avro.RecordSchema
	if _, sc, err := s.publishable(changeChannel(object)); err == nil {
		types = sc.avro
	}
	kind := "UPDATE"
	if deleted, _ := values["IsDeleted"].(bool); deleted {
		kind = "DELETE"
	}
	s.records.apply(Change{Object: object, Type: kind, Set: values}, id, types, s.now(), s.account.UserID)
}

// typed turns a value into the form that PushTopics compare and show: a double if the field is one,
// a time if it is a date.
func typed(types *avro.RecordSchema, name string, v any) any {
	n, ok := float(v)
	if !ok || types == nil {
		return v
	}
	f, _ := field(types, name)
	if f == nil {
		return v
	}
	if _, dated := appendDate(nil, fieldType(f), 0, false); dated {
		return time.UnixMilli(int64(n)).UTC()
	}
	if union, ok := f.Type().(*avro.UnionSchema); ok && union.Contains(avro.Double) {
		return n
	}
	return v
}
