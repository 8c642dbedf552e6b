package channels_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// sales is a channel with all that one can have.
func sales() channels.CustomChannel {
	return channels.CustomChannel{
		Name: "/data/Sales__chn", Label: "Sales",
		Members: []channels.Member{
			{Event: "/data/AccountChangeEvent", Enriched: []string{"Industry", "Ext_Id__c"}, Filter: " Industry = 'Energy' "},
			{Event: "Employee__ChangeEvent"},
		},
	}
}

func TestDeclareMakesACustomChannelAndThenWritesNothing(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	made, err := custom.Declare(t.Context(), sales())
	lab.Must(t, err)
	want := sales()
	want.ID, want.Name, want.Type = org.channels[0]["Id"].(string), "Sales__chn", channels.Data
	want.Members[0].Event, want.Members[0].Filter = "AccountChangeEvent", "Industry = 'Energy'"
	if !reflect.DeepEqual(made, want) || made.Channel() != "/data/Sales__chn" {
		t.Errorf("made %+v, want %+v", made, want)
	}
	if writes := org.wrote(); len(writes) != 3 {
		t.Errorf("wrote %v", writes)
	}
	account := map[string]any{
		"eventChannel": "Sales__chn", "selectedEntity": "AccountChangeEvent", "filterExpression": "Industry = 'Energy'",
		"enrichedFields": []any{map[string]any{"name": "Industry"}, map[string]any{"name": "Ext_Id__c"}},
	}
	if got := org.member("AccountChangeEvent"); !reflect.DeepEqual(got, account) {
		t.Errorf("member %v, want %v", got, account)
	}
	if name := org.members[1]["FullName"]; name != "Sales_chn_Employee_ChangeEvent" {
		t.Errorf("a member's name is %s", name)
	}

	again := sales()
	again.Label, again.Type = "", channels.Data
	slices.Reverse(again.Members)
	for _, enriched := range [][]string{{"ext_id__C", "Industry"}, {"Ext_Id__c"}} { // Industry is in the filter
		again.Members[1].Enriched = enriched
		if _, err := custom.Declare(t.Context(), again, channels.Exactly()); err != nil {
			t.Fatal(err)
		}
	}
	if writes := org.wrote(); writes != nil {
		t.Errorf("a second Declare writes %v", writes)
	}
}

func TestDeclareChangesWhatDiffers(t *testing.T) {
	org, log := newToolingOrg(), new(lab.Log)
	custom := channels.NewCustom(openOver(t, org, sfstream.WithLogger(log.Logger())))
	_, err := custom.Declare(t.Context(), sales())
	lab.Must(t, err)
	org.selects("Sales__chn", "LeadChangeEvent")
	org.selects("ChangeEvents", "LeadChangeEvent")
	org.channels[0]["Metadata"].(map[string]any)["somethingNew"] = "kept"
	org.member("AccountChangeEvent")["somethingNew"] = "kept"
	account, employee, lead := org.members[0]["Id"], org.members[1]["Id"], org.members[2]["Id"]
	org.took()

	for _, step := range []struct {
		what   string
		change func(c *channels.CustomChannel)
		opts   []channels.DeclareOption
		writes []string
	}{
		{"its label", func(c *channels.CustomChannel) { c.Label = "Other" }, nil, []string{"PATCH " + channelPath + "/" + org.channels[0]["Id"].(string)}},
		{"fields", func(c *channels.CustomChannel) { c.Members[0].Enriched = []string{"Phone"} }, nil, []string{fmt.Sprint("PATCH ", memberPath, "/", account)}},
		{"no filter and no fields", func(c *channels.CustomChannel) { c.Members[0].Enriched, c.Members[0].Filter = nil, "" }, nil, []string{fmt.Sprint("PATCH ", memberPath, "/", account)}},
		{"fewer members", func(c *channels.CustomChannel) { c.Members = c.Members[:1] }, nil, nil},
		{"exactly", func(*channels.CustomChannel) {}, []channels.DeclareOption{channels.Exactly(), nil}, []string{
			fmt.Sprint("DELETE ", memberPath, "/", employee), fmt.Sprint("DELETE ", memberPath, "/", lead),
		}},
		{"one more", func(c *channels.CustomChannel) {
			c.Members = append(c.Members, channels.Member{Event: "CaseChangeEvent"})
		}, nil, []string{"POST " + memberPath}},
	} {
		t.Run(step.what, func(t *testing.T) {
			channel := sales()
			channel.Label = org.channels[0]["MasterLabel"].(string)
			if step.what != "its label" && step.what != "fields" {
				channel.Members = []channels.Member{{Event: "AccountChangeEvent"}, {Event: "Employee__ChangeEvent"}}
			}
			if step.what == "exactly" || step.what == "one more" {
				channel.Members = channel.Members[:1]
			}
			step.change(&channel)
			for range 2 {
				_, err := custom.Declare(t.Context(), channel, step.opts...)
				lab.Must(t, err)
			}
			if writes := org.wrote(); !slices.Equal(writes, step.writes) {
				t.Errorf("wrote %q, want %q", writes, step.writes)
			}
		})
	}
	fields := org.member("AccountChangeEvent")
	if fields["somethingNew"] != "kept" || fields["filterExpression"] != nil || len(fields["enrichedFields"].([]any)) != 0 || org.channels[0]["Metadata"].(map[string]any)["somethingNew"] != "kept" {
		t.Errorf("members are %v, the channel is %v", fields, org.channels[0])
	}
	if len(org.members) != 3 { // account and case of this channel, lead of the standard one
		t.Errorf("members are %v", org.members)
	}
	for said, want := range map[string]int{
		`"custom channel declared" channel=/data/Sales__chn new=true`:                                        1,
		`"custom channel declared" channel=/data/Sales__chn new=false`:                                       1,
		`"member of a custom channel declared" channel=/data/Sales__chn member=AccountChangeEvent new=true`:  1,
		`"member of a custom channel declared" channel=/data/Sales__chn member=AccountChangeEvent new=false`: 2,
		`"member of a custom channel removed" channel=/data/Sales__chn member=LeadChangeEvent`:               1,
	} {
		if n := log.Count(said); n != want {
			t.Errorf("%s is told %d times, want %d", said, n, want)
		}
	}
	if strings.Contains(log.String(), "Energy") {
		t.Errorf("the log shows a filter's value: %s", log)
	}
}

