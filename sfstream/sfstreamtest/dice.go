package sfstreamtest

import (
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"sync"
)

// dice gives random values. Each purpose has dice of its own, so that with [WithSeed] the ids of
// events do not depend on how many clients have called meanwhile.
type dice struct {
	mu   sync.Mutex
	bits *rand.ChaCha8
}

// newDice returns dice for a purpose. restored is how many lines the org has found in its log: a
// run that continues another one must not give out its ids again.
func newDice(seed *uint64, purpose string, restored int) *dice {
	var key [32]byte
	if seed == nil {
		_, _ = crand.Read(key[:]) // it never fails
	} else {
		key = sha256.Sum256([]byte(strconv.FormatUint(*seed, 10) + " " + strconv.Itoa(restored) + " " + purpose))
	}
	return &dice{bits: rand.NewChaCha8(key)}
}

// orgDice has the dice of an org. A channel has others, for its replay ids.
type orgDice struct{ events, tokens, sessions, calls, groups *dice }

func newOrgDice(seed *uint64, restored int) orgDice {
	of := func(purpose string) *dice { return newDice(seed, purpose, restored) }
	return orgDice{of("events"), of("tokens"), of("sessions"), of("calls"), of("groups")}
}

// below returns a number below n.
func (d *dice) below(n uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return rand.New(d.bits).Uint64N(n)
}

// text returns a token of 26 characters, which nobody can guess.
func (d *dice) text() string {
	const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var b [26]byte
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range b {
		b[i] = base32[d.bits.Uint64()%uint64(len(base32))]
	}
	return string(b[:])
}

// uuid returns a random UUID (version 4).
func (d *dice) uuid() string {
	var b [16]byte
	d.mu.Lock()
	binary.LittleEndian.PutUint64(b[:8], d.bits.Uint64())
	binary.LittleEndian.PutUint64(b[8:], d.bits.Uint64())
	d.mu.Unlock()
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
