package scripted

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// AccountChange is a change of an account. Its record id has its number.
type AccountChange struct {
	N          int
	ID         uint64 // the replay id, which its neighbours may have too
	At         time.Time
	Tx         string
	Seq        int
	EventID    string
	Unreadable bool // nobody can read its header
}

func (e AccountChange) record() string { return fmt.Sprintf("001N%09dEAAAA", e.N) }

// ChangeNumber finds the number of an event in its raw bytes.
func ChangeNumber(raw []byte) int {
	i := bytes.Index(raw, []byte("001N"))
	if i < 0 || len(raw) < i+13 {
		return -1
	}
	n, err := strconv.Atoi(string(raw[i+4 : i+13]))
	if err != nil {
		return -1
	}
	return n
}

// ExpectChanges receives and acks the changes with these numbers, in this order. Each has an hour
// to come.
func ExpectChanges(t *testing.T, c *sfstream.Client, numbers ...int) {
	t.Helper()
	for _, want := range numbers {
		m := lab.ReceiveWithin(t, c, time.Hour)
		if n := ChangeNumber(m.Raw()); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		m.Ack()
	}
}

// now is the value of an enriched field: another one at each delivery, but where the event can only
// be known by its bytes.
func (e AccountChange) now() string {
	if e.Unreadable {
		return "fixed"
	}
	return time.Now().String()
}

// ChangeSchema is the schema of an AccountChange.
const ChangeSchema = `{"type":"record","name":"AccountChangeEvent","namespace":"com.sforce.eventbus","fields":[
	{"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":[
		{"name":"entityName","type":"string"},
		{"name":"recordIds","type":{"type":"array","items":"string"}},
		{"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":["CREATE","UPDATE","DELETE","UNDELETE","GAP_CREATE","GAP_UPDATE","GAP_DELETE","GAP_UNDELETE","GAP_OVERFLOW","SNAPSHOT"]}},
		{"name":"changeOrigin","type":"string"},
		{"name":"transactionKey","type":"string"},
		{"name":"sequenceNumber","type":"int"},
		{"name":"commitTimestamp","type":"long"},
		{"name":"commitNumber","type":"long"},
		{"name":"commitUser","type":"string"},
		{"name":"nulledFields","type":{"type":"array","items":"string"}},
		{"name":"diffFields","type":{"type":"array","items":"string"}},
		{"name":"changedFields","type":{"type":"array","items":"string"}}]}},
	{"name":"Name","type":["null","string"],"default":null}]}`

// Avro is the event in Avro's binary form.
func (e AccountChange) Avro() []byte {
	var b []byte
	text := func(s string) { b = append(binary.AppendVarint(b, int64(len(s))), s...) }
	text("Account")
	b = binary.AppendVarint(b, 1)
	text(e.record())
	b = binary.AppendVarint(b, 0)
	b = binary.AppendVarint(b, 1) // UPDATE
	text("origin")
	text(e.Tx)
	b = binary.AppendVarint(b, int64(e.Seq))
	b = binary.AppendVarint(b, e.At.UnixMilli())
	b = binary.AppendVarint(b, int64(e.ID))
	text("005000000000001AAA")
	b = append(b, 0, 0, 0)        // nulledFields, diffFields, changedFields
	b = binary.AppendVarint(b, 1) // Name
	text(e.now())
	return b
}

// JSON is the event as a Bayeux message.
func (e AccountChange) JSON() string {
	entity := `"Account"`
	if e.Unreadable {
		entity = "7"
	}
	return fmt.Sprintf(`{"channel":%q,"data":{"schema":"S","payload":{"ChangeEventHeader":{"entityName":%s,"recordIds":[%q],"changeType":"UPDATE",`+
		`"changeOrigin":"o","transactionKey":%q,"sequenceNumber":%d,"commitTimestamp":%d,"commitNumber":%d,"commitUser":"005000000000001AAA","changedFields":["Name"]},"Name":%q},"event":{"replayId":%d}}}`,
		lab.AllChanges, entity, e.record(), e.Tx, e.Seq, e.At.UnixMilli(), e.ID, e.now(), e.ID)
}

// ChangeJSON is a change whose number is its replay id, alone in its transaction, as a Bayeux
// message.
func ChangeJSON(id int, at time.Time) string {
	return AccountChange{N: id, ID: uint64(id), At: at, Tx: fmt.Sprint("tx", id), Seq: 1}.JSON()
}
