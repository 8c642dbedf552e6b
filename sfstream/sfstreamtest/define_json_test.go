package sfstreamtest_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

func TestDefineJSON(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, definition := range []string{
			`{"channel": "/event/A__e", "schema": {"type": "record", "name": "A__e", "fields": []}}`,
			`{"object": "Account", "fields": [{"name": "Phone", "type": "Phone"}]}`,
			`{"channel": "/event/All__chn", "members": ["/event/A__e", "` + orders + `"]}`,
			`{"Name": "Accounts", "Query": "SELECT Id, Phone FROM Account"}`,
			`{"channel": "/u/notices"}`,
		} {
			if err := r.DefineJSON([]byte(definition)); err != nil {
				t.Errorf("%s: %v", definition, err)
			}
		}
		for _, channel := range []string{"/event/A__e", "/data/AccountChangeEvent", "/event/All__chn"} {
			getTopic(t, r, channel, codes.OK, "")
		}
		b := r.shaken()
		b.follow("/topic/Accounts", -1)
		b.follow("/u/notices", -1)
		for definition, want := range map[string]string{
			``:   "JSON object",
			`[]`: "not a JSON object",
			`{}`: "channel with schema or members",
			`{"channel":"/event/B__e","schema":{"type":"x"}}`:             "schema of /event/B__e",
			`{"channel":"/event/B__e","schemas":{}}`:                      `does not take "schemas"; there is: channel, `,
			`{"channel":"/event/B__chn","members":["/event/No__e"]}`:      `there is no channel "/event/No__e"; there is: `,
			`{"Name":"Accounts"}`:                                         `needs "Query"`,
			`{"Name":"Accounts","Query":"SELECT"}`:                        "a name is missing",
			`{"channel":"/u/no tices"}`:                                   "letters, digits",
			`{"object":"Lead","fields":[{"name":"X","type":"Nonsense"}]}`: "Nonsense",
		} {
			if err := r.DefineJSON([]byte(definition)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %s", definition, err, want)
			}
		}
	})
}
