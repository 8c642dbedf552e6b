package client

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Both APIs give the same ChangeEvent for the same change. differs is what the wire of the
// Streaming API does not tell.
func TestBothAPIsGiveTheSameChange(t *testing.T) {
	old := strings.Repeat("a line of the old text\n", 60) + "end"
	text := strings.Replace(old, "a line", "another line", 1)
	diff := fmt.Sprintf("--- \n+++ %x\n@@ -1,1 +1,1 @@\n-a line of the old text\n+another line of the old text", sha256.Sum256([]byte(text)))
	for _, tt := range []struct {
		name    string
		change  sfstreamtest.Change
		differs func(pubsub *sfstream.ChangeEvent)
	}{
		{name: "CREATE", change: sfstreamtest.Change{Type: "CREATE", Set: map[string]any{"Phone": "1", "Name": map[string]any{"LastName": "Lovelace"}}}},
		{name: "UPDATE", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Phone": "2"}}},
		{name: "an empty UPDATE", change: sfstreamtest.Change{Type: "UPDATE"}},
		{name: "nested fields", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Name": map[string]any{"LastName": "Byron"}, "Address": map[string]any{"City": "London", "Street": "St James's"}}}},
		{name: "nulled", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Phone": "2"}, Null: []string{"Description", "F70__c"}}},
		{name: "nulled by nil", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Phone": nil, "Address": map[string]any{"City": nil, "Street": "1"}}}},
		{name: "nested fields nulled", change: sfstreamtest.Change{Type: "UPDATE", Null: []string{"Address.State", "Description", "Name.FirstName"}}},
		{name: "a compound nulled", change: sfstreamtest.Change{Type: "UPDATE", Null: []string{"Address"}}},
		{name: "more than 64 fields", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"F0__c": "a", "F58__c": "b", "F59__c": "c", "F70__c": "d"}}},
		{name: "a diff", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Description": diff}, Diff: []string{"Description"}}},
		{name: "DELETE", change: sfstreamtest.Change{Type: "DELETE"}},
		{name: "UNDELETE", change: sfstreamtest.Change{Type: "UNDELETE", Set: map[string]any{"Phone": "1"}}},
		{name: "several records", change: sfstreamtest.Change{Type: "UPDATE", RecordIDs: []string{"00Q000000000001AAA", "00Q000000000002AAA"}, Set: map[string]any{"Phone": "3"}}},
		{name: "a wildcard", change: sfstreamtest.Change{Type: "GAP_UPDATE", RecordIDs: []string{"00Q*"}}},
		{name: "a gap", change: sfstreamtest.Change{Type: "GAP_DELETE"}},
		{name: "an overflow", change: sfstreamtest.Change{Type: "GAP_OVERFLOW", RecordIDs: []string{"000000000000000AAA"}}},
		{name: "an origin", change: sfstreamtest.Change{Type: "DELETE", Origin: "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/", TransactionKey: "k", SequenceNumber: 7, CommitNumber: 1<<62 + 1, CommitTime: lab.Date}},
		{name: "a nested diff", change: sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Address": map[string]any{"Street": diff}}, Diff: []string{"Address.Street"}},
			differs: func(c *sfstream.ChangeEvent) { c.DiffFields = nil }}, // our server does not wrap it: no compound holds so long a text
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				fields := []sfstreamtest.Field{{Name: "Name", Type: "PersonName"}, {Name: "Phone", Type: "Phone"}, {Name: "Description", Type: "StringPlusClob"},
					{Name: "Address", Type: "Address"}, {Name: "LastModifiedDate", Type: "DateTime"}}
				for i := range 80 {
					fields = append(fields, sfstreamtest.Field{Name: fmt.Sprintf("F%d__c", i), Type: "Text"})
				}
				l.Must(l.DefineObject("Lead", fields...))
				if tt.change.Object = "Lead"; tt.change.RecordIDs == nil {
					tt.change.RecordIDs = []string{"00Q000000000001AAA"}
				}
				_, err := l.Change(tt.change)
				l.Must(err)
				pubsub, pubsubText := oneChange(l, sfstream.PubSub, old)
				streaming, streamingText := oneChange(l, sfstream.CometD, old)
				if pubsub.Type != sfstream.ChangeType(tt.change.Type) || pubsub.CommitTime.IsZero() || len(pubsub.RecordIDs) != len(tt.change.RecordIDs) {
					t.Errorf("%+v", pubsub)
				}
				if want := map[bool]string{true: text}[tt.name == "a diff"]; pubsubText != streamingText && tt.differs == nil || want != "" && pubsubText != want {
					t.Errorf("the diff gives\nPub/Sub %.60q\nCometD  %.60q", pubsubText, streamingText)
				}
				if tt.differs != nil {
					tt.differs(pubsub)
				}
				if !reflect.DeepEqual(pubsub, streaming) {
					t.Errorf("\nPub/Sub %+v\nCometD  %+v", pubsub, streaming)
				}
			})
		})
	}
}

// oneChange receives the change over an API, and applies its first diff.
func oneChange(l *lab.Lab, via sfstream.Transport, old string) (*sfstream.ChangeEvent, string) {
	l.T.Helper()
	l.Start(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithTransport(via), sfstream.WithAck(sfstream.AckManual))
	defer l.Stop()
	l.Subscribe("/data/LeadChangeEvent")
	m := l.Receive()
	change, err := m.Change()
	l.Must(err)
	if len(change.DiffFields) == 0 {
		return change, ""
	}
	text, err := m.ApplyDiff(change.DiffFields[0], old)
	l.Must(err)
	return change, text
}
