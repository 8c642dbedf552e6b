package sfstream_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// What a program deduplicates on and tells types apart by, over both APIs: twice
// the same events have twice the same keys, and each has another one.
func TestEventsHaveNamesAndKeysOverBothAPIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		const channel, custom = "/event/Keyed__e", "/event/Many__chn"
		l.must(l.DefineEvent(channel, labSchema("Keyed__e")))
		l.must(l.DefineObject("Lead", sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
		l.must(l.DefineObject("Staff__c", sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
		l.must(l.DefineChannel(custom, channel, labOrders))
		names := map[string][]string{
			channel: {"Keyed__e", "Keyed__e"}, custom: {"Keyed__e", "Keyed__e", "LabOrder__e"},
			"/data/LeadChangeEvent": {"LeadChangeEvent", "LeadChangeEvent"}, "/data/ChangeEvents": {"LeadChangeEvent", "LeadChangeEvent", "Staff__ChangeEvent"},
		}
		l.start(sfstream.WithReplay(sfstream.ReplayAll)) // before anything is published
		for range 2 {
			_, err := l.Publish(channel, nil)
			l.must(err)
		}
		l.publish(1)
		for _, object := range []string{"Lead", "Lead", "Staff__c"} {
			_, err := l.Change(sfstreamtest.Change{Object: object, Type: "UPDATE", RecordIDs: []string{"00Q000000000001AAA"}, TransactionKey: "one", Set: map[string]any{"Phone": "1"}})
			l.must(err)
		}
		for _, via := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
			var before map[string][]string
			for range 2 {
				c := l.new(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithTransport(via))
				l.must(c.Open(t.Context()))
				keys := make(map[string][]string)
				for channel := range names {
					l.must(c.Subscribe(t.Context(), channel, sfstream.From(sfstream.ReplayAll)))
				}
				for range 2 + 3 + 2 + 3 {
					m, err := c.Receive(t.Context())
					l.must(err)
					m.Ack()
					if want := names[m.Channel][len(keys[m.Channel])]; m.EventName() != want && !(via == sfstream.CometD && m.Channel == custom && m.EventName() == "") {
						t.Errorf("%v, %s: %q, want %q", via, m.Channel, m.EventName(), want)
					}
					if m.Key() == "" || slices.Contains(keys[m.Channel], m.Key()) {
						t.Errorf("%v, %s: another event has the key %q", via, m.Channel, m.Key())
					}
					keys[m.Channel] = append(keys[m.Channel], m.Key())
				}
				for channel, again := range before {
					if !slices.Equal(again, keys[channel]) {
						t.Errorf("%v, %s: keys %q, before %q", via, channel, keys[channel], again)
					}
				}
				before = keys
				l.must(c.Close())
			}
		}
	})
}
