package jsonevent

import "testing"

// Whatever a payload says, nothing is in two places, and of what is not null nothing is lost.
func FuzzDecode(f *testing.F) {
	for _, payload := range []string{
		`{"ChangeEventHeader":{"entityName":"Account","changeType":"UPDATE","changedFields":["Fax","Description","BillingAddress.City"]},"Fax":"1","Description":null,
			"Phone":"2","AnnualRevenue":3.5,"Active__c":true,"BillingAddress":{"Street":"Quai 1","City":"Lyon"},"LastModifiedDate":"2025-01-01T00:00:00Z"}`,
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":["A.B","A","C.D"]},"A":{"B":1,"C":null},"C":"text","Phone":"1"}`,
		`{"ChangeEventHeader":{"changeType":"DELETE"},"A":{"B":{"C":null}},"Phone":null}`,
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":[1,null,".",""]},"":{"":1},"Phone":["1"]}`,
	} {
		f.Add(`{"payload":` + payload + `}`)
	}
	f.Fuzz(func(t *testing.T, data string) {
		event := Event(data)
		whole, err := event.decode(nil)
		value, enriched, bad := event.Decode(nil)
		if err != nil || bad != nil {
			if err == nil || bad == nil {
				t.Fatal(err, bad)
			}
			return
		}
		all, _ := whole.(map[string]any)
		fields, _ := value.(map[string]any)
		for name, value := range all {
			changed, is := fields[name]
			along, came := enriched[name]
			_, compound := value.(map[string]any)
			if is && came && !compound || value != nil && !is && !came || along == nil && came || is && value != nil && changed == nil {
				t.Errorf("%s: %v is %v and %v", name, value, changed, along)
			}
		}
	})
}
