package sink_test

import (
	"errors"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

func TestTemplates(t *testing.T) {
	lead := &sink.Record{Channel: "/data/LeadChangeEvent", Entity: "Lead", Change: "updated", Type: "com.salesforce.data.lead.updated", Key: "00Q1"}
	generic := &sink.Record{Channel: "/u/a b/*>", Entity: "a b/*>", Change: "published", Key: "/u/a b/*>"}
	for _, c := range []struct {
		text   string
		record *sink.Record
		want   string
	}{
		{"salesforce.{entity}.{change}", lead, "salesforce.lead.updated"},
		{"{channel}", lead, "data.LeadChangeEvent"},
		{"sf-{type}/{key}", lead, "sf-com.salesforce.data.lead.updated/00Q1"},
		{"plain", lead, "plain"},
		{"{entity}{change}", lead, "leadupdated"},
		{"x.{entity}", generic, "x.a_b.__"},
		{"x.{key}", generic, "x.u.a_b.__"},
		{"{channel}", &sink.Record{Channel: "/topic/A?Country='DE'"}, "topic.A"},
		{"x.{entity}", &sink.Record{Entity: "Ünd\n"}, "x.__nd_"},
	} {
		template, err := sink.ParseTemplate(c.text)
		must(t, err)
		if got := template.Expand(c.record); got != c.want || template.String() != c.text {
			t.Errorf("%s makes %q, want %q", template, got, c.want)
		}
	}
	for _, bad := range []string{"", "{", "}", "{entity", "a}b", "{Entity}", "{}", "{{entity}}"} {
		if _, err := sink.ParseTemplate(bad); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
