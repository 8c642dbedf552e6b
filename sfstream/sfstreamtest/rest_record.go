package sfstreamtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// recordID returns the id of a channel's record: a PushTopic or a StreamingChannel.
func (t *topic) recordID() string {
	prefix := "0M6"
	if strings.HasPrefix(t.name, "/topic/") {
		prefix = "0IF"
	}
	return fmt.Sprintf("%s%012dAAA", prefix, t.serial)
}

// channelsOf returns the channels that are records of an object, oldest first.
func (s *Server) channelsOf(object string) []*topic {
	var found []*topic
	for _, t := range s.matching("") {
		t.mu.Lock()
		if object == "PushTopic" && t.push != nil || object == "StreamingChannel" && t.generic {
			found = append(found, t)
		}
		t.mu.Unlock()
	}
	slices.SortFunc(found, func(a, b *topic) int { return cmp.Compare(a.serial, b.serial) })
	return found
}

// channel returns the channel with a record id, which may have 15 characters too.
func (s *Server) channel(object, id string) (*topic, error) {
	for _, t := range s.channelsOf(object) {
		if own := t.recordID(); len(id) >= 15 && (id == own || id == own[:15]) {
			return t, nil
		}
	}
	return nil, notFound()
}

func (t *topic) asRecord() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	rec := map[string]any{"Id": t.recordID(), "Name": t.name}
	if p := t.push; p != nil {
		rec["Name"], rec["Query"], rec["IsActive"] = p.Name, p.Query, true
		rec["NotifyForFields"] = or(p.NotifyForFields, "Referenced")
		for name, flag := range map[string]*bool{
			"Create": p.NotifyForOperationCreate, "Update": p.NotifyForOperationUpdate,
			"Delete": p.NotifyForOperationDelete, "Undelete": p.NotifyForOperationUndelete,
		} {
			rec["NotifyForOperation"+name] = flag == nil || *flag
		}
	}
	return rec
}

func attributes(r *http.Request, object, id string) map[string]any {
	return map[string]any{"type": object, "url": "/services/data/" + r.PathValue("version") + "/sobjects/" + object + "/" + id}
}

func (s *Server) deleteRecord(r *http.Request) (int, any, error) {
	object := r.PathValue("object")
	if object != "PushTopic" && object != "StreamingChannel" {
		return s.writeRecord(r, write{kind: "DELETE", object: object, id: r.PathValue("id")}, http.StatusNoContent)
	}
	t, err := s.channel(object, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.Remove(t.name)
}

// createRecord creates a PushTopic, a StreamingChannel or a record, or publishes a platform event.
func (s *Server) createRecord(r *http.Request) (int, any, error) {
	object := r.PathValue("object")
	switch object {
	case "PushTopic":
		var p restPushTopic
		if err := readBody(r, &p); err != nil {
			return 0, nil, err
		}
		return s.create("/topic/"+p.Name, func() error { return s.DefinePushTopic(p.PushTopic) })
	case "StreamingChannel":
		var req struct{ Name string }
		if err := readBody(r, &req); err != nil {
			return 0, nil, err
		}
		return s.create(req.Name, func() error { return s.DefineGenericChannel(req.Name) })
	}
	w := write{kind: "CREATE", object: object}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	return s.writeRecord(r, w, http.StatusCreated)
}

// updateRecord changes those fields of a record that the request has.
func (s *Server) updateRecord(r *http.Request) (int, any, error) {
	w := write{kind: "UPDATE", object: r.PathValue("object"), id: r.PathValue("id")}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	return s.writeRecord(r, w, http.StatusNoContent)
}

// upsertRecord changes the record of which a field has the value that the path names, or creates
// it.
func (s *Server) upsertRecord(r *http.Request) (int, any, error) {
	w := write{kind: "UPSERT", object: r.PathValue("object"), field: r.PathValue("field"), id: r.PathValue("value")}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	done := s.carryOut(r, []write{w}, false)[0]
	status := http.StatusOK
	if done.Created != nil && *done.Created {
		status = http.StatusCreated
	}
	return status, done, done.err
}

// overriddenMethod does what a method does that a POST names because its client, or a proxy on the
// way, does not know it.
func (s *Server) overriddenMethod(r *http.Request) (int, any, error) {
	switch r.URL.Query().Get("_HttpMethod") {
	case http.MethodPatch:
		if r.PathValue("object") == "PushTopic" {
			return s.updatePushTopic(r)
		}
		return s.updateRecord(r)
	case http.MethodDelete:
		return s.deleteRecord(r)
	}
	return 0, nil, &restError{http.StatusMethodNotAllowed, "HTTP Method 'POST' not allowed. Allowed are DELETE,GET,HEAD,PATCH", "METHOD_NOT_ALLOWED", nil}
}

// writeRecord answers a request that writes one record with the status, if it succeeds.
func (s *Server) writeRecord(r *http.Request, w write, status int) (int, any, error) {
	done := s.carryOut(r, []write{w}, false)[0]
	if status == http.StatusNoContent {
		return status, nil, done.err
	}
	return status, done, done.err
}

// create defines a channel. It fails if the channel exists.
func (s *Server) create(channel string, define func() error) (int, any, error) {
	if _, ok := s.find(channel); ok {
		return 0, nil, &restError{http.StatusBadRequest, "duplicate value found: Name duplicates value on record with id: " + s.topic(channel).recordID(), "DUPLICATE_VALUE", []string{"Name"}}
	}
	if err := define(); err != nil {
		return 0, nil, badField(err.Error(), "Name")
	}
	return http.StatusCreated, written{ID: s.topic(channel).recordID(), Success: true, Errors: []restWarning{}}, nil
}

// restPushTopic is a PushTopic in the form that REST clients send.
type restPushTopic struct {
	PushTopic
	APIVersion any `json:"ApiVersion"` // a number; some clients send a text
}

// updatePushTopic changes the fields that are given and keeps the others.
func (s *Server) updatePushTopic(r *http.Request) (int, any, error) {
	t, err := s.channel("PushTopic", r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	t.mu.Lock()
	p := restPushTopic{PushTopic: t.push.clone()}
	t.mu.Unlock()
	name := p.Name
	if err := readBody(r, &p); err != nil {
		return 0, nil, err
	}
	if p.Name != name {
		return 0, nil, badField("a PushTopic cannot be renamed here", "Name")
	}
	if err := s.DefinePushTopic(p.PushTopic); err != nil {
		return 0, nil, badField(err.Error(), "Query")
	}
	return http.StatusNoContent, nil, nil
}