func TestTheStandardChannelIsDeclaredWithoutARecord(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	for _, event := range []string{"LeadChangeEvent", "CaseChangeEvent", "ContactChangeEvent"} {
		org.selects("ChangeEvents", event)
	}
	channel := channels.CustomChannel{Name: "ChangeEvents", Members: []channels.Member{{Event: "AccountChangeEvent"}, {Event: "LeadChangeEvent"}}}
	made, err := custom.Declare(t.Context(), channel)
	if lab.Must(t, err); made.Channel() != "/data/ChangeEvents" || made.ID != "" {
		t.Errorf("made %+v", made)
	}
	got := org.took()
	if len(got) != 3 || got[2].method != "POST" { // the members, the one that is there, and the new one
		t.Errorf("sent %v", got)
	}
	if name := org.members[3]["FullName"]; name != "ChangeEvents_AccountChangeEvent" {
		t.Errorf("its member is %s", name)
	}
	_, err = custom.Declare(t.Context(), channel, channels.Exactly())
	if lab.Must(t, err); len(org.members) != 2 {
		t.Errorf("members are %v", org.members)
	}
}

func TestChannelsOfPlatformEvents(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	orders := channels.CustomChannel{Name: "Orders__chn", Members: []channels.Member{{Event: "/event/Order__e", Filter: "Qty__c > 1"}, {Event: "Refund__e"}}}
	made, err := custom.Declare(t.Context(), orders)
	lab.Must(t, err)
	if made.Channel() != "/event/Orders__chn" || made.Label != "Orders" || org.channels[0]["ChannelType"] != "event" {
		t.Errorf("made %+v, there is %v", made, org.channels)
	}
	if _, ok := org.member("Order__e")["enrichedFields"]; ok || org.members[0]["FullName"] != "Orders_chn_Order_e" {
		t.Errorf("a platform event is enriched, or misnamed: %v", org.members[0])
	}
	org.took()
	orders.Members = orders.Members[1:]
	_, err = custom.Declare(t.Context(), orders, channels.Exactly()) // whose members a query names by ids
	if lab.Must(t, err); len(org.wrote()) != 1 || len(org.members) != 1 {
		t.Errorf("members are %v", org.members)
	}

	made, err = custom.Declare(t.Context(), channels.CustomChannel{Name: "Watch__chn", Members: []channels.Member{{Event: "LoginEventStream"}, {Event: "ApiAnomalyEvent"}}})
	lab.Must(t, err)
	if fields := org.channels[1]["Metadata"].(map[string]any); made.Type != channels.Event || fields["eventType"] != "monitoring" {
		t.Errorf("made %+v, there is %v", made, fields)
	}
	empty, err := custom.Declare(t.Context(), channels.CustomChannel{Name: "/data/Later__chn"})
	if lab.Must(t, err); empty.Channel() != "/data/Later__chn" {
		t.Errorf("made %+v", empty)
	}
}

