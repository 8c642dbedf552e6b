package chaos

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	chaosSeed   = flag.Uint64("chaos.seed", 0, "run TestChaos with this `seed` only")
	chaosFrom   = flag.Uint64("chaos.from", 1, "the first `seed` of TestChaos")
	chaosSeeds  = flag.Int("chaos.seeds", defaultSeeds, "how `many` seeds TestChaos runs")
	chaosEvents = flag.Int("chaos.events", 80, "how `many` events TestChaos publishes per seed")
)

// TestChaos plays random scenarios: a program follows many channels over both APIs while everything
// goes wrong that can, in an order that a seed decides. A model of the delivery contract judges
// each message and each save. One seed is one bubble; hours pass in it.
//
// The seed decides what is done and when, not how goroutines interleave: a failure that needs one
// interleaving may take a few runs to come again.
func TestChaos(t *testing.T) {
	var totals chaosTotals
	t.Cleanup(func() { totals.report(t) })
	first, n := *chaosFrom, *chaosSeeds
	if *chaosSeed != 0 {
		first, n = *chaosSeed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newChaos(t, seed, *chaosEvents)
				defer func() { totals.add(c) }()
				c.run()
			})
		})
	}
}

// chaosTotals is what all seeds together have seen.
type chaosTotals struct {
	mu         sync.Mutex
	seeds      int
	events     int
	deliveries int
	saves      int
	kills      int
	restarts   int
	ended      int // clients that a fault has ended for good, as it must
	resumes    int // Subscribe after Unsubscribe
	logins     int
	handshakes int
	elapsed    time.Duration // of the bubbles' time
	faults     map[string]int
	windows    map[string]int // the most messages that came again, by what went before
	worst      map[string]int // the most, of what is bounded
}

func (s *chaosTotals) add(c *chaos) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults, s.windows, s.worst = make(map[string]int), make(map[string]int), make(map[string]int)
	}
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	s.seeds++
	s.kills += c.kills
	s.restarts += c.restarts
	s.ended += c.ends
	s.resumes += c.resumes
	s.logins += c.Logins()
	s.handshakes += c.Handshakes()
	s.elapsed += c.trace.elapsed()
	s.saves += m.saves
	for _, ch := range m.channels {
		s.events += ch.published()
		s.deliveries += ch.deliveries
	}
	for name, n := range c.faults {
		s.faults[name] += n
	}
	for name, n := range m.windows {
		s.windows[name] = max(s.windows[name], n)
	}
	for name, n := range c.worst {
		s.worst[name] = max(s.worst[name], n)
	}
}

func (s *chaosTotals) report(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := 0
	for _, n := range s.faults {
		faults += n
	}
	t.Logf("%d seeds, %d events, %d deliveries, %d saves, %d faults, %d kills, %d polite restarts, %d clients ended by a fault, %d subscribed again; %d logins, %d handshakes; %s passed",
		s.seeds, s.events, s.deliveries, s.saves, faults, s.kills, s.restarts, s.ended, s.resumes, s.logins, s.handshakes, s.elapsed.Round(time.Hour))
	t.Logf("most messages that came again: %s", counts(s.windows))
	t.Logf("most of what is bounded: %s", counts(s.worst))
	t.Logf("faults: %s", counts(s.faults))
}

// counts prints numbers by name, the largest first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(of[b]-of[a], strings.Compare(a, b)) })
	var text []string
	for _, name := range names {
		text = append(text, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(text, ", ")
}
