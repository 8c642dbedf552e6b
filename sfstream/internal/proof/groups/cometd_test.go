package groups

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// bayeuxServer serves an eventLog as the Streaming API does, without a network.
type bayeuxServer struct {
	log  *eventLog
	seed uint64
	now  *bayeuxSession // the only one; log.mu guards it
}

type bayeuxSession struct {
	id       string
	rng      *rand.Rand
	follows  bool
	cursor   int
	connects int
	left     int  // events until it ends; negative: it does not
	recent   bool // it began at new or was sent an event of the last minutes: it cannot be behind
	ended    chan struct{}
}

type bayeuxMessage struct {
	ID, Channel, ClientID, Subscription string
	Ext                                 struct{ Replay json.RawMessage }
}

var errConnLost = errors.New("read: connection reset by peer")

func (b *bayeuxServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return dateServer{}.RoundTrip(r)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var msgs []bayeuxMessage
	if err := json.Unmarshal(text, &msgs); err != nil {
		return nil, err
	}
	time.Sleep(time.Millisecond)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	b.log.mu.Lock()
	if time.Now().Before(b.log.down) {
		b.log.mu.Unlock()
		return nil, errConnLost
	}
	s := b.now
	if msgs[0].Channel == "/meta/handshake" {
		b.log.opens++
		s = &bayeuxSession{id: fmt.Sprintf("client%d", b.log.opens), rng: rand.New(rand.NewPCG(b.seed, b.log.opens)), left: -1, ended: make(chan struct{})}
		if b.log.shape.perBreak > 0 && !b.log.calm {
			s.left = s.rng.IntN(b.log.shape.perBreak)
		}
		if b.now != nil {
			close(b.now.ended)
		}
		b.now = s
	}
	b.log.mu.Unlock()
	var parts []string
	for _, m := range msgs {
		if m.Channel != "/meta/handshake" && (s == nil || m.ClientID != s.id) {
			parts = append(parts, fmt.Sprintf(`{"channel":%q,"id":%q,"successful":false,"error":"403::Unknown client","advice":{"interval":0,"reconnect":"handshake"}}`, m.Channel, m.ID))
			continue
		}
		switch m.Channel {
		case "/meta/connect":
			more, err := b.connect(r, s, m)
			if err != nil {
				return nil, err
			}
			parts = append(parts, more...)
		case "/meta/handshake":
			parts = append(parts, fmt.Sprintf(`{"ext":{"replay":true},"minimumVersion":"1.0","clientId":%q,"supportedConnectionTypes":["long-polling"],"channel":"/meta/handshake","id":%q,"version":"1.0","successful":true}`, s.id, m.ID))
		default:
			more, err := b.call(s, m)
			if err != nil {
				return nil, err
			}
			parts = append(parts, more...)
		}
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[" + strings.Join(parts, ",") + "]"))}, nil
}

// call answers what is neither a handshake nor a connect.
func (b *bayeuxServer) call(s *bayeuxSession, m bayeuxMessage) (parts []string, err error) {
	l := b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Channel == "/meta/subscribe" && m.Subscription == lab.AllChanges {
		var ids map[string]json.Number
		if err := json.Unmarshal(m.Ext.Replay, &ids); err != nil {
			return nil, err
		}
		replay := ids[lab.AllChanges].String()
		l.logLocked("subscribe %s", replay)
		s.follows = true
		close(l.more) // a connect that is held may have something now
		l.more = make(chan struct{})
		switch replay {
		case "-1":
			s.cursor, s.recent = len(l.events), true
		case "-2":
			s.cursor = l.oldest
		default:
			s.cursor = l.after(idNumber([]byte(replay)))
		}
	}
	if l.shape.ride && !l.calm && s.follows && m.Channel != "/meta/disconnect" {
		parts = b.rideLocked(s)
	}
	if m.Channel == "/meta/unsubscribe" && m.Subscription == lab.AllChanges {
		s.follows = false
	}
	if !l.calm && m.Channel != "/meta/disconnect" && s.rng.Float64() < l.shape.lose {
		l.logLocked("reply to %s lost", m.Channel)
		return nil, errConnLost
	}
	if m.Channel == "/meta/disconnect" && b.now == s {
		b.now = nil
		close(s.ended)
	}
	reply := fmt.Sprintf(`{"clientId":%q,"channel":%q,"id":%q,"subscription":%q,"successful":true}`, s.id, m.Channel, m.ID, m.Subscription)
	if s.rng.IntN(2) == 0 {
		return append(parts, reply), nil
	}
	return append([]string{reply}, parts...), nil
}

// rideLocked is eventsLocked for what comes with the reply to a call: whole groups. Where one came
// in parts on both connections, nothing would tell their order.
func (b *bayeuxServer) rideLocked(s *bayeuxSession) (parts []string) {
	same := func() bool {
		events := b.log.events
		return s.cursor > 0 && s.cursor < len(events) && events[s.cursor-1].ID == events[s.cursor].ID
	}
	if same() {
		return nil
	}
	for parts = b.eventsLocked(s); len(parts) > 0 && same(); s.cursor++ {
		parts = append(parts, b.log.events[s.cursor].JSON())
	}
	return parts
}

// eventsLocked takes the next events out of the session's queue.
func (b *bayeuxServer) eventsLocked(s *bayeuxSession) (parts []string) {
	l := b.log
	avail := len(l.events) - s.cursor
	if !s.follows || avail == 0 || s.left == 0 && !l.calm {
		return nil
	}
	n := 1 + s.rng.IntN(min(avail, l.shape.chunk))
	if s.left > 0 && !l.calm {
		n = min(n, s.left)
		s.left -= n
	}
	l.logLocked("send %d..%d", s.cursor, s.cursor+n-1)
	for range n {
		if len(l.sent) > 0 && !l.calm && s.rng.Float64() < l.shape.resend {
			if old := l.events[l.sent[max(0, len(l.sent)-1-s.rng.IntN(300))]]; old.N < s.cursor {
				l.logLocked("resend %d", old.N)
				parts = append(parts, old.JSON())
				s.recent = s.recent || time.Since(old.At) < 11*time.Minute
			}
		}
		e := l.events[s.cursor]
		s.recent = s.recent || time.Since(e.At) < 11*time.Minute
		parts = append(parts, e.JSON())
		s.cursor++
	}
	return parts
}

// delivered notes what a reply that is not lost has brought.
func (b *bayeuxServer) deliveredLocked(s *bayeuxSession, from int) {
	for n := from; n < s.cursor; n++ {
		b.log.sent = append(b.log.sent, n)
	}
}

func (b *bayeuxServer) connect(r *http.Request, s *bayeuxSession, m bayeuxMessage) ([]string, error) {
	l := b.log
	reply := fmt.Sprintf(`{"clientId":%q,"channel":"/meta/connect","id":%q,"successful":true}`, s.id, m.ID)
	l.mu.Lock()
	s.connects++
	first := s.connects == 1
	chatty := !l.calm && s.rng.Float64() < l.shape.chatter
	stalls := !l.calm && !s.recent && s.rng.Float64() < l.shape.stall
	lost := !l.calm && s.rng.Float64() < l.shape.lose
	chat := time.Duration(s.rng.IntN(900)) * time.Millisecond
	l.mu.Unlock()
	timeout := time.NewTimer(110 * time.Second)
	defer timeout.Stop()
	if chatty && !first {
		time.Sleep(chat)
		l.logf("empty at once")
		return []string{reply}, nil
	}
	for {
		l.mu.Lock()
		if time.Now().Before(l.down) {
			l.mu.Unlock()
			return nil, errConnLost
		}
		from, more := s.cursor, l.more
		var parts []string
		over := s.left == 0 && !l.calm
		if !stalls {
			parts = b.eventsLocked(s)
		}
		if len(parts) > 0 || first || over {
			defer l.mu.Unlock()
			if lost {
				l.logLocked("reply lost")
				return nil, errConnLost
			}
			b.deliveredLocked(s, from)
			if over {
				l.logLocked("session ends")
				switch s.rng.IntN(3) {
				case 0:
					return append(parts, fmt.Sprintf(`{"channel":"/meta/connect","id":%q,"successful":false,"error":"403::Unknown client","advice":{"interval":0,"reconnect":"handshake"}}`, m.ID)), nil
				case 1:
					return append(parts, reply, fmt.Sprintf(`{"channel":"/meta/disconnect","clientId":%q,"successful":true}`, s.id)), nil
				default:
					return nil, errConnLost
				}
			}
			return append(parts, reply), nil
		}
		if stalls {
			more = nil
		}
		l.mu.Unlock()
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-s.ended:
			return []string{reply}, nil
		case <-more:
		case <-timeout.C:
			if stalls {
				l.logf("held in vain, seeking")
			} else {
				l.logf("held in vain")
			}
			return []string{reply}, nil
		}
	}
}
