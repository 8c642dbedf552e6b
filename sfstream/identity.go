package sfstream

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// Key is what to deduplicate on: never empty, the same at every delivery of an event, and another
// for every other event of the channel in this org. Channel and org are not in it: where events of
// several go into one place, they belong beside it.
//
//   - Of a platform event it is the UUID, so that an event that was published twice
//     in doubt has one key. Where its publisher has set an id that is no UUID, or
//     there is none (Streaming API of old versions), it is the replay id.
//   - Of a change event it is the replay id and a hash of entity, change type, record
//     ids, transaction key and sequence number: several change events of one
//     transaction can have one replay id and one ID, and what a channel's enriched
//     fields hold may be another value at the next delivery. Where the header cannot
//     be read, the hash is of ID and payload.
//   - Of a PushTopic's and a generic event it is the replay id.
//   - Of an event without any of these it is a hash of ID and payload.
//
// It has at most 100 characters of ASCII, and its form is not for parsing. Replay ids look
// different over the two APIs, and so do the keys of change events: who changes the API of a
// channel handles what comes again as new. A key does not hold what its parts do not: a publisher
// that sets one UUID for all its events gives them one key, and where Salesforce begins its replay
// ids anew (an org that is moved, a sandbox that is refreshed or updated) a key of before can come
// again for another event. So keys should be forgotten: after the three days for which Salesforce
// keeps events, none is needed.
func (m *Message) Key() string {
	if m.isChange() {
		sum := m.sum()
		return m.replayText() + "-" + hex.EncodeToString(sum[:keySum])
	}
	if isUUID(m.ID) {
		return m.ID
	}
	if len(m.ReplayID) > 0 {
		return m.replayText()
	}
	sum := m.sum()
	return hex.EncodeToString(sum[:keySum])
}

// keySum is how much of a SHA-256 a key holds.
const keySum = 16

// replayText prints the replay id. One longer than any that Salesforce has sent is shortened to a
// hash: a key has an end.
func (m *Message) replayText() string {
	if len(m.ReplayID) > 32 {
		sum := sha256.Sum256(m.ReplayID)
		return hex.EncodeToString(sum[:])
	}
	return replayid.Text(m.ReplayID)
}

// isUUID reports whether s has the form of a UUID.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return false
			}
		}
	}
	return true
}

// isChange reports whether m is a change event, also one that cannot be read.
func (m *Message) isChange() bool {
	is, sure := m.codec.isChange(m.payload)
	return is || !sure && strings.HasPrefix(m.Channel, "/data/")
}

// identity tells a change event from the others of its replay id, wherever it comes from: over both
// APIs, in every process and every version, for it is stored with markers. It is a hash of this
// encoding of the header; a text is its length as a uvarint and its bytes, and what the header does
// not have is empty:
//
//	each record id, then an empty text,
//	entity name, change type (UPDATE), transaction key,
//	sequence number as a varint
//
// Not of it are the payload, where enriched fields hold the value of now, and the event's id, which
// several may share: internal/eventbus/PROTOCOL.md, "Enriched and filtered channels". Where the
// header cannot be read or names no record, and of all other events, the encoding is the event's id
// as a text and the raw payload: what comes twice is better than what is lost.
//
// It does no I/O and, but for a change of many records, allocates nothing.
func (m *Message) identity() uint64 {
	var room [identityRoom]byte
	encoding, ok := m.appendIdentity(room[:0])
	if !ok {
		return hash(hash(hashStart, encoding), m.payload)
	}
	return hash(hashStart, encoding)
}

// tellApart is what tells an event apart from another one that has its replay id and ID, because
// replay ids have begun anew since. Most IDs do that; an event that has none has at least a date
// that Salesforce has set.
func (m *Message) tellApart() uint64 {
	switch {
	case !m.codec.isJSON() || m.ID != "":
		return 0
	case m.isChange():
		return m.identity()
	}
	return hash(hashStart, []byte(m.codec.createdDate(m.payload)))
}

// identityRoom is what the encoding takes with some ten record ids.
const identityRoom = 320

// sum is a SHA-256 of identity's encoding.
func (m *Message) sum() [sha256.Size]byte {
	var room [identityRoom]byte
	encoding, ok := m.appendIdentity(room[:0])
	if !ok {
		encoding = slices.Concat(encoding, m.payload)
	}
	return sha256.Sum256(encoding)
}

// appendIdentity appends the encoding. Where ok is false, the payload is yet to come.
func (m *Message) appendIdentity(b []byte) (encoding []byte, ok bool) {
	encoding, ok = m.codec.appendIdentity(b, m.payload)
	if !ok {
		encoding = appendText(b, m.ID)
	}
	return encoding, ok
}

const (
	hashStart  = 0x9e3779b97f4a7c15 // of the golden ratio and of pi
	hashFactor = 0x243f6a8885a308d3
)

// hash goes on with a 64-bit hash: words of eight bytes, little endian, the last one filled with
// zeros, are folded in by multiplication, and at last the length. It is the fastest that is short,
// and not made against who wants two texts to be alike. It must never change: its values are
// stored.
func hash(h uint64, text []byte) uint64 {
	n := len(text)
	for ; len(text) >= 8; text = text[8:] {
		h = fold(h, binary.LittleEndian.Uint64(text))
	}
	if len(text) > 0 {
		var last [8]byte
		copy(last[:], text)
		h = fold(h, binary.LittleEndian.Uint64(last[:]))
	}
	return fold(h, uint64(n))
}

func fold(h, word uint64) uint64 {
	high, low := bits.Mul64(h^word^hashStart, hashFactor)
	return high ^ low ^ h
}
