package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// isGrouped reports whether a channel has groups: several events with one replay id.
func isGrouped(channel string) bool { return strings.HasSuffix(channel, "__chn") }

// groupedObject is whose changes a channel has.
func groupedObject(channel string) string {
	switch channel {
	case "/data/Sales__chn":
		return "Lead"
	case "/data/Managed__chn":
		return "Contract"
	}
	return "Case"
}

func (c *chaos) defineGrouped(channel string) error {
	object := groupedObject(channel)
	if err := c.DefineObject(object, sfstreamtest.Field{Name: "Ordinal__c", Type: "Integer"}, sfstreamtest.Field{Name: "Name", Type: "Text"}); err != nil {
		return err
	}
	member := sfstreamtest.Member{Channel: "/data/" + object + "ChangeEvent", Enriched: []string{"Name"}}
	if c.seed%2 == 0 {
		member.Filter = "Ordinal__c > 0" // as every change has
	}
	return c.DefineMembers(channel, member)
}

// groupMost is the most events of a group, less one.
const groupMost = 3

// publishGroup changes one to four records at once; the number of an event is in the id of its
// record. The model is locked.
func (c *chaos) publishGroup(ch *channelModel) {
	var ids []string
	for k := range 1 + c.ids.IntN(1+groupMost) {
		ids = append(ids, fmt.Sprintf("00Q%012d", ch.published()+1+k))
	}
	_, err := c.Change(sfstreamtest.Change{Object: groupedObject(ch.name), Type: "UPDATE", RecordIDs: ids, Set: map[string]any{"Ordinal__c": len(ids)}})
	if err != nil {
		c.model.deviateLocked("publishing on %s: %v", ch.name, err)
		return
	}
	events := c.Retained(ch.name)
	for range ids {
		ch.publish(events[len(events)-1].Number)
		c.trace.add("published %s %d, of a group of %d", ch.name, ch.published(), len(ids))
	}
}

func groupedNumber(m *sfstream.Message) (int, error) {
	change, err := m.Change()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimLeft(strings.TrimPrefix(change.RecordIDs[0], "00Q"), "0"))
}

// upToMarker is the number of the last event that a marker says is handled.
func (ch *channelModel) upToMarker(marker replaystore.Marker) int {
	n := 0
	if len(marker.ReplayID) > 0 {
		n = ch.upTo(marker.ReplayID)
	}
	if g := replayNumber(marker.Group.ReplayID); g > 0 {
		first := slices.Index(ch.replays, g)
		for k := n + 1; k < first; k++ {
			// After a fallback what is between may be missed, but not what has come to this epoch.
			if !ch.mayMiss[k] || ch.gotIn[k] == ch.epoch && !ch.handled[k] {
				return n
			}
		}
		if first > n {
			n = first - 1
			for range marker.Group.Handled {
				if n+1 < len(ch.handled) && ch.unordered(n+1, first) && !ch.handled[n+1] {
					break // another one of the group came before it
				}
				n++
			}
		}
	}
	return n
}

// unordered reports whether two events are of one group over the Streaming API: where the group is
// cut they may come on two connections, and nothing tells their order.
func (ch *channelModel) unordered(k, n int) bool {
	return ch.name == "/data/Streamed__chn" && ch.replays[k] == ch.replays[n]
}

// groupFaults part groups.
var groupFaults = []chaosFault{
	{"cut groups", func(c *chaos, _ string) string {
		n := c.random.IntN(4) - 1
		c.CutGroups(n)
		return fmt.Sprint(n)
	}},
	{"break groups", func(c *chaos, channel string) string {
		b := sfstreamtest.GroupBreak{After: 1 + c.random.IntN(4), Times: 1 + c.random.IntN(3), NewOnly: c.random.IntN(2) == 0,
			Code: pick(c, []string{"", "UNAVAILABLE", "OK"})}
		c.BreakGroups(b)
		return fmt.Sprintf("%+v", b)
	}},
}
