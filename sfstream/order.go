package sfstream

import "strings"

// job is a message that a Run has taken and not settled.
type job struct {
	msg    *Message
	at     int // its index in runner.held
	scope  *scope
	keys   []string // what it is ordered by; none: it concerns all keys of its scope
	before int      // how many unsettled jobs it waits for
	after  []*job   // the jobs that wait for it

	outcome
}

// scope is what keys are compared in: a channel, or all channels where the program
// gives the keys.
//
// Invariant: a new job has to wait for nothing but the last job of each of its
// keys, or for last where a key has none.
type scope struct {
	lastOf map[string]*job // by key: its last unsettled job, of those after last
	last   *job            // the last unsettled job that concerns all keys; nil: none
}

// order decides which job has to wait for which. Its jobs form a graph that
// points forward in time, so that the oldest one is always free to go; it holds
// unsettled jobs only.
type order struct {
	key    func(*Message) string // of OrderBy; nil: by record
	scopes map[string]*scope     // by channel; under "" where the program gives the keys
}

// add places a job behind all that it has to wait for. It reports whether that is
// nothing.
func (o *order) add(j *job) (free bool) {
	scope := o.scopeOf(j)
	j.scope = scope
	if len(j.keys) == 0 {
		for _, earlier := range scope.lastOf {
			j.wait(earlier)
		}
		j.wait(scope.last)
		clear(scope.lastOf)
		scope.last = j
		return j.before == 0
	}
	for _, key := range j.keys {
		earlier, ok := scope.lastOf[key]
		if !ok {
			earlier = scope.last
		}
		if earlier != j { // an event may name a record twice
			j.wait(earlier)
		}
		scope.lastOf[key] = j
	}
	return j.before == 0
}

// scopeOf reads what a job is ordered by.
func (o *order) scopeOf(j *job) *scope {
	name := ""
	if o.key != nil {
		j.keys = append(j.keys, o.key(j.msg))
	} else {
		name = j.msg.Channel
		j.keys = j.msg.records(j.keys)
	}
	s := o.scopes[name]
	if s == nil {
		s = &scope{lastOf: make(map[string]*job)}
		o.scopes[name] = s
	}
	return s
}

func (j *job) wait(earlier *job) {
	if earlier != nil {
		earlier.after = append(earlier.after, j)
		j.before++
	}
}

// remove forgets a settled job and appends those that are free to go now.
func (j *job) remove(free []*job) []*job {
	for _, key := range j.keys {
		if j.scope.lastOf[key] == j {
			delete(j.scope.lastOf, key)
		}
	}
	if j.scope.last == j {
		j.scope.last = nil
	}
	for _, later := range j.after {
		if later.before--; later.before == 0 {
			free = append(free, later)
		}
	}
	return free
}

// records appends the records that a change event is about. None are appended
// where that is not known: for another event, for a wildcard (001*) or the zero id
// of an overflow, and where the header cannot be read.
func (m *Message) records(ids []string) []string {
	change, err := m.Change()
	if err != nil {
		return ids
	}
	known := len(ids)
	for _, id := range change.RecordIDs {
		if !isRecordID(id) {
			return ids[:known]
		}
		ids = append(ids, id[:15]) // the rest is a checksum
	}
	return ids
}

// isRecordID reports whether an id is that of one record.
func isRecordID(id string) bool {
	if len(id) != 15 && len(id) != 18 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return strings.Trim(id[:15], "0") != ""
}
