package channels_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestTheTopicOfAnObjectHasItsNameAndQuery(t *testing.T) {
	o := newTopicOrg()
	topics := channels.NewPushTopics(o.client(t))
	for _, row := range []struct {
		object      string
		opts        []channels.SObjectOption
		name, query string
	}{
		{"Contact", nil, "Contact", "SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact"},
		{"contact", nil, "contact", "SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact"},
		{"Case", nil, "Case", "SELECT Id, CaseNumber, LastModifiedById, LastModifiedDate FROM Case"},
		{"Bare__c", nil, "Bare__c", "SELECT Id FROM Bare__c"},
		{"Contact", []channels.SObjectOption{channels.RecordType("Student")}, "ContactStudent",
			"SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact WHERE RecordTypeId = '" + studentID + "'"},
		{"Contact", []channels.SObjectOption{channels.RecordType("student")}, "Contactstudent",
			"SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Contact WHERE RecordTypeId = '" + studentID + "'"},
		{"Employee__c", []channels.SObjectOption{channels.ExcludeCurrentUser()}, "Employee__c",
			"SELECT Id, Name, LastModifiedById, LastModifiedDate FROM Employee__c WHERE LastModifiedById != '" + userID + "'"},
		{"Contact", []channels.SObjectOption{channels.ExcludeCurrentUser(), channels.RecordType("Teacher"), channels.Fields("email", "ID"), channels.Fields("Student_Number__c", "Email"), channels.Name("Teachers")},
			"Teachers", "SELECT Id, Email, Student_Number__c FROM Contact WHERE RecordTypeId = '" + teacherID + "' AND LastModifiedById != '" + userID + "'"},
	} {
		got, err := topics.ForSObject(t.Context(), row.object, row.opts...)
		lab.Must(t, err)
		if want := (channels.PushTopic{Name: row.name, Query: row.query, NotifyForFields: channels.All}); got != want {
			t.Errorf("%s:\n%+v, want\n%+v", row.object, got, want)
		}
	}
	got, err := topics.ForSObject(t.Context(), "Contact", channels.NotifyFor(channels.Referenced), channels.NotifyOn(channels.Create|channels.Delete), channels.Description("students"))
	lab.Must(t, err)
	if got.NotifyForFields != channels.Referenced || got.Operations != channels.Create|channels.Delete || got.Description != "students" {
		t.Errorf("got %+v", got)
	}
	expectWrites(t, o)
}

func TestWhatNoObjectsTopicCanBeIsRefusedBeforeAnythingIsSent(t *testing.T) {
	o := newTopicOrg()
	topics := channels.NewPushTopics(o.client(t))
	sent := len(o.got)
	for _, row := range []struct {
		object string
		opt    channels.SObjectOption
		want   string
	}{
		{"", channels.ExcludeCurrentUser(), "no name of an object"},
		{"Contact WHERE", channels.ExcludeCurrentUser(), "no name of an object"},
		{"Contact", nil, "an option is nil"},
		{"Contact", channels.RecordType(""), `"" is no developer name`},
		{"Contact", channels.RecordType("Stu'dent"), "is no developer name"},
		{"Contact", channels.RecordType("Student Record"), "Record Type Name"}, // which is its label
		{"Contact", channels.RecordType("InternationalStudent"), "27 characters, and Salesforce takes 25: give another one with Name"},
		{"Contact", channels.Name("a b"), "characters that no channel may have"},
		{"Contact", channels.Name(""), "no Name"},
		{"Contact", channels.Fields("Owner.Name"), `"Owner.Name": a PushTopic has no fields of a relationship`},
		{"Contact", channels.Fields("Email FROM User"), "no name of a field"},
		{"Contact", channels.NotifyFor(channels.Where), "NotifyForFields is Where, and its Query has no such field beside Id"},
		{"Contact", channels.NotifyFor("Some"), "want All, Referenced, Select or Where"},
		{"Contact", channels.NotifyOn(64), "want Create, Update"},
		{"Contact", channels.Description(strings.Repeat("d", 401)), "401 characters"},
	} {
		_, err := topics.ForSObject(t.Context(), row.object, row.opt)
		if !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%q: %v, want ErrInvalidOption", row.want, err)
			continue
		}
		lab.Contains(t, err.Error(), row.want, row.object)
	}
	if len(o.got) != sent {
		t.Errorf("%d requests were sent", len(o.got)-sent)
	}
	if _, err := topics.ForSObject(t.Context(), "Contact", channels.RecordType("Student"), channels.Name("International")); err != nil {
		t.Errorf("with a Name of its own: %v", err)
	}
}

