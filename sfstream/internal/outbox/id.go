package outbox

import (
	"crypto/rand"
	"encoding/hex"
)

// MaxID is how many characters the id of an event may have.
const MaxID = 36

// IDs returns n new ids, UUIDs of version 4. They share their memory.
func IDs(n int) []string {
	random, text := make([]byte, 16*n), make([]byte, MaxID*n)
	rand.Read(random)
	for i := range n {
		u, t := random[16*i:16*i+16], text[MaxID*i:MaxID*i+MaxID]
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		hex.Encode(t[0:8], u[:4])
		hex.Encode(t[9:13], u[4:6])
		hex.Encode(t[14:18], u[6:8])
		hex.Encode(t[19:23], u[8:10])
		hex.Encode(t[24:36], u[10:])
		t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	}
	all, ids := string(text), make([]string, n)
	for i := range ids {
		ids[i] = all[MaxID*i : MaxID*i+MaxID]
	}
	return ids
}
