package sfstream

import (
	"slices"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// inOrder sorts events that came on two connections by their replay ids. Those
// without one stay behind the event that they came after.
func inOrder(messages []Message) []Message {
	type run struct{ first, end int }
	var runs []run
	for i := range messages {
		if len(messages[i].ReplayID) > 0 || len(runs) == 0 {
			runs = append(runs, run{i, i})
		}
		runs[len(runs)-1].end = i + 1
	}
	sorted := true
	for i := 1; i < len(runs) && sorted; i++ {
		sorted = replayid.Compare(messages[runs[i-1].first].ReplayID, messages[runs[i].first].ReplayID) <= 0
	}
	if sorted {
		return messages
	}
	slices.SortStableFunc(runs, func(a, b run) int { return replayid.Compare(messages[a.first].ReplayID, messages[b.first].ReplayID) })
	ordered := make([]Message, 0, len(messages))
	for _, r := range runs {
		ordered = append(ordered, messages[r.first:r.end]...)
	}
	return ordered
}