func TestWhatTheOrgDoesNotHaveIsNamed(t *testing.T) {
	o := newTopicOrg()
	topics := channels.NewPushTopics(o.client(t))
	for _, row := range []struct {
		object string
		opts   []channels.SObjectOption
		want   []string
	}{
		{"Contract", nil, []string{"PushTopic Contract", "not found", "sobjects/Contract/describe"}},
		{"Contact", []channels.SObjectOption{channels.Fields("Emial")}, []string{"PushTopic Contact", "Contact.Emial", "is it Email?"}},
		{"Contact", []channels.SObjectOption{channels.Fields("Student_Number")}, []string{"Contact.Student_Number; is it Student_Number__c?"}},
		{"Packed__c", []channels.SObjectOption{channels.Fields("Code__c")}, []string{"Packed__c.Code__c; is it acme__Code__c?"}},
		{"Contact", []channels.SObjectOption{channels.Fields("Birthday")}, []string{"Contact.Birthday"}},
		{"Contact", []channels.SObjectOption{channels.RecordType("Pupil")}, []string{"PushTopic ContactPupil", "Contact has no record type Pupil: it has Student, Teacher"}},
		{"Case", []channels.SObjectOption{channels.RecordType("Student")}, []string{"Case has no record type Student: it has none"}},
		{"Bare__c", []channels.SObjectOption{channels.ExcludeCurrentUser()}, []string{"ExcludeCurrentUser", "Bare__c.LastModifiedById"}},
	} {
		_, err := topics.ForSObject(t.Context(), row.object, row.opts...)
		if !errors.Is(err, channels.ErrNotFound) {
			t.Errorf("%v: %v, want ErrNotFound", row.want, err)
			continue
		}
		lab.Contains(t, err.Error(), row.want...)
	}
	o.user = `{"sub":"somebody"}`
	_, err := topics.ForSObject(t.Context(), "Contact", channels.ExcludeCurrentUser())
	if err == nil {
		t.Fatal("a user without id is excluded")
	}
	lab.Contains(t, err.Error(), "PushTopic Contact", "ExcludeCurrentUser", "no id of a user")
	o.objects["Wide__c"] = "Id " + strings.Repeat("x", 700) + " " + strings.Repeat("y", 700)
	_, err = topics.ForSObject(t.Context(), "Wide__c", channels.Fields(strings.Repeat("x", 700), strings.Repeat("y", 700)))
	if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), "its Query has 1426 characters") {
		t.Errorf("a query that is too long: %v", err)
	}
}

