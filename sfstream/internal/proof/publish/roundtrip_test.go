package publish

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// valuesSchema has each type of field that a platform event can have.
var valuesSchema = lab.Schema("Values__e",
	`{"name":"Text__c","type":["null","string"],"doc":"Data:Text","default":null}`,
	`{"name":"Long__c","type":["null","string"],"doc":"Data:TextArea","default":null}`,
	`{"name":"Flag__c","type":["null","boolean"],"doc":"Data:Boolean","default":null}`,
	`{"name":"Number__c","type":["null","double"],"doc":"Data:Double","default":null}`,
	`{"name":"Day__c","type":["null","long"],"doc":"Data:DateOnly","default":null}`,
	`{"name":"At__c","type":["null","long"],"doc":"Data:DateTime","default":null}`)

// values is such an event as programs receive it, pointed as those that publish with pointers have
// it, and optional as those with Optionals.
type (
	values struct {
		Text   *string    `sf:"Text__c"`
		Long   *string    `sf:"Long__c"`
		Flag   *bool      `sf:"Flag__c"`
		Number *float64   `sf:"Number__c"`
		Day    *string    `sf:"Day__c"`
		At     *time.Time `sf:"At__c"`
	}
	optionalValues struct {
		At     sfstream.Optional[time.Time] `json:"At__c"`
		Day    sfstream.Optional[string]    `json:"Day__c"`
		Number sfstream.Optional[float64]   `json:"Number__c"`
		Flag   sfstream.Optional[bool]      `json:"Flag__c"`
		Long   sfstream.Optional[string]    `json:"Long__c"`
		Text   sfstream.Optional[string]    `json:"Text__c"`
	}
)

// pick is null, one of the edges, or a random value.
func pick[T any](r *rand.Rand, random T, edges ...T) *T {
	switch n := r.IntN(len(edges) + 4); {
	case n < len(edges):
		return &edges[n]
	case n == len(edges):
		return nil
	}
	return &random
}

func randomValues(r *rand.Rand) values {
	runes := make([]rune, r.IntN(300))
	for i := range runes {
		runes[i] = []rune("aé€😀\u2028\"\\<&\t\n ;\u007f")[r.IntN(14)]
	}
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	ms := r.Int64N(253402300799999 + 2208988800000)
	return values{
		Text: pick(r, string(runes), "", "null", "0", " ", "1,5"),
		Long: pick(r, string(append(runes, runes...)), "\n"),
		Flag: pick(r, r.IntN(2) == 0),
		Number: pick(r, (r.Float64()-0.5)*math.Pow10(r.IntN(30)-10), 0, -1, 0.1, 1<<53, -(1 << 53), math.MaxInt64, 1e-300, 1e300,
			math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1)),
		Day: pick(r, at(ms-2208988800000).Format(time.DateOnly), "1970-01-01", "0001-01-01", "9999-12-31", "1969-12-31", "2024-02-29"),
		At:  pick(r, at(ms-2208988800000), at(0), at(-1), at(253402300799999), at(-62135596799999)),
	}
}

// forms are the event as a struct, as a pointer to one, as a map, and with Optionals.
func (v values) forms(r *rand.Rand) []any {
	var o optionalValues
	fill(r, &o.Text, v.Text)
	fill(r, &o.Long, v.Long)
	fill(r, &o.Flag, v.Flag)
	fill(r, &o.Number, v.Number)
	fill(r, &o.Day, v.Day)
	fill(r, &o.At, v.At)
	fields := make(map[string]any)
	for i := range reflect.TypeFor[values]().NumField() {
		f := reflect.ValueOf(v).Field(i)
		if name := reflect.TypeFor[values]().Field(i).Tag.Get("sf"); !f.IsNil() {
			fields[name] = f.Elem().Interface()
		} else if i%2 == 0 {
			fields[name] = nil
		}
	}
	return []any{v, &v, fields, o, sfstream.Event{Value: v}}
}

// fill sets an Optional to a value or, where there is none, half of the time to null.
func fill[T any](r *rand.Rand, o *sfstream.Optional[T], v *T) {
	if v != nil {
		o.Set(*v)
	} else if r.IntN(2) == 0 {
		o.SetNull()
	}
}