func TestDeclareMeetsRivalsAndLostAnswers(t *testing.T) {
	lose := func() (int, any, bool) { return 0, nil, true }
	rivalMember := func(o *toolingOrg) func() (int, any, bool) {
		return func() (int, any, bool) { o.selects("Sales__chn", "AccountChangeEvent"); return 0, nil, false }
	}
	for name, c := range map[string]struct {
		method, path string // of the first request that meets it
		do           func(o *toolingOrg) func() (int, any, bool)
		taken        string
		declared     bool // the channel was declared before, with other members
	}{
		"a rival makes the channel": {method: "POST", path: channelPath, do: func(o *toolingOrg) func() (int, any, bool) {
			return func() (int, any, bool) {
				o.makeChannel(body{"Sales__chn", map[string]any{"channelType": "data", "label": "theirs"}})
				return 0, nil, false
			}
		}},
		"a rival makes a member":          {method: "POST", path: memberPath, do: rivalMember},
		"a rival makes a member, so told": {method: "POST", path: memberPath, do: rivalMember, taken: "FIELD_INTEGRITY_EXCEPTION"},
		"a rival made and deleted a member": {method: "POST", path: memberPath, do: func(*toolingOrg) func() (int, any, bool) {
			return func() (int, any, bool) { return 400, refuses("DUPLICATE_VALUE", "duplicate"), false }
		}},
		"the channel's answer is lost": {method: "POST", path: channelPath, do: func(*toolingOrg) func() (int, any, bool) { return lose }},
		"a member's answer is lost":    {method: "POST", path: memberPath, do: func(*toolingOrg) func() (int, any, bool) { return lose }},
		"a channel does not arrive": {method: "POST", path: channelPath, do: func(*toolingOrg) func() (int, any, bool) {
			return func() (int, any, bool) { return 503, "<html>", false }
		}},
		"a member does not arrive": {method: "POST", path: memberPath, do: func(*toolingOrg) func() (int, any, bool) {
			return func() (int, any, bool) { return 503, "<html>", false }
		}},
		"a change's answer is lost": {method: "PATCH", do: func(*toolingOrg) func() (int, any, bool) { return lose }, declared: true},
		"a rival deletes the member that is changed": {method: "PATCH", declared: true, do: func(o *toolingOrg) func() (int, any, bool) {
			return func() (int, any, bool) { o.members = nil; return 0, nil, false }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			org := newToolingOrg()
			if c.taken != "" {
				org.taken = c.taken
			}
			log := new(lab.Log)
			custom := channels.NewCustom(openOver(t, org, sfstream.WithLogger(log.Logger())))
			if c.declared {
				before := sales()
				before.Members = []channels.Member{{Event: "AccountChangeEvent", Filter: "Industry = 'Oil'"}}
				_, err := custom.Declare(t.Context(), before)
				lab.Must(t, err)
				c.path = memberPath + "/" + org.members[0]["Id"].(string)
			}
			met := false
			org.before = first(c.method, c.path, func() (int, any, bool) { met = true; return c.do(org)() })
			_, err := custom.Declare(t.Context(), sales())
			lab.Must(t, err)
			if n := log.Count("declared"); strings.Contains(name, "answer is lost") && !c.declared && n != 3 {
				t.Errorf("of a channel and two members %d are told: %s", n, log)
			}
			if !met || len(org.channels) != 1 || org.channels[0]["MasterLabel"] != "Sales" || len(org.members) != 2 || org.member("AccountChangeEvent")["filterExpression"] != "Industry = 'Energy'" {
				t.Errorf("met %v; there are %v with %v", met, org.channels, org.members)
			}
		})
	}
}

