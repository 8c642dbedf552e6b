package channels

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestPushTopicsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		topics := channels.NewPushTopics(s.client)
		said := channels.PushTopic{
			Name: "Students", Query: "SELECT Id, Name FROM Contact WHERE Title = 'O\\'Hara \\\\ Co'", Description: "of \"all\" classes", APIVersion: "60.0",
			Inactive: true, NotifyForFields: channels.Where, Operations: channels.Create | channels.Undelete,
		}
		made, err := topics.Declare(t.Context(), said)
		lab.Must(t, err)
		if said.ID = made.ID; said != made || len(made.ID) != 18 {
			t.Errorf("made %+v, want %+v", made, said)
		}
		changed := made
		changed.Query, changed.Inactive, changed.NotifyForFields, changed.Operations = "SELECT Id, Email FROM Contact", false, channels.Select, channels.Update|channels.Delete
		for range 2 {
			if got, err := topics.Declare(t.Context(), changed); err != nil || got != changed {
				t.Errorf("changed to %+v, %v, want %+v", got, err, changed)
			}
		}
		plain, err := topics.Declare(t.Context(), channels.PushTopic{Name: "Plain", Query: "SELECT Id FROM Contact"})
		lab.Must(t, err)
		if plain.NotifyForFields != channels.Referenced || plain.APIVersion != "68.0" || plain.Inactive || plain.Operations != channels.Create|channels.Update|channels.Delete|channels.Undelete {
			t.Errorf("the defaults are %+v", plain)
		}
		if list, err := topics.List(t.Context()); err != nil || len(list) != 2 || list[0] != plain || list[1] != changed {
			t.Errorf("the list is %+v, %v", list, err)
		}
		lab.Must(t, topics.Delete(t.Context(), "Students"))
		if err := topics.Delete(t.Context(), "Students"); !errors.Is(err, channels.ErrNotFound) {
			t.Errorf("deleted twice: %v, want ErrNotFound", err)
		}
		if _, err := topics.Get(t.Context(), "Students"); !errors.Is(err, channels.ErrNotFound) {
			t.Errorf("got what is deleted: %v, want ErrNotFound", err)
		}
	})
}

// What only the org can refuse leaves the topic as it was, and is its answer.
func TestAQueryThatTheOrgRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchool(t)
		topics := channels.NewPushTopics(s.client)
		before, err := topics.Declare(t.Context(), channels.PushTopic{Name: "There", Query: "SELECT Id FROM Contact"})
		lab.Must(t, err)
		for query, reason := range map[string]string{
			"SELECT Id FROM Nonsense__c":                            "INVALID_TYPE",
			"SELECT Id, Nmae FROM Contact":                          "INVALID_FIELD",
			"SELECT Id, COUNT(Name) FROM Contact":                   "INVALID_FIELD",
			"SELECT Id FROM Contact ORDER BY Name":                  "INVALID_FIELD",
			"SELECT Id FROM Contact WHERE Email = 'planted":         "MALFORMED_QUERY",
			"SELECT Id FROM Contact WHERE Nmae = 'planted@ex.com'":  "INVALID_FIELD",
			"SELECT Id, Account.Name FROM Contact WHERE Title = ''": "INVALID_FIELD",
		} {
			for _, name := range []string{"There", "New"} {
				_, err := topics.Declare(t.Context(), channels.PushTopic{Name: name, Query: query})
				if server := lab.ExpectError[*sfstream.ServerError](t, err); server.Reason != reason {
					t.Errorf("%s: %v, want %s", query, err, reason)
				}
				lab.Contains(t, err.Error(), "PushTopic "+name)
				if strings.Contains(err.Error(), "planted") {
					t.Errorf("it shows the value: %v", err)
				}
			}
		}
		if list, err := topics.List(t.Context()); err != nil || len(list) != 1 || list[0] != before {
			t.Errorf("the topics are %+v, %v, want %+v", list, err, before)
		}
	})
}
