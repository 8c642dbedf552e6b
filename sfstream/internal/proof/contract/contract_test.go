package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// rule is one sentence of the delivery contract (see the package documentation), and how it is
// proved. Sub-tests are named TestContract/<number>/<transport>/<words>.
type rule struct {
	number   int
	words    string
	run      func(t *testing.T)
	only     sfstream.Transport // Auto: the rule is about both APIs
	realTime bool               // no bubble: the test starts its own, or needs real time
}

// TestContract proves the delivery contract, each sentence in a bubble of its own.
func TestContract(t *testing.T) {
	rules := slices.Concat(
		orderRules(), ackRules(), leavingRules(), ackManualRules(),
		savingRules(), lastSaveRules(), storeRules(),
		startRules(), resumeRules(), skippingRules(), troubleRules(),
		silenceRules(), streamsRules(), partingRules(), movedRules(), clockRules(),
		staleRules(), gapRules(), unknownRules(),
		duplicateRules(), groupRules(), evidenceRules(),
		memoryRules(), streamingRules(),
		schemaRules(), contentRules(),
		endRules(), backOffRules(), subscribeRules(), denialRules(), loginRules(),
		passingRules(), refusedRules(), pageRules(),
		statusRules(), toldRules(), worldRules(),
		closeRules(), callRules(), stormRules(),
	)
	groups := make(map[int][]rule)
	for _, r := range rules {
		groups[r.number] = append(groups[r.number], r)
	}
	for number := 1; number <= 12; number++ {
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			for _, transport := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
				t.Run(strings.ToLower(transport.String()), func(t *testing.T) {
					proved := slices.DeleteFunc(slices.Clone(groups[number]), func(r rule) bool {
						return r.only != sfstream.Auto && r.only != transport
					})
					if len(proved) == 0 {
						t.Error("nothing proves this rule")
					}
					for _, r := range proved {
						t.Run(r.words, func(t *testing.T) {
							if r.realTime {
								r.run(t)
								return
							}
							synctest.Test(t, r.run)
						})
					}
				})
			}
		})
	}
}

// policies are those of WithAck.
var policies = []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckOnReceive, sfstream.AckManual}

// otherThan is the API that the test is not about.
func otherThan(t *testing.T) string {
	if lab.TransportOf(t) == sfstream.CometD {
		return "pubsub"
	}
	return "cometd"
}

// following is an org that has n orders, and a client that follows them.
func following(t *testing.T, n int, opts ...sfstream.Option) (*lab.Lab, *sfstream.Client) {
	t.Helper()
	s := lab.New(t)
	s.PublishNext(lab.Orders, n)
	return s, s.FollowFromOldest(opts...)
}

// receive takes the next message.
func receive(t *testing.T, c *sfstream.Client) *sfstream.Message {
	t.Helper()
	m, err := c.Receive(t.Context())
	lab.Must(t, err)
	return m
}

// expectGaps expects that so many gaps were told since the test began.
func expectGaps(l *lab.Lab, want int) {
	l.T.Helper()
	if n := l.GapCount(); n != want {
		l.T.Errorf("%d gaps, want %d", n, want)
	}
}

// expectLogins expects so many logins since the test began.
func expectLogins(l *lab.Lab, want int) {
	l.T.Helper()
	if n := l.Logins(); n != want {
		l.T.Errorf("%d logins, want %d", n, want)
	}
}

// failSubscribe fails the next n subscriptions where they are decided: in GetTopic, or in the
// answer to the subscribe.
func failSubscribe(t *testing.T, s *sfstreamtest.Server, n int, code string) {
	if lab.TransportOf(t) == sfstream.CometD {
		s.Reject("", n, code)
		return
	}
	s.FailGetTopic(n, code)
}

// each makes a rule like r for each of some values, which its words name.
func each[V any](r rule, values []V, run func(t *testing.T, value V)) []rule {
	var rules []rule
	for _, value := range values {
		one := r
		one.words, one.run = fmt.Sprintf(r.words, value), func(t *testing.T) { run(t, value) }
		rules = append(rules, one)
	}
	return rules
}
