package natsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sfstream/sfstream-go/replaystore"
)

// epochKey is the key of the bucket that has its epoch.
const epochKey = "epoch"

// epoch is random text that tells the values of a bucket from those of one that was deleted and
// made again with the same name. Sequence numbers begin anew there, so a revision has both, and so
// has the name of a key: the server compares sequence numbers alone. It is kept in the bucket, and
// not taken from the time of its making, because so it goes where the values go, also with a backup
// or a mirror.
//
// Values of other epochs are never read. So what is put is there only if the epoch is still the
// same afterwards.
type epoch string

// epoch returns the epoch that the bucket has now. The error is ErrNotFound if it has none.
func (r *Register) epoch(ctx context.Context) (epoch, error) {
	value, _, err := r.last(ctx, epochKey)
	return epoch(value), err
}

// begin returns the epoch, and makes one if there is none.
func (r *Register) begin(ctx context.Context) (epoch, error) {
	at, err := r.epoch(ctx)
	if !errors.Is(err, replaystore.ErrNotFound) {
		return at, err
	}
	_, err = r.kv.Create(ctx, epochKey, []byte(rand.Text()))
	if err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return "", err
	}
	return r.epoch(ctx)
}

// name returns the key of the bucket for a register's key. Different keys have different names.
func (e epoch) name(key string) string {
	var b strings.Builder
	b.WriteString(string(e))
	b.WriteByte('/')
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func (e epoch) revision(sequence uint64) string {
	return string(e) + "-" + strconv.FormatUint(sequence, 10)
}

// parse reads what revision wrote.
func parse(rev string) (at epoch, sequence uint64, ok bool) {
	text, number, _ := strings.Cut(rev, "-")
	sequence, err := strconv.ParseUint(number, 10, 64)
	at = epoch(text)
	return at, sequence, err == nil && text != "" && sequence > 0 && at.revision(sequence) == rev
}
