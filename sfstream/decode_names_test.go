package sfstream

import (
	"errors"
	"strings"
	"testing"
)

const namesSchema = `{"type":"record","name":"Order__e","fields":[{"name":"CreatedDate","type":"long"},
	{"name":"Number__c","type":["null","string"],"default":null},{"name":"Amount","type":["null","double"],"default":null},{"name":"amount","type":["null","double"],"default":null},
	{"name":"Place","type":["null",{"type":"record","name":"Place","fields":[{"name":"City__c","type":["null","string"],"default":null}]}],"default":null}]}`

func namesEvents(t *testing.T) map[string]*Message {
	cometd := new(Message)
	cometd.readEvent(new(codec), "/event/Order__e", []byte(`{"payload":{"CreatedDate":"2025-01-01T00:00:00Z","Number__c":"A-1","Amount":1.5,"amount":2.5,"Place":{"City__c":"Lyon"}},"event":{"replayId":7}}`))
	pubsub := avroEvent(t, namesSchema, map[string]any{"CreatedDate": int64(1735689600000), "Number__c": "A-1", "Amount": 1.5, "amount": 2.5,
		"Place": map[string]any{"Place": map[string]any{"City__c": "Lyon"}}})
	pubsub.Channel = "/event/Order__e"
	return map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd}
}

func TestDecodeMatchesNames(t *testing.T) {
	for api, m := range namesEvents(t) {
		got, err := Decode[struct {
			Tagged  string  `sf:"Number__c" json:"CreatedDate"` // sf goes first
			JSON    string  `json:"Number__c,omitzero"`         // then json
			Amount  float64 `json:"total"`                      // which the event does not have
			Both    float64 `json:"Amount"`                     // two fields of one name
			Ignored string  `json:"-"`                          // counts for JSON only
			Empty   string  `sf:"" json:",omitzero"`            // no name
			Nobodys string  `json:"number__c"`                  // case counts
			Left    float64 `sf:"-" json:"amount"`              // left alone
			Place   struct {
				City string `json:"City__c"`
			}
			Map map[string]any `json:"Place"`
		}](m)
		if err != nil {
			t.Fatal(api, err)
		}
		if got.Tagged != "A-1" || got.JSON != "A-1" || got.Amount != 1.5 || got.Both != 1.5 || got.Ignored != "" || got.Empty != "" || got.Nobodys != "" || got.Left != 0 ||
			got.Place.City != "Lyon" || got.Map["City__c"] != "Lyon" {
			t.Errorf("%s: %+v", api, got)
		}
		// A name in JSON goes before the field's own, where the event has both.
		other, err := Decode[struct {
			Amount float64 `json:"amount"`
		}](m)
		if err != nil || other.Amount != 2.5 {
			t.Errorf("%s: %+v, %v", api, other, err)
		}
		own, err := Decode[struct {
			Number__c string `json:"-"` // the own name
		}](m)
		if err != nil || own.Number__c != "A-1" {
			t.Errorf("%s: %+v, %v", api, own, err)
		}
	}
}

// A change event carries what changed: what a name means must not depend on that.
func TestANameInJSONIsTheSchemasNotThePayloads(t *testing.T) {
	m := onBothAPIs(t, map[string]any{"changedFields": []string{"0x02"}}, nil)["Pub/Sub"]
	got, err := Decode[struct {
		Header struct {
			IDs []string `json:"recordIds"`
		} `json:"ChangeEventHeader"`
		Any   map[string]any `sf:"ChangeEventHeader"` // which Bind leaves to Assign
		Fax   *string        `json:"Phone"`           // unchanged
		Phone Optional[string]
	}](m)
	if err != nil || len(got.Header.IDs) != 1 || got.Fax != nil || !got.Phone.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAStructForAnotherEventIsAnError(t *testing.T) {
	events := namesEvents(t)
	for name, decode := range map[string]func(m *Message) error{
		"other names": func(m *Message) error { _, err := Decode[struct{ Invoice, Total string }](m); return err },
		"unexported":  func(m *Message) error { _, err := Decode[struct{ number__c string }](m); return err },
		"all left alone": func(m *Message) error {
			_, err := Decode[struct {
				Amount float64 `sf:"-"`
			}](m)
			return err
		},
		"through pointer": func(m *Message) error { return m.Decode(new(*struct{ Invoice any })) },
	} {
		err := decode(events["Pub/Sub"])
		var bad *DecodeError
		if !errors.As(err, &bad) || bad.Channel != "/event/Order__e" || !strings.Contains(err.Error(), "Order__e, and no field of the Go struct struct {") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode(events["CometD"]); err != nil { // nobody knows what else there is
			t.Errorf("%s over CometD: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"no fields at all": events["Pub/Sub"].Decode(new(struct{})),
		"one of them":      events["Pub/Sub"].Decode(new(struct{ Invoice, Amount any })),
		"a map":            events["Pub/Sub"].Decode(new(map[string]any)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of a change event that changed nothing of it, the struct is right all the same.
	if _, err := Decode[struct{ Phone Optional[string] }](onBothAPIs(t, nil, nil)["Pub/Sub"]); err != nil {
		t.Error(err)
	}
}
