package sfstreamtest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"
	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// control posts a JSON request and returns the status and the reply.
func control(t *testing.T, r *rig, verb, body string) (int, map[string]any) {
	t.Helper()
	resp, err := r.HTTPClient().Post(r.ControlURL()+"/control/"+verb, "application/json", strings.NewReader(body))
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	var reply map[string]any
	if err := json.Unmarshal(text, &reply); err != nil {
		t.Fatalf("%s: %q: %v", verb, text, err)
	}
	return resp.StatusCode, reply
}

func must(t *testing.T, r *rig, verb, body string) map[string]any {
	t.Helper()
	code, reply := control(t, r, verb, body)
	if code != http.StatusOK {
		t.Fatalf("%s %s: %d %v", verb, body, code, reply)
	}
	return reply
}

func TestControlDefinesAndPublishes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const channel = "/event/Big__e"
		schema := `{"type":"record","name":"Big__e","fields":[{"name":"N","type":["null","long"],"default":null},{"name":"X","type":"double"}]}`
		asText, err := json.Marshal(schema)
		check(t, err)
		object := must(t, r, "define", `{"channel":"`+channel+`","schema":`+schema+`}`)
		text := must(t, r, "define", `{"channel":"`+channel+`","schema":`+string(asText)+`}`)
		if object["schemaId"] != text["schemaId"] || object["schemaId"] == "" {
			t.Errorf("schema as an object %v, as text %v", object, text)
		}
		reply := must(t, r, "publish", `{"channel":"`+channel+`","payload":{"N":1735689600123456789,"X":2},"count":3}`)
		ids, eventIDs := reply["ids"].([]any), reply["eventIds"].([]any)
		if len(ids) != 3 || len(eventIDs) != 3 {
			t.Fatalf("reply %v", reply)
		}
		id, err := hex.DecodeString(ids[0].(string))
		check(t, err)
		stream := r.open(after(channel, id, 10))
		e := recv(t, stream).Events[0].Event
		if e.Id != eventIDs[1] {
			t.Errorf("event %s, want %v", e.Id, eventIDs[1])
		}
		var got struct {
			N *int64
			X float64
		}
		check(t, avro.Unmarshal(avro.MustParse(schema), e.Payload, &got))
		if *got.N != 1735689600123456789 || got.X != 2 {
			t.Errorf("got %d and %v", *got.N, got.X)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlDefinesObjectsAndTheirChanges(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		fields, err := json.Marshal(accountFields())
		check(t, err)
		reply := must(t, r, "define", `{"object":"Account","fields":`+string(fields)+`}`)
		if reply["schemaId"] != "0z2rNmNvbmF9YlfRyCQrew" || reply["channel"] != "/data/AccountChangeEvent" {
			t.Errorf("reply %v", reply)
		}
		must(t, r, "define", `{"object":"My_Obj__c","fields":[{"name":"A__c","type":"Text"}]}`)
		change, err := json.Marshal(vectors["p4"])
		check(t, err)
		must(t, r, "publish", `{"channel":"/data/AccountChangeEvent","change":`+string(change)+`}`)
		must(t, r, "publish", `{"channel":"/data/My_Obj__ChangeEvent","change":{"type":"DELETE","recordIds":["a00000000000001AAA"]}}`)
		if got := recv(t, r.open(earliest("/data/AccountChangeEvent", 1))).Events[0].Event.Payload; !bytes.Equal(got, vectorBytes(t, "p4")) {
			t.Errorf("payload %x", got)
		}
		recvIDs(t, r.open(earliest("/data/ChangeEvents", 2)), 2)
		must(t, r, "define", `{"channel":"/data/All__chn","members":["/data/AccountChangeEvent"]}`)
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlInjectsEveryFault(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(1)
		for _, body := range []string{
			`{"fault":"Reject","channel":"` + orders + `","n":0,"code":"topic.not.found"}`,
			`{"fault":"Reject","channel":"` + orders + `","code":"subscription.limit.exceeded"}`,
			`{"fault":"Duplicate","channel":"` + orders + `","n":2}`, `{"fault":"EndStreams","channel":"` + orders + `","code":"OK"}`,
			`{"fault":"SilenceKeepalive"}`, `{"fault":"SilenceKeepalive","on":false}`,
			`{"fault":"StripTrailers"}`, `{"fault":"StripTrailers","on":false}`,
			`{"fault":"Refuse"}`, `{"fault":"Refuse","on":false}`,
			`{"fault":"Revoke","channel":"` + orders + `"}`, `{"fault":"Grant","channel":"` + orders + `"}`,
			`{"fault":"GoAway"}`, `{"fault":"MoveInstance"}`, `{"fault":"ExpireToken"}`,
			`{"fault":"FailGetTopic","code":"UNAVAILABLE"}`, `{"fault":"FailGetSchema","n":2,"code":"UNAVAILABLE"}`,
			`{"fault":"FailLogin","kind":"invalid_grant/user is locked"}`,
			`{"fault":"FailAuthorize","kind":"access_denied"}`,
			`{"fault":"TruncateReplay","channel":"` + orders + `"}`,
		} {
			must(t, r, "fault", body)
		}
		if _, reply := r.post(r.passwordForm()); reply["error_description"] != "user is locked" {
			t.Errorf("login: %v", reply)
		}
		r.login()
		wantEnd(t, r.open(earliest(orders, 1)), codes.ResourceExhausted, "subscription.limit.exceeded")
		getTopic(t, r, orders, codes.Unavailable, "")
		getTopic(t, r, orders, codes.OK, "")
		must(t, r, "fault", `{"fault":"LockUser"}`)
		must(t, r, "fault", `{"fault":"ClearFaults"}`)
		must(t, r, "fault", `{"fault":"Remove","channel":"`+orders+`"}`)
		getTopic(t, r, orders, codes.NotFound, "topic.not.found")
		must(t, r, "fault", `{"fault":"DropConnections"}`)
		must(t, r, "fault", `{"fault":"Blackhole"}`)
		r.login()
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlKnowsWhatRealOrgsDo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.publish(1)
		for _, body := range []string{
			`{"fault":"LagKeepalive","channel":"` + orders + `","n":2}`, `{"fault":"HoldKeepaliveID"}`, `{"fault":"HoldKeepaliveID","on":false}`,
			`{"fault":"PassPositions","channel":"` + orders + `","n":3}`, `{"fault":"SeekBacklog","seconds":60}`,
			`{"fault":"CutGroups","n":-1}`, `{"fault":"BreakGroups","group":{"after":2,"newOnly":true,"times":-1,"code":"OK"}}`,
			`{"fault":"RepeatReplayID","channel":"` + orders + `"}`, `{"fault":"RedirectToLogin"}`,
			`{"fault":"ProxyPage","n":-1,"status":403,"body":"{}"}`,
			`{"fault":"DisconnectSessions","alone":true}`, `{"fault":"DisconnectWithEvents","n":2}`,
			`{"fault":"PassingError","kind":"subscribe","code":"500::x"}`, `{"fault":"CreateDenied"}`,
			`{"fault":"RESTError","code":"API_DISABLED_FOR_ORG"}`, `{"fault":"SilenceDisconnect"}`,
		} {
			must(t, r, "fault", body)
		}
		getTopicOf(t, r, codes.PermissionDenied)
		must(t, r, "fault", `{"fault":"ClearFaults"}`)
		r.settle()
		getTopic(t, r, orders, codes.OK, "")
		must(t, r, "fault", `{"fault":"ResetReplay","channel":"`+orders+`","replay":9,"accepted":true}`)
		if e := r.publish(1)[0]; e.Number != 9 {
			t.Errorf("number %d", e.Number)
		}
		must(t, r, "fault", `{"fault":"LeaveInstance","kind":"307"}`)
		for _, body := range []string{`{"fault":"LeaveInstance","kind":"500"}`, `{"fault":"ResetReplay","channel":"/event/No__e","replay":1}`} {
			if code, reply := control(t, r, "fault", body); code != http.StatusBadRequest {
				t.Errorf("%s: %d %v", body, code, reply)
			}
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlAnswersNonsenseWith400(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, test := range [][2]string{
			{"define", `{`}, {"define", `{}`}, {"define", `{"channel":"/event/A__e","schema":{"type":"x"}}`},
			{"define", `{"object":"A","fields":[{"name":"B","type":"C"}]}`},
			{"publish", `{"channel":"/event/Unknown__e"}`}, {"publish", `{"channel":"` + orders + `","payload":{"Nope":1}}`},
			{"publish", `{"channel":"/data/AccountChangeEvent","change":{"object":"Lead","type":"CREATE"}}`},
			{"fault", `{"fault":"Meteor"}`}, {"fault", `{"fault":"ExpireToken","chanel":"x"}`},
		} {
			if code, reply := control(t, r, test[0], test[1]); code != http.StatusBadRequest || reply["error"] == nil {
				t.Errorf("%s %s: %d %v", test[0], test[1], code, reply)
			}
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestWithoutControlThereIsNone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if url := r.ControlURL(); url != "" {
			t.Errorf("it is at %s", url)
		}
		resp, err := r.HTTPClient().Post(r.LoginURL()+"/control/fault", "application/json", strings.NewReader(`{"fault":"ExpireToken"}`))
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("got %s", resp.Status)
		}
	})
}
