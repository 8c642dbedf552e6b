package sfstream

import (
	"bytes"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// provisional is what a session has brought before its turn: of two replies over the Streaming API
// the one that was written first may arrive last (bayeux/PROTOCOL.md, "Two connections"), so events
// that belong before these may be still to come. The position does not move to them until the
// session shows that nothing is missing before them. If it ends before that, they come again.
type provisional struct {
	id   []byte   // of the last event; empty: there is none
	last *Message // that event; nil: a marker must not reach it
	base []byte   // the position before the first event
}

// add notes an event that came before its turn, at a position. placed says that a marker may reach
// it.
func (p *provisional) add(m *Message, placed bool, position []byte) {
	if len(p.id) == 0 {
		p.base = position
	}
	p.id, p.last = m.ReplayID, nil
	if placed {
		p.last = m
	}
}

// isBeyond reports whether the last event is to move the position: the position is where it was
// before the first event, or before the last one.
func (p *provisional) isBeyond(position []byte) bool {
	return len(p.id) > 0 && (bytes.Equal(position, p.base) || replayid.Compare(position, p.id) < 0)
}

// isBefore reports whether the last event lies before the position: the server sends old events
// again.
func (p *provisional) isBefore(position []byte) bool {
	return len(p.id) > 0 && len(position) > 0 && replayid.Compare(p.id, position) < 0
}
