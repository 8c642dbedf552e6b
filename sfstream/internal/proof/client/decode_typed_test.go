package client

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

type typedAddress struct {
	Street, City sfstream.Optional[string]
	Latitude     *float64
}

// typedContact is a contact as a program has it that must know what changed.
type typedContact struct {
	Header struct {
		Type    string   `sf:"changeType"`
		Records []string `sf:"recordIds"`
		Changed []string `sf:"changedFields"`
	} `sf:"ChangeEventHeader"`
	Phone        sfstream.Optional[string]
	Email        *string
	Age          sfstream.Optional[int8] `sf:"Age__c"`
	Skills       []string                `sf:"Skills__c"`
	Wishes       sfstream.Optional[[]string]
	Birthdate    time.Time
	Since        sfstream.Optional[time.Time] `sf:"Since__c"`
	Opens        time.Time                    `sf:"Opens__c"`
	OpensText    string                       `sf:"Opens__c"`
	Modified     time.Time                    `sf:"LastModifiedDate"`
	Address      typedAddress                 `sf:"MailingAddress"`
	OtherAddress sfstream.Optional[typedAddress]
	Nowhere      sfstream.Optional[string]
}

var typedFields = []sfstreamtest.Field{
	{Name: "Name", Type: "Switchable_PersonName"}, {Name: "Ratio__c", Type: "Double"}, {Name: "Description", Type: "StringPlusClob"}, {Name: "Phone", Type: "Phone"}, {Name: "Email", Type: "Email"}, {Name: "Age__c", Type: "Double"},
	{Name: "Skills__c", Type: "MultiEnum"}, {Name: "Wishes", Type: "MultiEnum"},
	{Name: "Birthdate", Type: "Birthday"}, {Name: "Since__c", Type: "DateOnly"}, {Name: "Opens__c", Type: "TimeOnly"},
	{Name: "LastModifiedDate", Type: "DateTime"},
	{Name: "MailingAddress", Type: "Address"}, {Name: "OtherAddress", Type: "Address"},
}

func optionalOf[T any](value T) (o sfstream.Optional[T]) {
	o.Set(value)
	return o
}

func nullOf[T any]() (o sfstream.Optional[T]) {
	o.SetNull()
	return o
}

// typedChange lets a contact change and receives it.
func typedChange(l *lab.Lab, c sfstreamtest.Change) *sfstream.Message {
	l.T.Helper()
	l.Must(l.DefineObject("Contact", typedFields...))
	l.Start()
	l.Subscribe("/data/ContactChangeEvent")
	c.Object, c.RecordIDs = "Contact", []string{"003000000000001AAA"}
	_, err := l.Change(c)
	l.Must(err)
	return l.Receive()
}

func TestDecodeTellsWhatIsSetWhatIsNulledAndWhatIsUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		latitude, email := 45.75, "old"
		day := time.Date(1990, 2, 28, 0, 0, 0, 0, time.UTC)
		m := typedChange(l, sfstreamtest.Change{
			Type: "UPDATE",
			Set: map[string]any{
				"Phone": "+33", "Age__c": 41.0, "Skills__c": "Go;C++", "Birthdate": day, "Opens__c": time.Date(1970, 1, 1, 8, 30, 0, 0, time.UTC),
				"LastModifiedDate": lab.Date, "MailingAddress": map[string]any{"City": "Lyon", "Latitude": latitude},
			},
			Null: []string{"Email", "Wishes", "Since__c", "OtherAddress.City"},
		})
		got := typedContact{Email: &email, Wishes: optionalOf([]string{"old"}), Nowhere: optionalOf("kept")}
		got.Address.Street.Set("kept")
		l.Must(m.Decode(&got))
		want := typedContact{
			Phone: optionalOf("+33"), Age: optionalOf[int8](41), Skills: []string{"Go", "C++"}, Wishes: nullOf[[]string](),
			Birthdate: day, Since: nullOf[time.Time](), Modified: lab.Date,
			Opens: time.Date(1970, 1, 1, 8, 30, 0, 0, time.UTC), OpensText: "08:30:00.000Z",
			Address:      typedAddress{Street: optionalOf("kept"), City: optionalOf("Lyon"), Latitude: &latitude},
			OtherAddress: optionalOf(typedAddress{City: nullOf[string]()}),
			Nowhere:      optionalOf("kept"),
		}
		want.Header.Type, want.Header.Records = "UPDATE", []string{"003000000000001AAA"}
		change, err := m.Change()
		l.Must(err)
		want.Header.Changed = change.ChangedFields
		if len(change.ChangedFields) != 12 || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestDecodeGivesADiffAsText(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		const diff = "--- \n+++ 00\n@@ -1,1 +1,1 @@\n-a\n+b"
		m := typedChange(l, sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{"Description": diff}, Diff: []string{"Description"}})
		got, err := sfstream.Decode[struct{ Description sfstream.Optional[string] }](m)
		l.Must(err)
		if got.Description != optionalOf(diff) {
			t.Errorf("%v", got.Description)
		}
	})
}

