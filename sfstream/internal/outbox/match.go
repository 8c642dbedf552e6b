package outbox

// A Result is what an answer says of one event.
type Result struct {
	Key      string // the event's id; a failure may have none
	ReplayID []byte
	Err      error // nil: it is published
}

// Match calls each with every event of a request and its result: the one with its id as the key,
// else the one at its place if the answer has as many results as the request has events. An event
// without a result gets nil.
func Match[T any](request []*Event[T], results []Result, each func(*Event[T], *Result)) {
	places := len(results) == len(request)
	if places && inPlace(request, results) {
		for i, e := range request {
			each(e, &results[i])
		}
		return
	}
	byKey := make(map[string]int, len(results))
	for i := len(results) - 1; i >= 0; i-- { // of two the first counts
		if results[i].Key != "" {
			byKey[results[i].Key] = i
		}
	}
	known := make(map[string]bool, len(request))
	for _, e := range request {
		known[e.ID] = e.ID != ""
	}
	for i, e := range request {
		at, found := byKey[e.ID]
		if (!found || e.ID == "") && places && !known[results[i].Key] {
			at, found = i, true
		}
		if found {
			each(e, &results[at])
		} else {
			each(e, nil)
		}
	}
}

// inPlace reports whether every result is, by its key or for want of one, that of the event at its
// place.
func inPlace[T any](request []*Event[T], results []Result) bool {
	for i, e := range request {
		if key := results[i].Key; key != "" && key != e.ID {
			return false
		}
	}
	return true
}
