package channels_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestAnAnswerOfSomebodyElseIsNotTakenForAnOrgWithoutTopics(t *testing.T) {
	org := &smallOrg{answer: func(asked) (int, any) { return 200, `{}` }} // a proxy's
	topics := channels.NewPushTopics(org.client(t))
	for what, call := range map[string]func() error{
		"Declare": func() error {
			_, err := topics.Declare(t.Context(), channels.PushTopic{Name: "Accounts", Query: "SELECT Id FROM Account"})
			return err
		},
		"Get":        func() error { _, err := topics.Get(t.Context(), "Accounts"); return err },
		"ForSObject": func() error { _, err := topics.ForSObject(t.Context(), "Account"); return err },
	} {
		err := call()
		if says(t, err, "Account", "the answer cannot be read"); errors.Is(err, channels.ErrNotFound) || errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if writes := org.wrote(); writes != nil {
		t.Errorf("wrote %v", writes)
	}
}

func TestAUserWhoMayNotSeeTopicsIsNotToldThatThereIsNone(t *testing.T) {
	org := &smallOrg{answer: func(asked) (int, any) {
		return 400, refuses("INVALID_TYPE", "sObject type 'PushTopic' is not supported.")
	}}
	_, err := channels.NewPushTopics(org.client(t)).Get(t.Context(), "Accounts")
	if says(t, err, "Accounts", "is not supported"); errors.Is(err, channels.ErrNotFound) {
		t.Errorf("not found: %v", err)
	}
}

func TestAShortValueOfAQueryIsHiddenAsAWord(t *testing.T) {
	org := &smallOrg{answer: func(a asked) (int, any) {
		if a.method == "GET" {
			return 200, rowsOf()
		}
		return 400, refuses("MALFORMED_QUERY", "unexpected token: Grade__c = 'a' OR Kind__c='é' OR Name = 'Ann'; a,a a attempt")
	}}
	_, err := channels.NewPushTopics(org.client(t)).Declare(t.Context(), channels.PushTopic{
		Name: "Accounts", Query: "SELECT Id FROM Account WHERE Grade__c = 'a' OR Kind__c = 'é' OR Name = 'Ann' OR Empty__c = ''",
	})
	says(t, err, "PushTopic Accounts: sfstream: ", "unexpected token: Grade__c = '…' OR Kind__c='…' OR Name = '…'; …,… … attempt")
}

func TestAValueIsHiddenWhateverStandsBesideIt(t *testing.T) {
	var said string
	org := &smallOrg{answer: func(a asked) (int, any) {
		if a.method == "GET" {
			return 200, rowsOf()
		}
		return 400, refuses("MALFORMED_QUERY", said)
	}}
	topics := channels.NewPushTopics(org.client(t))
	for _, row := range []struct{ where, said, want string }{
		{`LastName = 'Smith'`, `LastName: Smith. Smith: [Smith] Smith… \u0027Smith\u0027`, `LastName: …. …: […] …… \…\u0027`},
		{`Email = 'ann@smith.org'`, `mailto:ann@smith.org.`, `mailto:…@….….`},
		{`Name = 'it's Smith in Rome'`, `Smith in Rome`, `… … …`},           // not escaped
		{`Name = 'D'Amato' AND Smith = 'x'`, `Amato' AND Smit`, `…' AND …`}, // neither
		{`City = ‘AND Smith in Rome’`, `Smith in Rome`, `… … …`},
		{`City = Old (Smith in Rome)`, `Smith in Rome`, `… … …`},
		{`(City = 'Rome')OR(NOT(Kind = 'Smith'))`, `Kind = 'Smith'`, `Kind = '…'`},
		{`City = "Smith in Rome"`, `Smith in Rome`, `… … …`},
	} {
		said = row.said
		_, err := topics.Declare(t.Context(), channels.PushTopic{Name: "Contacts", Query: "SELECT Id FROM Contact WHERE " + row.where})
		says(t, err, "Invalid: "+row.want)
		showsNothing(t, err, "Smith", "Rome", "ann@", "Amato")
	}
}

func TestARecordIsGoneInWhateverWords(t *testing.T) {
	for _, row := range []struct {
		status        int
		code, message string
	}{
		{404, "NOT_FOUND", "The requested resource does not exist"},
		{404, "ENTITY_IS_DELETED", "entity is deleted"},
		{400, "ENTITY_IS_DELETED", "entity is deleted"},
		{400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"},
	} {
		o, gone := newTopicOrg(), 0
		o.rival("Accts", "SELECT Id FROM Contact")
		o.before = func(a asked) (int, any, bool) {
			if a.method == http.MethodPatch || a.method == http.MethodDelete {
				o.clear()
				gone++
				return row.status, refuses(row.code, row.message), false
			}
			return 0, nil, false
		}
		topics := channels.NewPushTopics(o.client(t))
		_, err := topics.Declare(t.Context(), accounts)
		lab.Must(t, err)
		o.one(t)
		if lab.Must(t, topics.Delete(t.Context(), "Accts")); gone != 2 {
			t.Errorf("%s: %d requests met it", row.code, gone)
		}
	}
	o := newTopicOrg()
	o.rival("Accts", "SELECT Id FROM Contact")
	o.before = always(http.MethodDelete, 400, refuses("INVALID_CROSS_REFERENCE_KEY", "something uses it"))
	if err := channels.NewPushTopics(o.client(t)).Delete(t.Context(), "Accts"); err == nil {
		t.Error("a topic that Salesforce keeps is deleted")
	}
}

func TestADescribeWithoutFieldsMakesNoTopic(t *testing.T) {
	org := &smallOrg{answer: func(asked) (int, any) { return 200, `{"name":"Contact"}` }}
	_, err := channels.NewPushTopics(org.client(t)).ForSObject(t.Context(), "Contact")
	says(t, err, "PushTopic Contact", "the answer cannot be read")
}

// busy is an org that answers each write with 503, and notes when it was sent.
type busy struct {
	smallOrg
	retryAfter string
	writes     []time.Time
}

func (o *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.smallOrg.RoundTrip(r)
	if r.Method != http.MethodGet && err == nil {
		o.writes = append(o.writes, time.Now())
		resp.StatusCode = 503
		if o.retryAfter != "" {
			resp.Header.Set("Retry-After", o.retryAfter)
		}
	}
	return resp, err
}

// Between attempts at a write that is in doubt there is time, as long as Salesforce asks for.
func TestAWriteIsNotRepeatedAtOnceWhereSalesforceIsBusy(t *testing.T) {
	writes := map[string]func(context.Context, *sfstream.Client) error{
		"a PushTopic": func(ctx context.Context, c *sfstream.Client) error {
			_, err := channels.NewPushTopics(c).Declare(ctx, channels.PushTopic{Name: "Accounts", Query: "SELECT Id FROM Account"})
			return err
		},
		"a generic channel": func(ctx context.Context, c *sfstream.Client) error {
			_, err := channels.NewGeneric(c).Create(ctx, channels.GenericChannel{Name: "/u/orders"})
			return err
		},
		"a custom channel": func(ctx context.Context, c *sfstream.Client) error {
			_, err := channels.NewCustom(c).Declare(ctx, sales())
			return err
		},
		"a member": func(ctx context.Context, c *sfstream.Client) error {
			_, err := channels.NewCustom(c).Declare(ctx, channels.CustomChannel{Name: "ChangeEvents", Members: []channels.Member{{Event: "LeadChangeEvent"}}})
			return err
		},
	}
	for what, write := range writes {
		for retryAfter, want := range map[string][]time.Duration{
			"":   {0, time.Second, 2 * time.Second},
			"7":  {7 * time.Second, 7 * time.Second, 7 * time.Second},
			"61": {},
		} {
			t.Run(what+" "+retryAfter, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					org := &busy{smallOrg: smallOrg{answer: func(a asked) (int, any) { return 200, rowsOf() }}, retryAfter: retryAfter}
					err := write(t.Context(), openOver(t, org))
					if server, ok := errors.AsType[*sfstream.ServerError](err); !ok || server.Code != sfstream.Unavailable || strings.Contains(err.Error(), "others") {
						t.Errorf("got %v", err)
					}
					waits := []time.Duration{}
					for i := 1; i < len(org.writes); i++ {
						waits = append(waits, org.writes[i].Sub(org.writes[i-1]))
					}
					if !slices.Equal(waits, want) {
						t.Errorf("waited %v, want %v", waits, want)
					}
				})
			})
		}
		t.Run(what+" whose ctx ends", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := &busy{smallOrg: smallOrg{answer: func(a asked) (int, any) { return 200, rowsOf() }}, retryAfter: "7"}
				client := openOver(t, org)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := write(ctx, client); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, new(*sfstream.ServerError)) || len(org.writes) != 1 {
					t.Errorf("got %v after %d writes", err, len(org.writes))
				}
			})
		})
	}
}