// Of a record that is created, what has no value is not in the event of a change.
func TestDecodeOfACreatedRecordLeavesWhatHasNoValueUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		m := typedChange(l, sfstreamtest.Change{Type: "CREATE", Set: map[string]any{
			"Skills__c": "Go", "Wishes": "", "Since__c": time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC),
		}})
		got, err := sfstream.Decode[typedContact](m)
		l.Must(err)
		if wishes, _ := got.Wishes.Get(); !got.Phone.IsZero() || len(got.Skills) != 1 || wishes == nil || len(wishes) != 0 {
			t.Errorf("%+v", got)
		}
		if since, ok := got.Since.Get(); !ok || since.Format(time.RFC3339) != "2000-02-29T00:00:00Z" {
			t.Errorf("%v", got.Since)
		}
	})
}

// A platform event has all its fields.
func TestDecodeOfAnEventWithoutAValueIsNull(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		got, err := sfstream.Decode[struct {
			Void__c, Other sfstream.Optional[string]
			Text           *sfstream.Optional[string] `sf:"Text__c"`
			Big            sfstream.Optional[any]     `sf:"Big__c"`
		}](m)
		l.Must(err)
		if !got.Void__c.IsNull() || !got.Other.IsZero() || *got.Text != optionalOf("text") || got.Big != optionalOf[any](int64(1735689600123456789)) {
			t.Errorf("%+v", got)
		}
	})
}

func TestDecodeErrorsAreTheSameOnBothAPIs(t *testing.T) {
	type small struct{ City int }
	rows := map[string]struct {
		into  any
		field string
		says  string
	}{
		"overflow":        {struct{ Age__c int8 }{}, "Age__c", "300 overflows int8"},
		"optional":        {struct{ Age__c sfstream.Optional[uint8] }{}, "Age__c", "300 overflows uint8"},
		"not whole":       {struct{ Ratio__c sfstream.Optional[*int] }{}, "Ratio__c", "cannot put 1.5 into a Go int"},
		"nested":          {struct{ MailingAddress *small }{}, "MailingAddress.City", `cannot put the text "Lyon" into a Go int`},
		"nested optional": {struct{ MailingAddress sfstream.Optional[small] }{}, "MailingAddress.City", `cannot put the text "Lyon" into a Go int`},
		"record in text":  {struct{ MailingAddress string }{}, "MailingAddress", "cannot put a map[string]interface {} into a Go string"},
		"record in time":  {struct{ MailingAddress time.Time }{}, "MailingAddress", "into a Go time.Time"},
		"text in record":  {struct{ Name small }{}, "Name", `cannot put the text "Acme" into a Go client.small`},
		"chan":            {struct{ Name chan int }{}, "Name", "into a Go chan int"},
		"function":        {struct{ Name *func() }{}, "Name", "into a Go func()"},
		"list of numbers": {struct{ Name []int }{}, "Name", "into a Go []int"},
		"duration":        {struct{ Opens__c time.Duration }{}, "Opens__c", "into a Go time.Duration"},
		"header": {struct {
			ChangeEventHeader struct {
				Changed []int `sf:"changedFields"`
			}
		}{}, "ChangeEventHeader.changedFields.0", "into a Go int"},
		"names in text": {struct {
			ChangeEventHeader struct {
				Changed string `sf:"changedFields"`
			}
		}{}, "ChangeEventHeader.changedFields", "into a Go string"},
	}
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		m := typedChange(l, sfstreamtest.Change{Type: "UPDATE", Set: map[string]any{
			"Name": "Acme", "Age__c": 300.0, "Ratio__c": 1.5, "Opens__c": lab.Date, "MailingAddress": map[string]any{"City": "Lyon"},
		}})
		for name, row := range rows {
			var e *sfstream.DecodeError
			err := m.Decode(reflect.New(reflect.TypeOf(row.into)).Interface())
			if !errors.As(err, &e) || e.Field != row.field || !strings.HasSuffix(err.Error(), row.says) {
				t.Errorf("%s: %v; want field %s, %s", name, err, row.field, row.says)
			}
		}
	})
}
