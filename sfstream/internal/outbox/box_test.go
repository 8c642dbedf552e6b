package outbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var errTest = errors.New("refused")

// TestOutcomesAreTrueWhateverTheServerDoes sends events to a server that loses answers, refuses,
// resets and mixes up its results, and gives up at a random moment. What the events say must be so.
func TestOutcomesAreTrueWhateverTheServerDoes(t *testing.T) {
	payload := make([]byte, 100_000)
	for range 500 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		bus, all := map[int]int{}, []*Event[int]{}
		box := &Box[int]{Resend: r.IntN(2) == 0}
		for i := range 1 + r.IntN(500) {
			e := &Event[int]{Of: i, ID: fmt.Sprint("id", i), Payload: payload[:r.IntN(len(payload))]}
			all = append(all, e)
			box.Add(e)
		}
		newest, rounds := -1, 1+r.IntN(60)
		for ; rounds > 0 && box.Len() > 0; rounds-- {
			var requests [][]*Event[int]
			for range 1 + r.IntN(3) { // a stream has several requests under way
				if request := box.Cut(nil); len(request) > 0 {
					requests = append(requests, request)
				}
			}
			for _, request := range requests {
				newest = checkRequest(t, seed, request, newest)
				serve(r, box, request, bus)
			}
			for _, request := range slices.Backward(requests) {
				box.Return(request)
			}
		}
		box.End(errTest)
		for i, e := range all {
			there := bus[i]
			bad := !e.Done || e.Outcome == Published && there == 0 || (e.Outcome == NotSent || e.Outcome == Refused) && there > 0 ||
				!box.Resend && there > 1 || (e.Err == nil) != (e.Outcome == Published)
			if bad {
				t.Fatalf("seed %d, resend %v: event %d is there %d times and has outcome %d, done %v, error %v", seed, box.Resend, i, there, e.Outcome, e.Done, e.Err)
			}
		}
	}
}

// checkRequest checks the bounds of a request, and that its events are in order. It returns the
// newest event so far: new ones follow each other.
func checkRequest(t *testing.T, seed uint64, request []*Event[int], newest int) int {
	t.Helper()
	bytes, last := 0, -1
	for _, e := range request {
		if e.Done || e.Of <= last || e.Of > newest+1 {
			t.Fatalf("seed %d: event %d comes after %d, done %v, newest was %d", seed, e.Of, last, e.Done, newest)
		}
		last, newest, bytes = e.Of, max(newest, e.Of), bytes+e.size()
	}
	if len(request) > MaxEvents || bytes > MaxBytes && len(request) > 1 {
		t.Fatalf("seed %d: a request of %d events and %d bytes", seed, len(request), bytes)
	}
	return newest
}

// serve does with a request what a server, or the way to it, may do.
func serve(r *rand.Rand, box *Box[int], request []*Event[int], bus map[int]int) {
	switch r.IntN(8) {
	case 0:
		box.FailAll(request, Setback{NotSent, Again}, errTest)
		return
	case 1:
		box.FailAll(request, Setback{Refused, Again}, errTest)
		return
	case 2:
		for _, e := range request[:r.IntN(len(request)+1)] {
			bus[e.Of]++
		}
		box.FailAll(request, Setback{InDoubt, []Next{Again, Smaller, GiveUp}[r.IntN(3)]}, errTest)
		return
	}
	box.Answered()
	var results []Result
	for _, e := range request {
		result := Result{Key: e.ID}
		if r.IntN(5) == 0 {
			result.Err = errTest
			if r.IntN(2) == 0 {
				result.Key = "" // as Salesforce answers where the id was not set
			}
		} else {
			bus[e.Of]++
			result.ReplayID = []byte{1}
		}
		results = append(results, result)
	}
	if r.IntN(4) == 0 && !slices.ContainsFunc(results, func(r Result) bool { return r.Key == "" }) {
		r.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	}
	if r.IntN(6) == 0 {
		results = results[r.IntN(len(results)):]
	}
	Match(request, results, func(e *Event[int], result *Result) {
		switch {
		case result == nil:
			box.Fail(e, Setback{InDoubt, AFewMore}, errTest)
		case result.Err != nil:
			box.Fail(e, Setback{Refused, []Next{GiveUp, Again, AFewMore}[r.IntN(3)]}, result.Err)
		default:
			e.Publish(result.ReplayID)
		}
	})
}

