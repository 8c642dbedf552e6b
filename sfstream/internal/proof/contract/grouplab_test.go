package contract

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const sales = "/data/Sales__chn"

// abc is the group of the tests: it comes behind zero and before last.
var (
	zero = []string{"0010"}
	abc  = []string{"001A", "001B", "001C"}
	last = []string{"001D"}

	allRecords = slices.Concat(zero, abc, last)
)

// groupLab is a lab whose channel sales has an enriched member: a change of several accounts is a
// group there.
type groupLab struct{ *lab.Lab }

func newGroupLab(t *testing.T, opts ...sfstreamtest.Option) groupLab {
	t.Helper()
	l := groupLab{lab.New(t, opts...)}
	l.Must(l.DefineMembers(sales, sfstreamtest.Member{Channel: lab.Accounts, Enriched: []string{"Name"}}))
	return l
}

// records commits one change of these accounts, one after the other.
func (l groupLab) records(groups ...[]string) {
	l.T.Helper()
	for _, ids := range groups {
		_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, Set: map[string]any{"NumberOfEmployees": 1}})
		l.Must(err)
	}
}

func recordOf(t *testing.T, m *sfstream.Message) string {
	t.Helper()
	change, err := m.Change()
	lab.Must(t, err)
	return strings.Join(change.RecordIDs, "+")
}

// follow starts the program and subscribes it to sales.
func (l groupLab) follow(opts ...sfstream.Option) {
	l.T.Helper()
	l.Start(append([]sfstream.Option{sfstream.WithReplay(sfstream.ReplayAll)}, opts...)...)
	l.Subscribe(sales)
}

// take takes these records, in this order, and handles them.
func (l groupLab) take(records ...string) {
	l.T.Helper()
	for i, want := range records {
		m := l.Receive()
		if got := recordOf(l.T, m); got != want {
			l.T.Fatalf("message %d of %d is of %s, want %s", i+1, len(records), got, want)
		}
		m.Ack()
	}
}

// want takes exactly these records: nothing else comes within a minute.
func (l groupLab) want(records ...string) {
	l.T.Helper()
	l.take(records...)
	l.nothing(time.Minute)
}

func (l groupLab) nothing(d time.Duration) {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), d)
	defer cancel()
	if m, err := l.Client.Receive(ctx); err == nil {
		l.T.Fatalf("%s comes, want nothing", recordOf(l.T, m))
	}
}

// crash ends the program, and nothing that it saves from now on is saved.
func (l groupLab) crash() {
	l.T.Helper()
	kept := l.Store.Snapshot()
	_ = l.Client.Close()
	l.Store = kept
}

// inGroups gives each of several rules the two kinds of event ids.
func inGroups(words string, run func(l groupLab)) []rule {
	in := func(ids string, opts ...sfstreamtest.Option) rule {
		return rule{number: 7, words: words + ", " + ids, run: func(t *testing.T) { run(newGroupLab(t, opts...)) }}
	}
	return []rule{in("event ids differ"), in("one event id", sfstreamtest.WithSharedEventID())}
}

// pubSubOnly says of rules that they are about the Pub/Sub API: over the Streaming API a server that
// seeks looks as if there were nothing to come.
func pubSubOnly(rules []rule) []rule {
	for i := range rules {
		rules[i].only = sfstream.PubSub
	}
	return rules
}