func TestAMemberThatSalesforceRefusesKeepsNoOtherFromTheChannel(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	channel := sales()
	channel.Members = append([]channels.Member{
		{Event: "UnknownChangeEvent", Filter: "Name = 'planted-value'"}, {Event: "Unknown__ChangeEvent"},
	}, channel.Members...)
	org.before = func(a asked) (int, any, bool) {
		if a.is("POST", memberPath) && strings.Contains(a.body, "planted") {
			return 400, refuses("INVALID_FIELD", "unexpected token: Name = 'planted-value'"), false
		}
		return 0, nil, false
	}
	_, err := custom.Declare(t.Context(), channel)
	says(t, err, "channels: Sales__chn: member UnknownChangeEvent: ", "; member Unknown__ChangeEvent: ", "there is no entity")
	showsNothing(t, err, "planted")
	if server, ok := errors.AsType[*sfstream.ServerError](err); !ok || server.Code != sfstream.Invalid {
		t.Errorf("not the server's error: %v", err)
	}
	if writes := org.wrote(); len(org.members) != 2 || len(writes) != 5 {
		t.Errorf("members %v, wrote %v", org.members, writes)
	}

	org.before = func(a asked) (int, any, bool) {
		if a.method != "GET" {
			return 403, refuses("INSUFFICIENT_ACCESS", "no"), false
		}
		return 0, nil, false
	}
	_, err = custom.Declare(t.Context(), channel)
	says(t, err, "member UnknownChangeEvent", "left as they were")
	if server, ok := errors.AsType[*sfstream.ServerError](err); !ok || server.Code != sfstream.PermissionDenied || len(org.wrote()) != 1 {
		t.Errorf("goes on without permission: %v", err)
	}
	channel = sales()
	channel.Label = "Other"
	_, err = custom.Declare(t.Context(), channel)
	says(t, err, "channels: Sales__chn: ", "Customize Application")
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err = custom.Declare(ended, channel); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestACustomChannelOfAnotherTypeIsNotTouched(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	_, err := custom.Declare(t.Context(), channels.CustomChannel{Name: "Sales__chn", Type: channels.Event})
	lab.Must(t, err)
	org.took()
	_, err = custom.Declare(t.Context(), sales())
	says(t, err, "channels: Sales__chn: ", `"event"`, `"data"`)
	if err := custom.Delete(t.Context(), "/data/Sales__chn"); !errors.Is(err, channels.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if writes := org.wrote(); writes != nil {
		t.Errorf("wrote %v", writes)
	}
}

func TestCustomChannelsInAnOrgWithANamespace(t *testing.T) {
	org := newToolingOrg()
	org.channels = []map[string]any{{ // of a package
		"Id": "0YL000000000099AAA", "DeveloperName": "Sales", "NamespacePrefix": "pkg", "ManageableState": "installed", "FullName": "pkg__Sales__chn",
		"ChannelType": "event", "MasterLabel": "theirs", "Metadata": map[string]any{"channelType": "event", "label": "theirs"},
	}}
	org.namespace = "acme"
	custom := channels.NewCustom(org.client(t))
	for range 2 {
		made, err := custom.Declare(t.Context(), sales(), channels.Exactly())
		if lab.Must(t, err); made.Channel() != "/data/acme__Sales__chn" {
			t.Errorf("made %+v", made)
		}
	}
	if writes := org.wrote(); len(writes) != 3 || org.channels[0]["MasterLabel"] != "theirs" {
		t.Errorf("wrote %v, there is %v", writes, org.channels)
	}
	if org.member("acme__Employee__ChangeEvent") == nil || org.member("AccountChangeEvent") == nil {
		t.Errorf("the members are %v, want them as Salesforce names them: Exactly would remove others", org.members)
	}
	lab.Must(t, custom.Delete(t.Context(), "pkg__Sales__chn"))
	if len(org.channels) != 1 || org.channels[0]["NamespacePrefix"] != "acme" {
		t.Errorf("there is %v", org.channels)
	}
}

// Exactly is not to remove what is said, however Salesforce spells it.
func TestAnEventOfTheOrgsOwnIsOneWithItsNamespaceAndWithout(t *testing.T) {
	for name, row := range map[string]struct{ channel, said, there string }{
		"there with it":                     {"ChangeEvents", "Order__ChangeEvent", "acme__Order__ChangeEvent"},
		"there without":                     {"ChangeEvents", "acme__Order__ChangeEvent", "Order__ChangeEvent"},
		"there without, the channel's said": {"Sales__chn", "Order__ChangeEvent", "Order__ChangeEvent"},
	} {
		t.Run(name, func(t *testing.T) {
			org := newToolingOrg()
			org.namespace = "acme"
			custom := channels.NewCustom(org.client(t))
			say := channels.CustomChannel{Name: row.channel, Type: channels.Data}
			made, err := custom.Declare(t.Context(), say)
			lab.Must(t, err)
			org.selects(made.Name, row.there)
			org.selects(made.Name, "pkg__Other__ChangeEvent")
			org.before = func(a asked) (int, any, bool) {
				if a.is("POST", memberPath) {
					return 400, refuses("DUPLICATE_VALUE", "it is there, as "+row.there), false
				}
				return 0, nil, false
			}
			say.Members = []channels.Member{{Event: row.said, Filter: "Name != null"}}
			for range 2 {
				_, err = custom.Declare(t.Context(), say, channels.Exactly())
				lab.Must(t, err)
			}
			if there := org.member(row.there); len(org.members) != 1 || there == nil || there["filterExpression"] != "Name != null" {
				t.Errorf("there are %v", org.members)
			}
		})
	}
	org := newToolingOrg() // of a package it is another one
	custom := channels.NewCustom(org.client(t))
	org.selects("ChangeEvents", "pkg__Order__ChangeEvent")
	say := channels.CustomChannel{Name: "ChangeEvents", Members: []channels.Member{{Event: "Order__ChangeEvent"}}}
	_, err := custom.Declare(t.Context(), say, channels.Exactly())
	if lab.Must(t, err); len(org.members) != 1 || org.member("Order__ChangeEvent") == nil {
		t.Errorf("there are %v", org.members)
	}
}

func TestCustomChannelsAreListedAndDeleted(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	if list, err := custom.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("an org without channels lists %v %v", list, err)
	}
	made, err := custom.Declare(t.Context(), sales())
	lab.Must(t, err)
	org.selects("ChangeEvents", "LeadChangeEvent")
	org.makeChannel(body{"Orders__chn", map[string]any{"channelType": "event", "label": "Orders"}})
	org.selects("Orders__chn", "Order__e")
	org.page = 3 // all channels, and two pages of members
	list, err := custom.List(t.Context())
	lab.Must(t, err)
	want := []channels.CustomChannel{
		{Name: "ChangeEvents", Type: channels.Data, Members: []channels.Member{{Event: "LeadChangeEvent"}}}, made,
		{ID: org.channels[1]["Id"].(string), Name: "Orders__chn", Label: "Orders", Type: channels.Event, Members: []channels.Member{{Event: "Order__e"}}},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("listed %+v, want %+v", list, want)
	}
	org.page = 0
	lab.Must(t, custom.Delete(t.Context(), "/data/Sales__chn"))
	if err := custom.Delete(t.Context(), "Sales__chn"); !errors.Is(err, channels.ErrNotFound) || len(org.channels) != 1 || len(org.members) != 2 {
		t.Errorf("deleted again: %v; there is %v with %v", err, org.channels, org.members)
	}
	org.before = first("DELETE", channelPath+"/"+want[2].ID, func() (int, any, bool) { org.channels = nil; return 0, nil, false })
	lab.Must(t, custom.Delete(t.Context(), "Orders__chn")) // a rival deletes it
}

func TestAUserWhoMayNotSeeChannelsIsTold(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	org.before = func(asked) (int, any, bool) {
		return 400, refuses("INVALID_TYPE", "sObject type 'PlatformEventChannel' is not supported."), false
	}
	for _, do := range []func() error{
		func() error { _, err := custom.List(t.Context()); return err },
		func() error { _, err := custom.Declare(t.Context(), sales()); return err },
		func() error { return custom.Delete(t.Context(), "Sales__chn") },
	} {
		err := do()
		if says(t, err, "View Setup and Configuration"); errors.Is(err, channels.ErrNotFound) {
			t.Errorf("a channel is told as not there: %v", err)
		}
	}
}

func TestAnswersOfTheToolingAPIThatAreNone(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	for name, reply := range map[string]string{
		"an empty object":  `{}`,
		"a page for ever":  `{"done":false,"records":[],"nextRecordsUrl":"/services/data/v68.0/tooling/query/1"}`,
		"another host":     `{"done":false,"records":[],"nextRecordsUrl":"https://evil.example/services/data/"}`,
		"no page is next":  `{"done":false,"records":[]}`,
		"a page of a site": `<html>`,
	} {
		org.before = func(a asked) (int, any, bool) { return 200, reply, false }
		if _, err := custom.Declare(t.Context(), sales()); err == nil || !strings.Contains(err.Error(), "Sales__chn") {
			t.Errorf("%s: %v", name, err)
		}
		if writes := org.wrote(); writes != nil {
			t.Errorf("%s: wrote %v", name, writes)
		}
	}
}

func TestWhatNoCustomChannelCanBeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	org := newToolingOrg()
	custom := channels.NewCustom(org.client(t))
	named := func(name string) channels.CustomChannel {
		return channels.CustomChannel{Name: name, Type: channels.Data}
	}
	with := func(members ...channels.Member) channels.CustomChannel {
		return channels.CustomChannel{Name: "Sales__chn", Members: members}
	}
	account := channels.Member{Event: "AccountChangeEvent"}
	for words, channel := range map[string]channels.CustomChannel{
		`""`:                                          named(""),
		`"Sales"`:                                     named("Sales"),
		`"__chn"`:                                     named("__chn"),
		`"_Sales__chn"`:                               named("_Sales__chn"),
		`"Sales___chn"`:                               named("Sales___chn"),
		`"1Sales__chn"`:                               named("1Sales__chn"),
		`"Sa les__chn"`:                               named("Sa les__chn"),
		`"Sales'__chn"`:                               named("Sales'__chn"),
		`"/topic/Sales__chn"`:                         named("/topic/Sales__chn"),
		`"/data/event/Sales__chn"`:                    named("/data/event/Sales__chn"),
		`"/event/ChangeEvents"`:                       {Name: "/event/ChangeEvents"},
		`"/event/Sales__chn"`:                         named("/event/Sales__chn"),
		"Label cannot be changed":                     {Name: "ChangeEvents", Label: "x", Members: []channels.Member{account}},
		`"event"`:                                     {Name: "ChangeEvents", Type: channels.Event},
		`Type "monitoring"`:                           {Name: "Sales__chn", Type: "monitoring"},
		"it has no members":                           with(),
		`member ""`:                                   with(channels.Member{}),
		`member "Account"`:                            with(channels.Member{Event: "Account"}),
		`member "Employee__c"`:                        with(channels.Member{Event: "Employee__c"}),
		`member "ChangeEvents"`:                       with(channels.Member{Event: "ChangeEvents"}),
		`member "/event/CaseChangeEvent"`:             with(channels.Member{Event: "/event/CaseChangeEvent"}),
		`member "/data/Order__e"`:                     with(channels.Member{Event: "/data/Order__e"}),
		"member Order__e is not of the change":        with(account, channels.Member{Event: "Order__e"}),
		"member AccountChangeEvent is not of":         {Name: "/event/Sales__chn", Members: []channels.Member{account}},
		"Real-Time Event Monitoring on":               with(channels.Member{Event: "Order__e"}, channels.Member{Event: "LoginEventStream"}),
		"member AccountChangeEvent is there":          with(account, account),
		"only change events can":                      with(channels.Member{Event: "Order__e", Enriched: []string{"Qty__c"}}),
		`enriched field "Sa les"`:                     with(channels.Member{Event: "AccountChangeEvent", Enriched: []string{"Sa les"}}),
		"enriched field phone is":                     with(channels.Member{Event: "AccountChangeEvent", Enriched: []string{"Phone", "phone"}}),
		`member "LeadChangeEvent": its Filter is not`: with(account, channels.Member{Event: "LeadChangeEvent", Filter: "Name = 'planted\xff'"}),
	} {
		_, err := custom.Declare(t.Context(), channel)
		if says(t, err, words); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", words, err)
		}
		showsNothing(t, err, "planted")
	}
	for _, do := range []func() error{
		func() error { return custom.Delete(t.Context(), "ChangeEvents") },
		func() error { return custom.Delete(t.Context(), "Sales") },
		func() error { return channels.NewCustom(nil).Delete(t.Context(), "Sales__chn") },
		func() error { _, err := channels.NewCustom(nil).List(t.Context()); return err },
		func() error { _, err := channels.NewCustom(nil).Declare(t.Context(), sales()); return err },
	} {
		if err := do(); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("not refused: %v", err)
		}
	}
	if got := org.took(); got != nil {
		t.Errorf("sent %v", got)
	}
}
