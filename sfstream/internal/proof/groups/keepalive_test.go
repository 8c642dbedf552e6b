package groups

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

func eventsOf(at time.Time, ids ...[2]int) *eventbus.FetchResponse {
	resp := &eventbus.FetchResponse{PendingNumRequested: 10}
	for _, id := range ids { // replay id and number
		e := scripted.AccountChange{N: id[1], ID: uint64(id[0]), At: at, Tx: fmt.Sprint("tx", id[0]), Seq: id[1]}
		resp.Events = append(resp.Events, &eventbus.ConsumerEvent{ReplayId: idBytes(e.ID),
			Event: &eventbus.ProducerEvent{Id: fmt.Sprint("id", e.N), SchemaId: "S", Payload: e.Avro()}})
		resp.LatestReplayId = idBytes(e.ID)
	}
	return resp
}

// TestKeepaliveInsideAnUnexpectedGroup: a keepalive names the event that the server has sent last,
// and then others of its id come on a channel of which nobody knew that it has groups. From then on
// none of them may be lost.
func TestKeepaliveInsideAnUnexpectedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		script := &scripted.Streams{Answer: func(stream int, first *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
			switch {
			case stream == 1 && sent == 0:
				return eventsOf(now, [2]int{99, 1}, [2]int{100, 2}), nil
			case stream == 1 && sent == 1:
				return &eventbus.FetchResponse{PendingNumRequested: 10, LatestReplayId: idBytes(100)}, nil
			case stream == 1 && sent == 2:
				return eventsOf(now, [2]int{100, 3}), nil
			case stream > 1 && sent == 0 && binary.BigEndian.Uint64(first.ReplayId) < 100:
				return eventsOf(now, [2]int{100, 2}, [2]int{100, 3}, [2]int{100, 4}, [2]int{101, 5}), nil
			case stream > 1 && sent == 0:
				return eventsOf(now, [2]int{101, 5}), nil
			case stream == 1:
				return nil, io.EOF
			}
			return nil, nil // held
		}}
		c := (&scripted.Org{}).Client(t, sfstream.WithTransport(sfstream.PubSub), script.Option(), (&pubsubServer{}).options())
		lab.Must(t, c.Subscribe(t.Context(), lab.Accounts))
		scripted.ExpectChanges(t, c, 1, 2, 3, 4, 5)
	})
}
