package sfstreamtest

import (
	"errors"
	"net/http"
)

// HideEventUUIDs(true) makes replies to published events hold no UUID, only errors: [], as those of
// standard-volume events do.
func (s *Server) HideEventUUIDs(on bool) { s.faults.toggle("HideEventUUIDs", atEnqueued, on) }

// eventObject returns a platform event as an object, if the name is that of one.
func (s *Server) eventObject(name string) (*topic, *sobject, bool) {
	t, ok := s.lookup("/event/" + name)
	if !ok {
		return nil, nil, false
	}
	t.mu.Lock()
	sc := t.schema
	t.mu.Unlock()
	if sc == nil {
		return nil, nil, false
	}
	return t, &sobject{name: name, event: true, fields: fieldsOf(sc.avro)}, true
}

// publishRecord publishes a platform event that a request creates like a record.
func (s *Server) publishRecord(t *topic, o *sobject, body map[string]any, user string) (written, error) {
	t.mu.Lock()
	allowed := t.canPublishLocked()
	t.mu.Unlock()
	if !allowed {
		return written{}, &restError{http.StatusForbidden, "insufficient access rights on object id", "INSUFFICIENT_ACCESS_OR_READONLY", nil}
	}
	values, nested, err := o.values(body)
	if err == nil {
		err = missing(s.required(o.name), values, true)
	}
	if err != nil {
		return written{}, err
	}
	ev, err := s.publishAs(user, t.name, nested, true)
	if errors.Is(err, errTooLarge) {
		return written{}, &restError{http.StatusBadRequest, "The event exceeds the maximum event size.", "LIMIT_EXCEEDED", nil}
	}
	if errors.Is(err, errLimit) {
		e := knownRESTError("LIMIT_EXCEEDED")
		return written{}, &e
	}
	if err != nil {
		return written{}, &restError{http.StatusBadRequest, inOwnWords(err), "UNKNOWN_EXCEPTION", nil}
	}
	done := written{ID: "e01xx0000000001AAA", Success: true, Errors: []restWarning{}}
	if !s.faults.active(atEnqueued, "") {
		done.Errors = append(done.Errors, restWarning{StatusCode: "OPERATION_ENQUEUED", Message: ev.ID, Fields: []string{}})
	}
	return done, nil
}
