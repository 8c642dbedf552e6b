package sfstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A struct of Optionals is the body of a REST PATCH, and reads what REST answers.
func TestOptionalInJSON(t *testing.T) {
	type account struct {
		Name, Phone, Fax Optional[string] `json:",omitzero"`
		Tags             Optional[[]int]  `json:"Tags__c,omitzero"`
	}
	var a account
	a.Name.Set("Acme")
	a.Phone.SetNull()
	a.Tags.Set(nil)
	text, err := json.Marshal(a)
	if want := `{"Name":"Acme","Phone":null,"Tags__c":null}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}

	var back account
	back.Phone.Set("old")
	back.Fax.Set("kept")
	if err := json.Unmarshal([]byte(`{"Name":"Acme","Phone":null,"Tags__c":[1]}`), &back); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", back), "{Name:Acme Phone:null Fax:kept Tags:[1]}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := json.Unmarshal([]byte(`{"Name":1}`), &back); err == nil || back.Name.String() != "Acme" {
		t.Errorf("%v, %v", err, back.Name)
	}

	// null would delete the field in Salesforce.
	if text, err := json.Marshal(struct{ Name Optional[string] }{}); err == nil || !strings.Contains(err.Error(), "omitzero") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestOptionalIsOneOfThree(t *testing.T) {
	var unchanged, null, set Optional[int]
	null.Set(3)
	null.SetNull()
	set.SetNull()
	set.Set(0)
	for want, o := range map[string]Optional[int]{"unchanged 0 false": unchanged, "null 0 false": null, "0 0 true": set} {
		value, ok := o.Get()
		if got := fmt.Sprint(o, value, ok); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if o.IsSet() != ok || o.IsNull() != (o == null) || o.IsZero() != (o == unchanged) {
			t.Errorf("%v: set %v, null %v, zero %v", o, o.IsSet(), o.IsNull(), o.IsZero())
		}
	}
}

// A payload of null has nothing for a map that the caller holds, and nothing to put into anything else.
func TestDecodeOfANullPayload(t *testing.T) {
	m := streamedChange("null")
	if err := m.Decode(map[string]any{}); err == nil || !strings.Contains(err.Error(), "cannot put null") {
		t.Error(err)
	}
	v := any("old")
	if err := m.Decode(&v); err != nil || v != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// A struct that embeds an Optional is a struct.
func TestAnEmbeddedOptionalIsNoOptional(t *testing.T) {
	m := streamedChange(`{"Phone":"x"}`)
	_, err := Decode[struct{ Phone struct{ Optional[string] } }](m)
	_, err2 := Decode[struct{ Phone struct{ *Optional[string] } }](m)
	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), "field Phone") {
			t.Error(err)
		}
	}
}
