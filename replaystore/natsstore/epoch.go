package natsstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// epoch tells a bucket from others of its name: when it was made, in nanoseconds since 1970. Its
// sequence numbers begin anew with each, so a revision has both, and so has the name of a key: the
// server compares sequence numbers alone.
type epoch int64

func (r *Register) epoch(ctx context.Context) (epoch, error) {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return epoch(info.Created.UnixNano()), nil
}

func (e epoch) String() string { return strconv.FormatInt(int64(e), 36) }

// name returns the key of the bucket for a register's key. Different keys have different names.
func (e epoch) name(key string) string {
	var b strings.Builder
	b.WriteString(e.String())
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
	return e.String() + "-" + strconv.FormatUint(sequence, 10)
}

// parse reads what revision wrote.
func parse(rev string) (at epoch, sequence uint64, ok bool) {
	made, number, _ := strings.Cut(rev, "-")
	n, err := strconv.ParseInt(made, 36, 64)
	if err != nil {
		return 0, 0, false
	}
	sequence, err = strconv.ParseUint(number, 10, 64)
	return epoch(n), sequence, err == nil && sequence > 0 && epoch(n).revision(sequence) == rev
}
