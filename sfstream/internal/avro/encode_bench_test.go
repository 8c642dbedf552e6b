package avro

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
)

// The events of the benchmarks have ten fields of the kinds that a platform event has.
const tenFields = `{"type":"record","name":"Order_Event__e","namespace":"com.sforce.eventbus","fields":[
	{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},
	{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"},
	{"name":"Order_Number__c","type":["null","string"],"doc":"Data:Text:00NgL00000vXMFS","default":null},
	{"name":"City__c","type":["null","string"],"doc":"Data:Text:00NgL00000vXNGM","default":null},
	{"name":"Amount__c","type":["null","double"],"doc":"Data:Double:00NgL00000vXNVG","default":null},
	{"name":"Lines__c","type":["null","double"],"doc":"Data:Double:00NgL00000vXNVH","default":null},
	{"name":"Express__c","type":["null","boolean"],"doc":"Data:Boolean:00NgL00000vXNVI","default":null},
	{"name":"Due__c","type":["null","long"],"doc":"Data:DateTime:00NgL00000vXNVJ","default":null},
	{"name":"Account__c","type":["null","string"],"doc":"Data:Text:00NgL00000vXNVK","default":null},
	{"name":"Note__c","type":["null","string"],"doc":"Data:StringPlusClob:00NgL00000vXNVL","default":null}]}`

// order is as hamba and Append both take it, with times as milliseconds.
type order struct {
	CreatedDate int64    `avro:"CreatedDate"`
	CreatedByID string   `avro:"CreatedById" sf:"CreatedById"`
	OrderNumber string   `avro:"Order_Number__c" sf:"Order_Number__c"`
	City        *string  `avro:"City__c" sf:"City__c"`
	Amount      float64  `avro:"Amount__c" sf:"Amount__c"`
	Lines       *float64 `avro:"Lines__c" sf:"Lines__c"`
	Express     bool     `avro:"Express__c" sf:"Express__c"`
	Due         int64    `avro:"Due__c" sf:"Due__c"`
	Account     *string  `avro:"Account__c" sf:"Account__c"`
	Note        *string  `avro:"Note__c" sf:"Note__c"`
}

// orderTimed is the same event with a time and optionals.
type orderTimed struct {
	CreatedDate time.Time
	CreatedByID string         `sf:"CreatedById"`
	OrderNumber string         `sf:"Order_Number__c"`
	City        maybe[string]  `sf:"City__c"`
	Amount      float64        `sf:"Amount__c"`
	Lines       maybe[float64] `sf:"Lines__c"`
	Express     bool           `sf:"Express__c"`
	Due         time.Time      `sf:"Due__c"`
	Account     maybe[string]  `sf:"Account__c"`
	Note        maybe[string]  `sf:"Note__c"`
}

func orders() (order, orderTimed, m) {
	a := order{1735689600000, "005000000000001AAA", "O-4711", new("Lyon"), 1250.5, new(3.0), true, 1736121660000, new("001000000000001AAA"), nil}
	b := orderTimed{
		time.UnixMilli(a.CreatedDate), a.CreatedByID, a.OrderNumber, maybe[string]{*a.City, "set"}, a.Amount, maybe[float64]{*a.Lines, "set"},
		a.Express, time.UnixMilli(a.Due), maybe[string]{*a.Account, "set"}, maybe[string]{},
	}
	return a, b, m{
		"CreatedDate": a.CreatedDate, "CreatedById": a.CreatedByID, "Order_Number__c": a.OrderNumber, "City__c": *a.City, "Amount__c": a.Amount,
		"Lines__c": *a.Lines, "Express__c": a.Express, "Due__c": a.Due, "Account__c": *a.Account, "Note__c": nil,
	}
}

// BenchmarkAppend is beside hamba with the same struct of ten fields. Payloads go where there is
// room for them; those of kept stay, 32 KiB of them in one allocation, as those of a request do,
// and those of alone have an allocation each.
func BenchmarkAppend(b *testing.B) {
	s, binder := mustParse(b, tenFields), newBinder()
	oracle, err := hamba.ParseWithCache(tenFields, "", &hamba.SchemaCache{})
	if err != nil {
		b.Fatal(err)
	}
	api := hamba.Config{}.Freeze()
	plain, timed, asMap := orders()
	want, err := api.Marshal(oracle, &plain)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, encode func() ([]byte, error)) {
		b.Run(name, func(b *testing.B) {
			if got, err := encode(); err != nil || !bytes.Equal(got, want) {
				b.Fatalf("%v\n got %x\nwant %x", err, got, want)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/event")
		})
	}
	var kept []byte
	room, boxed := make([]byte, 0, 1024), any(plain)
	run("x-hamba", func() ([]byte, error) { return api.Marshal(oracle, &plain) })
	run("x-hamba-map", func() ([]byte, error) { return api.Marshal(oracle, asMap) })
	run("struct", func() ([]byte, error) { return binder.Append(room, s, &plain, System{}) })
	run("kept", func() ([]byte, error) {
		if cap(kept)-len(kept) < len(want) {
			kept = make([]byte, 0, 32<<10)
		}
		payload, err := binder.Append(kept[len(kept):], s, &plain, System{})
		kept = kept[:len(kept)+len(payload)]
		return payload, err
	})
	run("alone", func() ([]byte, error) { return binder.Append(nil, s, &plain, System{}) })
	run("value", func() ([]byte, error) { return binder.Append(room, s, boxed, System{}) })
	run("times", func() ([]byte, error) { return binder.Append(room, s, &timed, System{}) })
	run("map", func() ([]byte, error) { return binder.Append(room, s, asMap, System{}) })
}

func TestAppendAllocatesNothingButThePayload(t *testing.T) {
	s, b := mustParse(t, tenFields), newBinder()
	plain, timed, asMap := orders()
	room := make([]byte, 0, 1024)
	for _, v := range []any{plain, &plain, timed, &timed, asMap, &asMap} {
		for dst, want := range map[*[]byte]float64{new([]byte): 1, &room: 0} {
			got := testing.AllocsPerRun(100, func() {
				if _, err := b.Append(*dst, s, v, System{}); err != nil {
					t.Fatal(err)
				}
			})
			if got > want {
				t.Errorf("%s: %v allocations, want %v", reflect.TypeOf(v), got, want)
			}
		}
	}
}
