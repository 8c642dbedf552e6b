package sfstreamtest

import "time"

// cometdCounts counts what happened since the start. The mutex of bayeux guards it.
type cometdCounts struct {
	handshakes, connects, open, duplicates, disconnects int
	begun                                               int // sessions
}

// CometDRequest is a message that came in on CometD.
type CometDRequest struct {
	Kind    string // handshake, connect, subscribe, unsubscribe, disconnect, or "" for others
	Channel string // the channel of a subscribe or unsubscribe, with its filter
	At      time.Time
	Bytes   int // the size of the whole request
}

// keptRequests is how many requests CometDRequests remembers.
const keptRequests = 10_000

// noteRequest counts the messages of a request.
func (s *Server) noteRequest(x *exchange) {
	b := s.bayeux
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range x.messages {
		m := &x.messages[i]
		kind := m.kind()
		switch kind {
		case "handshake":
			b.counts.handshakes++
		case "connect":
			b.counts.connects++
		case "disconnect":
			b.counts.disconnects++
		}
		if len(b.requests) == 2*keptRequests {
			b.requests = append(b.requests[:0], b.requests[keptRequests:]...)
		}
		b.requests = append(b.requests, CometDRequest{Kind: kind, Channel: m.name(), At: time.Now(), Bytes: x.bytes})
	}
}

func (s *Server) held(n int) {
	s.bayeux.mu.Lock()
	defer s.bayeux.mu.Unlock()
	s.bayeux.counts.open += n
}

func (s *Server) count(get func(*bayeux) int) int {
	s.bayeux.mu.Lock()
	defer s.bayeux.mu.Unlock()
	return get(s.bayeux)
}

// Sessions returns how many Bayeux sessions live. If a client left without a disconnect, its
// session lives until its connect has been held and its window has passed.
func (s *Server) Sessions() int { return s.count(func(b *bayeux) int { return len(b.sessions) }) }

// Handshakes returns how many handshakes came in, with or without success.
func (s *Server) Handshakes() int { return s.count(func(b *bayeux) int { return b.counts.handshakes }) }

// Connects returns how many connects came in.
func (s *Server) Connects() int { return s.count(func(b *bayeux) int { return b.counts.connects }) }

// OpenConnects returns how many connects are held now. A connect whose client has gone is still
// held, see Sessions.
func (s *Server) OpenConnects() int { return s.count(func(b *bayeux) int { return b.counts.open }) }

// DuplicateConnects returns how often a connect came in while another one of the same session was
// held for a client that was still there. A client must never do that.
func (s *Server) DuplicateConnects() int {
	return s.count(func(b *bayeux) int { return b.counts.duplicates })
}

// Disconnects returns how many disconnects came in.
func (s *Server) Disconnects() int {
	return s.count(func(b *bayeux) int { return b.counts.disconnects })
}

// CometDRequests returns the history of the messages that came in on CometD: the last 10,000 at
// least.
func (s *Server) CometDRequests() []CometDRequest {
	s.bayeux.mu.Lock()
	defer s.bayeux.mu.Unlock()
	return append([]CometDRequest(nil), s.bayeux.requests...)
}
