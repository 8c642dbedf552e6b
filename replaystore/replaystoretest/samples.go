package replaystoretest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

const (
	org      = "00D000000000062EAA"
	otherOrg = "00Dxx0000001gEREAY"
)

var order = replaystore.Key{OrgID: org, API: "pubsub", Channel: "/event/Order__e"}

func numbered(i int) replaystore.Key {
	return replaystore.Key{OrgID: org, API: "pubsub", Channel: fmt.Sprintf("/event/Number_%d__e", i)}
}

// markers returns markers of all shapes, new ones at each call.
func markers() []replaystore.Marker {
	date := time.Date(2026, 2, 28, 23, 59, 59, 987e6, time.UTC)
	live := time.Now()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []replaystore.Marker{
		{ReplayID: []byte{0, 0, 0, 0, 0, 0x12, 0xd6, 0x87}, Date: date, Live: live},
		{ReplayID: []byte{0, 1, 0, 0, 0, 0, 0, 0x12, 0xd6, 0x87}, Date: date},
		{ReplayID: []byte("17234567"), Live: live},
		{ReplayID: []byte("0017")},
		{ReplayID: make([]byte, 8), Date: date.In(time.FixedZone("west", -8*3600))},
		{ReplayID: bytes.Repeat(every, 16), Date: date, Live: live},
		{Live: live},
		{ReplayID: []byte{}, Date: date, Live: live},
		{Date: time.Unix(0, 0)},
		{ReplayID: []byte("17"), Date: date, Live: live, Followed: live.Add(time.Hour)},
		{ReplayID: []byte("17"), Date: date, Live: live, Group: replaystore.Group{ReplayID: []byte("18"), Date: date, Handled: []uint64{1, 1<<64 - 1, 0}}},
		{Live: live, Group: replaystore.Group{ReplayID: every, Handled: make([]uint64, replaystore.MaxHandled)}},
		{Date: time.Date(1969, 7, 20, 20, 17, 40, 1e6, time.UTC), Live: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)},
		{},
	}
}

// nastyKeys returns keys that a careless encoding would mistake for one another.
func nastyKeys() []replaystore.Key {
	keys := []replaystore.Key{
		order,
		{OrgID: org, API: "cometd", Channel: order.Channel},
		{OrgID: otherOrg, API: "pubsub", Channel: order.Channel},
		{OrgID: org, API: "pubsub", Channel: "/event/order__e"},
		{OrgID: org, API: "pubsub", Channel: "/event/Order__e/"},
		{OrgID: org, API: "pubsub", Channel: "event/Order__e"},
		{OrgID: org, API: "pubsub/", Channel: "event/Order__e"},
		{OrgID: org, API: "pubsub/event", Channel: "/Order__e"},
		{OrgID: org + "/pubsub", API: "", Channel: "/event/Order__e"},
		{OrgID: "", API: org + "/pubsub", Channel: "/event/Order__e"},
		{OrgID: org, API: "pubsub%2F", Channel: "event/Order__e"},
		{},
		{Channel: "/u/Grüße"},
		{Channel: "/u/Gru\u0308ße"},
		{Channel: "/u/日本語 🚚"},
	}
	for _, sep := range []string{"/", "|", ":", ";", ",", ".", " ", "\t", "\n", "\x00", "\x1f", `\`, `"`, "'", "%", "%2F", "*", "{", "}", "[", "]", "_"} {
		keys = append(keys,
			replaystore.Key{OrgID: "a", API: "b" + sep + "c", Channel: "d"},
			replaystore.Key{OrgID: "a" + sep + "b", API: "c", Channel: "d"},
			replaystore.Key{OrgID: "a", API: "b", Channel: "c" + sep + "d"},
			replaystore.Key{OrgID: "a", API: "b", Channel: sep + "c" + sep + "d" + sep},
		)
	}
	return keys
}
