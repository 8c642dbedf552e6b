package client

import (
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

type place struct {
	City  string
	Floor *int8
	Spot  *struct{ X uint64 }
}

type common struct {
	CreatedById string
	CreatedDate time.Time
}

// event has a field of each kind that a payload's value may go into.
type event struct {
	common
	Text    string  `sf:"Text__c"`
	TextPtr *string `sf:"Text__c"`
	Flag__c bool
	Small   int16   `sf:"Int__c"`
	Any     any     `sf:"N__c"`
	Double  float64 `sf:"N__c"`
	Single  float32 `sf:"N__c"`
	Big     int64   `sf:"Big__c"`
	When    time.Time
	WhenTag time.Time      `sf:"When__c"`
	WhenPtr *time.Time     `sf:"When__c"`
	Millis  int64          `sf:"When__c"`
	Text3   string         `sf:"When__c"`
	Place   place          `sf:"Place__c"`
	Ptr     **place        `sf:"Place__c"`
	Map     map[string]any `sf:"Place__c"`
	Void    *string        `sf:"Void__c"`
	VoidVal string         `sf:"Void__c"`
	Other   string         // not in the event
	Ignored string         `sf:"-"`
	hidden  string         `sf:"Text__c"`
}

func TestDecodeIntoAStruct(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		old := "old"
		got := event{Other: "kept", Ignored: "kept", hidden: "kept", Void: &old, VoidVal: "old"}
		l.Must(m.Decode(&got))
		floor, text := int8(7), "text"
		nested := place{City: "Lyon", Floor: &floor, Spot: &struct{ X uint64 }{1 << 40}}
		ptr := &nested
		want := event{
			common: common{CreatedById: l.Account().UserID, CreatedDate: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
			Text:   "text", TextPtr: &text, Flag__c: true, Small: -300, Any: 58.25, Double: 58.25, Single: 58.25, Big: 1735689600123456789,
			WhenTag: lab.Date, WhenPtr: &lab.Date, Millis: lab.Date.UnixMilli(), Text3: "2025-06-01T12:30:15.123Z",
			Place: nested, Ptr: &ptr,
			Map:   map[string]any{"City": "Lyon", "Floor": int64(7), "Spot": map[string]any{"X": int64(1 << 40)}},
			Other: "kept", Ignored: "kept", hidden: "kept",
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestDecodeIntoMapsAndAny(t *testing.T) {
	aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
		want, err := m.Fields()
		l.Must(err)
		var asMap map[string]any
		l.Must(m.Decode(&asMap))
		var asAny any
		l.Must(m.Decode(&asAny))
		given := map[string]any{"mine": 1}
		l.Must(m.Decode(given))
		if given["mine"] != 1 {
			t.Error("a map that was given has lost what it held")
		}
		delete(given, "mine")
		generic, err := sfstream.Decode[map[string]any](m)
		l.Must(err)
		pointer, err := sfstream.Decode[*event](m)
		l.Must(err)
		if pointer == nil || pointer.Text != "text" {
			t.Errorf("%+v", pointer)
		}
		for _, got := range []any{asMap, asAny, given, generic} {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		}
	})
}

func TestDecodeRefusesWhatWouldLoseSomething(t *testing.T) {
	for _, row := range []struct {
		into  any
		field string
		says  string
	}{
		{&struct{ Int__c int8 }{}, "Int__c", "overflows int8"},
		{&struct{ Int__c uint32 }{}, "Int__c", "overflows uint32"},
		{&struct{ Big__c int32 }{}, "Big__c", "overflows int32"},
		{&struct{ Big__c float64 }{}, "Big__c", "not exact"},
		{&struct{ N__c int }{}, "N__c", "cannot put 58.25"},
		{&struct{ Text__c int }{}, "Text__c", "cannot put the text"},
		{&struct{ Flag__c string }{}, "Flag__c", "cannot put true"},
		{&struct{ When__c bool }{}, "When__c", "2025-06-01T12:30:15.123Z"},
		{&struct{ Place__c string }{}, "Place__c", "cannot put a map"},
		{&struct{ Place__c struct{ Floor uint8 } }{}, "", ""},
		{&struct {
			Place__c struct{ Spot struct{ X int32 } }
		}{}, "Place__c.Spot.X", "overflows int32"},
		{&struct {
			P *place2 `sf:"Place__c"`
		}{}, "Place__c.City", "cannot put the text"},
		{&map[string]string{}, "*", "cannot put"},
		{&map[int]any{}, "", "string keys"},
		{new(int), "", "cannot put a map"},
		{event{}, "", "non-nil pointer"},
		{nil, "", "non-nil pointer"},
		{(*event)(nil), "", "non-nil pointer"},
		{map[string]any(nil), "", "non-nil pointer"},
	} {
		aMessage(t, func(t *testing.T, l *lab.Lab, m *sfstream.Message) {
			err := m.Decode(row.into)
			if row.says == "" {
				l.Must(err)
				return
			}
			e := lab.ExpectError[*sfstream.DecodeError](t, err)
			if row.field != "*" && e.Field != row.field || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), e.Field) {
				t.Errorf("%T: field %q, %v; want field %q, %q", row.into, e.Field, err, row.field, row.says)
			}
		})
	}
}

type place2 struct{ City int }

func TestDecodeOfAChangeLeavesTheUnchangedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.Start()
		l.Subscribe(lab.Accounts)
		l.ChangeAccount(5)
		m := l.Receive()
		account := struct {
			Name              string
			NumberOfEmployees int
		}{"Acme", 4}
		l.Must(m.Decode(&account))
		if account.Name != "Acme" || account.NumberOfEmployees != 5 {
			t.Errorf("%+v", account)
		}
	})
}
