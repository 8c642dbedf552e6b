package sfstreamtest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// listObjects answers with the objects that the user may see. Platform events are among them, and
// the change events of the objects whose changes are captured, as AccountChangeEvent.
func (s *Server) listObjects(*http.Request) (int, any, error) {
	queryable := make(map[string]bool) // by name
	for name := range systemObjects {
		queryable[name] = true
	}
	for name := range standardObjects {
		queryable[name] = true
	}
	s.records.mu.Lock()
	for name := range s.records.objects {
		queryable[name] = true
	}
	s.records.mu.Unlock()
	for _, t := range s.matching("") {
		t.mu.Lock()
		hidden := t.schema == nil || t.revoked
		t.mu.Unlock()
		if hidden {
			delete(queryable, changedObject(t.name))
			continue
		}
		if event, ok := strings.CutPrefix(t.name, "/event/"); ok {
			queryable[event] = false
		} else {
			queryable[changedObject(t.name)] = true
			queryable[strings.TrimPrefix(t.name, "/data/")] = false
		}
	}
	list := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(queryable)) {
		custom := strings.HasSuffix(name, "__c") || strings.HasSuffix(name, "__e") || strings.HasSuffix(name, "__ChangeEvent")
		list = append(list, map[string]any{"name": name, "label": name, "custom": custom, "queryable": queryable[name]})
	}
	return http.StatusOK, map[string]any{"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": list}, nil
}
