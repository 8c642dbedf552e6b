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

// rule is one sentence of the delivery contract (see the package documentation),
// and how it is proved. Sub-tests are named TestContract/<number>/<transport>/<words>.
type rule struct {
	number   int
	words    string
	run      func(t *testing.T)
	realTime bool // no bubble: the test starts its own, or needs real time

	cometdOnly bool // it is about the Streaming API
	pubsubOnly bool // it is about the Pub/Sub API; see also the table pubsubOnly
}

func (r rule) appliesTo(transport string) bool {
	if transport == "cometd" {
		return !r.pubsubOnly && !isPubSubOnly(r.words)
	}
	return !r.cometdOnly
}

// TestContract proves the delivery contract, each sentence in a bubble of its own.
func TestContract(t *testing.T) {
	rules := slices.Concat(
		contractOrder(), contractAck(), contractSaving(), contractMemory(), contractClose(), contractCalls(),
		contractReplayRules(), contractStreaming(), contractSilence(), contractLogin(), contractStatus(), contractGroups(),
		contractGaps(), contractClock(), contractStore(), contractStorm(),
		contractWorld(), contractContent(),
	)
	groups := make(map[int][]rule)
	for _, r := range rules {
		groups[r.number] = append(groups[r.number], r)
	}
	for number := 1; number <= 12; number++ {
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			for _, transport := range []string{"pubsub", "cometd"} {
				t.Run(transport, func(t *testing.T) {
					proved := slices.DeleteFunc(slices.Clone(groups[number]), func(r rule) bool { return !r.appliesTo(transport) })
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

// pubsubOnly are the rules that do not apply to the Streaming API, by the beginning
// of their words, and why. All others are the same on both.
var pubsubOnly = map[string]string{
	"a keepalive id is saved":                                           "a connect reply names no replay id",
	"an event that comes after a keepalive is never skipped":            "a connect reply names no replay id to resume after",
	"ReplayNew may miss what comes before routing is live":              "a CometD subscribe is live when it is answered",
	"after FallbackNew an outage before the next attempt loses nothing": "a stale id is the answer to Subscribe, which waits out no such outage",
	"an INVALID_ARGUMENT that is":                                       "gRPC statuses; TestStreamingErrors has the 400s",
	"a blocked body stops the demand":                                   "one reply may pass the bound; the Streaming API has rules of its own",
	"the bound is per channel":                                          "the session stops polling for all; it has rules of its own",
	"break does not raise the demand":                                   "there is no credit; it has rules of its own",
	"under AckManual a channel at the bound waits for Ack":              "there is no credit; it has rules of its own",
	"memory grows with unacked messages":                                "it counts credit",
	"prefetch ":                                                         "there is no credit; it has rules of its own",
	"a schema ":                                                         "JSON needs no schema",
	"a transient failure of GetSchema":                                  "JSON needs no schema",
	"an unparsable schema":                                              "JSON needs no schema",
	"an event without a schema id":                                      "JSON needs no schema",
	"a GetSchema":                                                       "JSON needs no schema",
	"a token that GetSchema refuses":                                    "JSON needs no schema",
	"an undecodable payload":                                            "the server would not send what is no JSON",
	"a bad event does not come again":                                   "the server would not send what is no JSON",
	"a custom backoff is used, one per channel":                         "one session has one backoff",
	"ReplayAfter starts strictly after an id, of 10 bytes or 8":         "the id is a number",
	"markers of 8 bytes are taken as they are":                          "the id is a number",
	"a malformed header ends at once":                                   "there is no such error",
	"what the stream rejects after GetTopic's yes":                      "there is one answer, to the subscribe",
	"an accepted channel that is answered UNIMPLEMENTED":                "gRPC statuses",
	"an accepted channel that is answered PERMISSION_DENIED":            "gRPC statuses",
	"an accepted channel that is answered NOT_FOUND":                    "gRPC statuses",
	"Close works with every buffer full":                                "one reply may pass the bound",
}

func isPubSubOnly(words string) bool {
	for beginning := range pubsubOnly {
		if strings.HasPrefix(words, beginning) {
			return true
		}
	}
	return false
}

// otherThan is the API that the test is not about.
func otherThan(t *testing.T) string {
	if lab.TransportOf(t) == sfstream.CometD {
		return "pubsub"
	}
	return "cometd"
}

// failSubscribe fails the next n subscriptions where they are decided: in
// GetTopic, or in the answer to the subscribe.
func failSubscribe(t *testing.T, s *sfstreamtest.Server, n int, code string) {
	if lab.TransportOf(t) == sfstream.CometD {
		s.Reject("", n, code)
		return
	}
	s.FailGetTopic(n, code)
}

// names gives each of several rules its own words.
func names(format string, of []string, run func(t *testing.T, of string), number int) []rule {
	var rules []rule
	for _, one := range of {
		rules = append(rules, rule{number: number, words: fmt.Sprintf(format, one), run: func(t *testing.T) { run(t, one) }})
	}
	return rules
}
