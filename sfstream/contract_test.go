package sfstream_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// rule is one sentence of the delivery contract (see the package documentation),
// and how it is proved. Sub-tests are named TestContract/<number>/<transport>/<words>.
type rule struct {
	number   int
	words    string
	run      func(t *testing.T)
	realTime bool // no bubble: the test starts its own, or needs real time
}

// TestContract proves the delivery contract, each sentence in a bubble of its own.
func TestContract(t *testing.T) {
	rules := slices.Concat(
		contractOrder(), contractAck(), contractSaving(), contractMemory(), contractClose(), contractCalls(), contractReplayRules(),
	)
	groups := make(map[int][]rule)
	for _, r := range rules {
		groups[r.number] = append(groups[r.number], r)
	}
	for number := range 13 {
		if len(groups[number]) == 0 {
			continue
		}
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			t.Run("pubsub", func(t *testing.T) {
				for _, r := range groups[number] {
					t.Run(r.words, func(t *testing.T) {
						if r.realTime {
							r.run(t)
							return
						}
						synctest.Test(t, r.run)
					})
				}
			})
		})
	}
}