// fields is the event as Message.Fields has it.
func (v values) fields() map[string]any {
	var at *string
	if v.At != nil {
		at = new(v.At.Format("2006-01-02T15:04:05.000Z"))
	}
	return map[string]any{
		"Text__c": orNil(v.Text), "Long__c": orNil(v.Long), "Flag__c": orNil(v.Flag), "Number__c": orNil(v.Number), "Day__c": orNil(v.Day), "At__c": orNil(at),
	}
}

func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

// fieldsOf is m.Fields of the fields of values. JSON has one kind of number, so that over CometD a
// whole one is an integer.
func fieldsOf(t *testing.T, m *sfstream.Message, over sfstream.Transport) map[string]any {
	fields, err := m.Fields()
	lab.Must(t, err)
	if n, ok := fields["Number__c"].(int64); ok && over == sfstream.CometD {
		fields["Number__c"] = float64(n)
	}
	delete(fields, "N__c") // lab.Schema has it in each
	delete(fields, "CreatedDate")
	delete(fields, "CreatedById")
	return fields
}

func (v values) String() string {
	text := ""
	for i := range reflect.TypeFor[values]().NumField() {
		if f := reflect.ValueOf(v).Field(i); f.IsNil() {
			text += "nil "
		} else {
			text += fmt.Sprintf("%#v ", f.Elem().Interface())
		}
	}
	return text
}

// Random values of each type come back as they were, whichever way they are published, in whichever
// form, and over whichever API they are received.
func TestRoundTripsAreExact(t *testing.T) {
	const values = "/event/Values__e"
	ways := map[string]func(t *testing.T, l *lab.Lab, events []any){
		"Publish": func(t *testing.T, l *lab.Lab, events []any) {
			_, err := l.Start().Publish(t.Context(), values, events...)
			lab.Must(t, err)
		},
		"Publisher": func(t *testing.T, l *lab.Lab, events []any) {
			p, err := l.Start().Publisher(values)
			lab.Must(t, err)
			for _, e := range events {
				_, err := p.Publish(t.Context(), e)
				lab.Must(t, err)
			}
			lab.Must(t, p.Close(t.Context()))
		},
		"REST": func(t *testing.T, l *lab.Lab, events []any) {
			for i, e := range events { // over REST no id can be set
				if e, ok := e.(sfstream.Event); ok {
					events[i] = e.Value
				}
			}
			_, err := l.Start(sfstream.WithTransport(sfstream.CometD)).Publish(t.Context(), values, events...)
			lab.Must(t, err)
		},
	}
	for name, publish := range ways {
		for _, receiver := range []sfstream.Transport{sfstream.PubSub, sfstream.CometD} {
			t.Run(fmt.Sprint(name, "/", receiver), func(t *testing.T) {
				seed := rand.Uint64()
				synctest.Test(t, func(t *testing.T) {
					t.Logf("seed %d", seed)
					roundTrip(t, values, rand.New(rand.NewPCG(seed, 2)), receiver, publish)
				})
			})
		}
	}
}

func roundTrip(t *testing.T, channel string, r *rand.Rand, receiver sfstream.Transport, publish func(*testing.T, *lab.Lab, []any)) {
	l := lab.New(t)
	lab.Must(t, l.DefineEvent(channel, valuesSchema))
	var sent []values
	var events []any
	for range 60 {
		v := randomValues(r)
		for _, form := range v.forms(r) {
			sent, events = append(sent, v), append(events, form)
		}
	}
	c := l.StartFromOldest(sfstream.WithTransport(receiver))
	lab.Must(t, c.Subscribe(t.Context(), channel))
	publish(t, l, events)
	for i, want := range sent {
		m := lab.Receive(t, c)
		got, err := sfstream.Decode[values](m)
		if err != nil || got.String() != want.String() {
			t.Fatalf("event %d, %T: %v\n got %v\nwant %v", i, events[i], err, got, want)
		}
		if got, want := fmt.Sprintf("%#v", fieldsOf(t, m, receiver)), fmt.Sprintf("%#v", want.fields()); got != want {
			t.Fatalf("event %d, %T:\n got %v\nwant %v", i, events[i], got, want)
		}
	}
	lab.ExpectQuiet(t, c, time.Minute)
}
