package sfstreamtest

import (
	"net/http"
	"slices"
	"strings"
)

// RequireFields makes fields of an object, or of a platform event such as Order__e, required: the
// REST API refuses records and events without them with REQUIRED_FIELD_MISSING. Over the Pub/Sub
// API Salesforce takes such events. Account, Contact and Opportunity have required fields unless this
// names others.
func (s *Server) RequireFields(object string, names ...string) error {
	if err := s.journal.write(entry{Op: opRequire, Channel: object, Members: names}); err != nil {
		return err
	}
	s.records.require(object, names)
	return nil
}

func (r *records) require(object string, names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.required == nil {
		r.required = make(map[string][]string)
	}
	r.required[object] = slices.Clone(names)
}

// required returns the names of the required fields of an object.
func (s *Server) required(object string) []string {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	if names, ok := s.records.required[object]; ok {
		return names
	}
	return map[string][]string{
		"Account": {"Name"}, "Contact": {"LastName"}, "Opportunity": {"Name", "StageName", "CloseDate"},
	}[object]
}

// missing returns the error about required fields that are empty, or are not there although a
// record is created.
func missing(required []string, values map[string]any, created bool) error {
	var names []string
	for _, name := range required {
		if v, given := values[name]; v == nil && (given || created) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &restError{http.StatusBadRequest, "Required fields are missing: [" + strings.Join(names, ", ") + "]", "REQUIRED_FIELD_MISSING", names}
}