func TestARecordTypeThatWasRenamedKeepsItsTopic(t *testing.T) {
	students := []channels.SObjectOption{channels.RecordType("Student"), channels.ExcludeCurrentUser()}
	for name, row := range map[string]struct {
		rename func(o *topicOrg)
		want   string // the record type's id in the query; empty: an error
		now    string // the developer name in the warning; empty: there is none
	}{
		"not renamed": {func(*topicOrg) {}, studentID, ""},
		"renamed": {func(o *topicOrg) {
			o.recordTypes["Contact"] = map[string]string{"Pupil": studentID, "Teacher": teacherID}
		}, studentID, "Pupil"},
		"renamed, and another has it": {func(o *topicOrg) {
			o.recordTypes["Contact"] = map[string]string{"Pupil": studentID, "Student": teacherID}
		}, teacherID, ""},
		"deleted": {func(o *topicOrg) { delete(o.recordTypes["Contact"], "Student") }, "", ""},
		"renamed, and the topic gone": {func(o *topicOrg) {
			o.recordTypes["Contact"] = map[string]string{"Pupil": studentID}
			o.topics = nil
		}, "", ""},
		"renamed, and the topic about another": {func(o *topicOrg) {
			o.recordTypes["Contact"] = map[string]string{"Pupil": studentID}
			o.topics[0]["Query"] = "SELECT Id FROM Contact WHERE RecordTypeId = '012000000000009AAA'"
		}, "", ""},
		"renamed, and the query by hand, with the id in 15 characters": {func(o *topicOrg) {
			o.recordTypes["Contact"] = map[string]string{"Pupil": studentID}
			o.topics[0]["Query"] = "select id from Contact where recordtypeid='" + studentID[:15] + "'"
		}, studentID, "Pupil"},
	} {
		t.Run(name, func(t *testing.T) {
			o, log := newTopicOrg(), new(lab.Log)
			topics := channels.NewPushTopics(o.client(t, sfstream.WithLogger(log.Logger())))
			declare := func() (channels.PushTopic, error) {
				topic, err := topics.ForSObject(t.Context(), "Contact", students...)
				if err != nil {
					return topic, err
				}
				return topics.Declare(t.Context(), topic)
			}
			before, err := declare()
			lab.Must(t, err)
			row.rename(o)
			o.wrote()
			after, err := declare()
			warned := strings.Count(log.String(), "a record type was renamed")
			switch {
			case row.want == "":
				if !errors.Is(err, channels.ErrNotFound) {
					t.Errorf("got %+v, %v, want ErrNotFound", after, err)
				}
				expectWrites(t, o)
			case err != nil || after.Name != before.Name || !strings.Contains(after.Query, "RecordTypeId = '"+row.want+"' AND LastModifiedById"):
				t.Errorf("got %+v, %v", after, err)
			case row.want == studentID && after.ID == before.ID && after.Query != before.Query:
				t.Errorf("got %+v, want %+v", after, before)
			}
			if (row.now != "") != (warned == 1) || warned > 1 || !strings.Contains(log.String(), row.now) {
				t.Errorf("it warned %d times:\n%s", warned, log)
			}
			if row.now != "" {
				lab.Contains(t, log.String(), "ContactStudent", `RecordType(\"Pupil\"), Name(\"ContactStudent\")`)
			}
		})
	}
}

func TestAFailureWhileATopicIsBuiltNamesIt(t *testing.T) {
	for _, part := range []string{"/describe", "/query", "/userinfo"} {
		o := newTopicOrg()
		o.before = func(a asked) (int, any, bool) {
			if strings.HasSuffix("/"+a.path, part) {
				return 403, refuses("API_CURRENTLY_DISABLED", "said about "+part), false
			}
			return 0, nil, false
		}
		_, err := channels.NewPushTopics(o.client(t)).ForSObject(t.Context(), "Contact", channels.RecordType("Student"), channels.ExcludeCurrentUser())
		lab.ExpectError[*sfstream.ServerError](t, err)
		lab.Contains(t, err.Error(), "PushTopic ContactStudent", "said about "+part)
	}
	o := newTopicOrg()
	o.before = first("GET", "sobjects/Contact/describe", func() (int, any, bool) { return 200, "<html>", false })
	_, err := channels.NewPushTopics(o.client(t)).ForSObject(t.Context(), "Contact")
	if err == nil {
		t.Fatal("a page was taken for a describe")
	}
	lab.Contains(t, err.Error(), "PushTopic Contact", "cannot be read")
}
