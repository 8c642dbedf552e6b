package sfstream

import (
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// job is a message that a Run has taken from the queue and that is not settled.
type job struct {
	msg    *Message
	at     int // its index in runner.held
	scope  *scope
	keys   []string // its order keys; none: it is ordered against all keys of its scope
	before int      // how many unsettled jobs it waits for
	after  []*job   // the jobs that wait for this one

	// failures are the last errors of the message's handlers, in their order, where a Mux has
	// several and one of them has failed; nil: none has. No other state of a message outlives an
	// attempt, and this ends with the job.
	failures []error

	outcome
}

// outcome is the result of a job's last attempt: the job is settled, is to be retried, or has
// failed and ends Run.
type outcome struct {
	retryAt time.Time       // when to call the handler again; zero: never
	err     error           // what Run returns; nil: the job does not end Run
	backOff backoff.BackOff // the waits of this job's retries; nil: it has not failed yet
}

// scope is the set of jobs whose keys are compared: those of one channel, or those of all channels
// if the program gives the keys (OrderBy).
//
// Invariant: it is enough for a new job to wait, for each of its keys, for that key's job in
// lastOf, or for last if the key has none there. All earlier jobs come before these.
type scope struct {
	lastOf map[string]*job // by key: its latest unsettled job, of those that came after last
	last   *job            // the latest unsettled job without keys; nil: none
}

// order decides which job has to wait for which. A job waits only for jobs that came before it, so
// the oldest one is always free to go and nothing can wait in a circle.
type order struct {
	key    func(*Message) string // the function of OrderBy; nil: change events by record
	scopes map[string]*scope     // by channel; one scope under "" if the program gives the keys
}

// add makes a job wait for those that it has to come after. It reports whether there are none.
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

// scopeOf sets the keys of a job and returns the scope in which they are compared.
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

// remove forgets a settled job and appends the jobs that waited for it alone to free.
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

// records appends the ids of the records that a change event names. It appends none if they are not
// known: for an event of another kind, for a gap's wildcard (001*), for the zero id of an overflow,
// and if the header cannot be read.
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