func TestARequestHasThreeMegabytesAndTwoHundredEvents(t *testing.T) {
	for _, tc := range []struct{ events, size, want int }{
		{1000, 10, 200}, {200, 10, 200}, {10, MaxEvent, 2}, {5, 999_000, 3}, {1, 4_000_000, 1}, {0, 0, 0},
	} {
		var box Box[int]
		for i := range tc.events {
			box.Add(&Event[int]{Of: i, Payload: make([]byte, tc.size)})
		}
		if got := len(box.Cut(nil)); got != tc.want {
			t.Errorf("a request has %d of %d events of %d bytes, want %d", got, tc.events, tc.size, tc.want)
		}
	}
}

// A request that is reset because it is too large would be reset for ever.
func TestWhatIsResetIsSplitDownToTheEventAtFault(t *testing.T) {
	for _, alone := range []bool{false, true} {
		box, n := &Box[int]{Resend: true}, 200
		if alone {
			n = 1
		}
		const bad = 0
		var poison *Event[int]
		for i := range n {
			e := &Event[int]{Of: i}
			if box.Add(e); i == bad {
				poison = e
			}
		}
		attempts := 0
		for ; box.Len() > 0; attempts++ {
			request := box.Cut(nil)
			if slices.Contains(request, poison) {
				box.FailAll(request, Setback{InDoubt, Smaller}, errTest)
			} else {
				box.Answered()
				for _, e := range request {
					e.Publish([]byte{1})
				}
			}
			box.Return(request)
		}
		if poison.Outcome != InDoubt || !errors.Is(poison.Err, errTest) {
			t.Errorf("the event at fault has outcome %d, error %v", poison.Outcome, poison.Err)
		}
		if attempts > 40 || attempts < 8 {
			t.Errorf("it took %d requests", attempts)
		}
	}
}

func TestATooLargeRequestIsSplitAtOnce(t *testing.T) {
	box := &Box[int]{}
	for i := range 3 {
		box.Add(&Event[int]{Of: i})
	}
	var sizes []string
	for box.Len() > 0 {
		request := box.Cut(nil)
		sizes = append(sizes, fmt.Sprint(len(request)))
		box.FailAll(request, Setback{Refused, Smaller}, errTest)
		box.Return(request)
	}
	if got := strings.Join(sizes, " "); got != "3 2 1 1 1" {
		t.Errorf("requests of %s events, want 3 2 1 1 1", got)
	}
}

func TestAResultIsThatOfItsKeyElseOfItsPlace(t *testing.T) {
	request := []*Event[int]{{Of: 0, ID: "a"}, {Of: 1, ID: "b"}, {Of: 2, ID: "c"}}
	for _, tc := range []struct{ keys, want string }{
		{"a b c", "0 1 2"},
		{"c a b", "1 2 0"},
		{"a - c", "0 1 2"},
		{"- - -", "0 1 2"},
		{"x y z", "0 1 2"}, // keys of the server's own
		{"b - a", "2 0 -"}, // the result without a key may be anybody's
		{"a b", "0 1 -"},
		{"- c", "- - 1"},
		{"a a c", "0 - 2"},
		{"", "- - -"},
	} {
		var results []Result
		for _, key := range strings.Fields(tc.keys) {
			results = append(results, Result{Key: strings.Trim(key, "-"), ReplayID: []byte{byte('0' + len(results))}})
		}
		var got []string
		Match(request, results, func(_ *Event[int], r *Result) {
			if r == nil {
				got = append(got, "-")
				return
			}
			got = append(got, string(r.ReplayID))
		})
		if strings.Join(got, " ") != tc.want {
			t.Errorf("results %q are given as %q, want %q", tc.keys, strings.Join(got, " "), tc.want)
		}
	}
}

func TestIDsAreDistinctUUIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range IDs(1000) {
		if len(id) != MaxID || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) || strings.Count(id, "-") != 4 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}
