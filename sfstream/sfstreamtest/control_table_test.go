package sfstreamtest_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var update = flag.Bool("update", false, "write the reference in docs/testorg.md anew")

// look gets a page of the control API, and decodes it into reply.
func look(t *testing.T, r *rig, path string, reply any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.ControlURL()+path, nil)
	check(t, err)
	req.Header.Set("Accept", "application/json")
	resp, err := r.HTTPClient().Do(req)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("%s: %s %s", path, resp.Status, text)
	}
	if err := json.Unmarshal(text, reply); err != nil {
		t.Fatalf("%s: %v: %s", path, err, text)
	}
}

// inForce returns the names of the faults that GET /control/faults lists.
func inForce(t *testing.T, r *rig) (names []string) {
	t.Helper()
	var reply struct{ Faults []map[string]any }
	look(t, r, "/control/faults", &reply)
	if reply.Faults == nil {
		t.Error("the faults are no list")
	}
	for _, f := range reply.Faults {
		names = append(names, f["fault"].(string))
		// It is the request that asks for it.
		again, err := json.Marshal(f)
		check(t, err)
		if code, reply := control(t, r, "fault", string(again)); code != http.StatusOK {
			t.Errorf("%s: %v", again, reply)
		}
		must(t, r, "fault", `{"fault":"`+f["fault"].(string)+`"`+back(f)+`}`)
		must(t, r, "fault", string(again))
	}
	return names
}

// back returns the members that take a fault back.
func back(f map[string]any) string {
	switch {
	case f["n"] != nil:
		return `,"n":0`
	case f["seconds"] != nil && f["n"] == nil:
		return `,"seconds":0`
	case f["fault"] == "Revoke", f["fault"] == "RevokePublish":
		return ""
	}
	return `,"on":false`
}

type faultDoc struct {
	Fault, About string
	Parameters   []struct {
		Name     string
		Required bool
		About    string
	}
}

// values are good ones for each parameter.
var values = map[string]string{
	"channel": `"` + orders + `"`, "n": "2", "on": "true", "code": `"UNAVAILABLE"`, "kind": `"x"`, "status": "503", "body": `"{}"`,
	"text": `"no"`, "seconds": "60", "replay": "77", "accepted": "true", "alone": "true",
	"cometd": `{"kind":"connect","error":"x"}`, "group": `{"after":1}`, "rest": `{"method":"GET","code":"x"}`,
	"limit": `{"name":"DailyApiRequests","max":5,"remaining":1}`,
}

// once are the faults that take n, but happen at once or are known by another name afterwards.
var once = map[string]string{"PassPositions": "", "FailREST": "FailRESTRequest"}

func TestEveryFaultOfTheTableHappensIsShownAndTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var docs struct{ Faults []faultDoc }
		look(t, r, "/control/", &docs)
		if len(docs.Faults) < 50 {
			t.Fatalf("%d faults", len(docs.Faults))
		}
		for _, f := range docs.Faults {
			body := map[string]json.RawMessage{"fault": json.RawMessage(`"` + f.Fault + `"`)}
			required := maps.Clone(body)
			for _, p := range f.Parameters {
				body[p.Name] = json.RawMessage(values[p.Name])
				if p.Name == "kind" {
					switch f.Fault {
					case "LeaveInstance":
						body[p.Name] = json.RawMessage(`"302"`)
					case "PassingError":
						body[p.Name] = json.RawMessage(`"subscribe"`)
					}
				}
				if p.Required {
					required[p.Name] = body[p.Name]
				}
			}
			post := func(body map[string]json.RawMessage) int {
				text, err := json.Marshal(body)
				check(t, err)
				code, reply := control(t, r, "fault", string(text))
				if code != http.StatusOK && (reply["error"] == nil || reply["error"] == "") {
					t.Errorf("%s: %d %v", text, code, reply)
				}
				return code
			}
			if code := post(body); code != http.StatusOK {
				t.Errorf("%s: %d", f.Fault, code)
			}
			_, counted := body["n"]
			_, lasting := body["on"]
			name, elsewhere := once[f.Fault]
			if !elsewhere {
				name = f.Fault
			}
			if shown := inForce(t, r); (counted || lasting) && name != "" && !slices.Contains(shown, name) {
				t.Errorf("%s is not shown: %v", f.Fault, shown)
			}
			switch {
			case counted && name != "":
				post(map[string]json.RawMessage{"fault": body["fault"], "n": json.RawMessage("0")})
			case lasting:
				post(map[string]json.RawMessage{"fault": body["fault"], "on": json.RawMessage("false")})
			case f.Fault == "DailyLimit":
				post(map[string]json.RawMessage{"fault": body["fault"], "seconds": json.RawMessage("0")})
			case strings.HasPrefix(f.Fault, "Revoke"):
				post(map[string]json.RawMessage{"fault": json.RawMessage(`"Grant"`)})
			}
			if shown := inForce(t, r); len(shown) > 0 {
				t.Errorf("%s is not taken back: %v", f.Fault, shown)
			}
			// What it does not take, and what is missing.
			body["nonsense"] = json.RawMessage("1")
			if code := post(body); code != http.StatusBadRequest {
				t.Errorf("%s takes nonsense: %d", f.Fault, code)
			}
			for name := range required {
				less := maps.Clone(required)
				delete(less, name)
				if code := post(less); code != http.StatusBadRequest {
					t.Errorf("%s without %s: %d", f.Fault, name, code)
				}
			}
			if f.Fault == "Remove" {
				check(t, r.DefineEvent(orders, schemaFile(t, "order")))
			}
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestClearFaultsTakesBackWhatIsShown(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, f := range []string{`"Refuse"`, `"LockUser"`, `"Reject","n":-1,"code":"x"`, `"ProxyPage","status":403`, `"DailyLimit","seconds":60`,
			`"FailCometD","cometd":{"error":"x"}`, `"FailREST","code":"x"`, `"FailEvents","n":2`, `"BreakGroups","group":{"after":1}`, `"SilenceDisconnect"`} {
			must(t, r, "fault", `{"fault":`+f+`}`)
		}
		if shown := inForce(t, r); len(shown) != 10 {
			t.Errorf("in force: %v", shown)
		}
		must(t, r, "fault", `{"fault":"ClearFaults"}`)
		if shown := inForce(t, r); len(shown) > 0 {
			t.Errorf("still in force: %v", shown)
		}
		r.login()
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlLooks(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		events := r.publish(3)
		stream := r.follow(orders, 7)
		defer stream.CloseSend()
		b := r.shaken()
		b.follow(orders, -1)
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "A", Query: "SELECT Id FROM Account"}))
		_, err := r.PublishTopic("A", "created", map[string]any{"Id": "1"})
		check(t, err)

		var health struct{ Status, LoginURL, PubSub string }
		look(t, r, "/control/health", &health)
		if health.Status != "ok" || health.LoginURL != r.LoginURL() || health.PubSub != r.PubSubEndpoint() {
			t.Errorf("health: %+v", health)
		}
		var channels struct {
			Channels []struct {
				Channel, Query string
				Fields         []string
				Events         int
				LastNumber     uint64
				Streams        int
			}
		}
		look(t, r, "/control/channels", &channels)
		if c := channels.Channels; len(c) != 3 || c[0].Channel != "/data/ChangeEvents" || c[1].Channel != orders || c[1].Events != 3 ||
			c[1].LastNumber != events[2].Number || c[1].Streams != 2 || !slices.Contains(c[1].Fields, "Amount__c") ||
			c[2].Channel != "/topic/A" || c[2].Query == "" {
			t.Errorf("channels: %+v", c)
		}
		var streams struct {
			PubSub []struct {
				Channel     string
				Outstanding int
			}
			Sessions []struct {
				ClientID string
				Channels []string
			}
		}
		look(t, r, "/control/streams", &streams)
		if len(streams.PubSub) != 1 || streams.PubSub[0].Outstanding != 7 || len(streams.Sessions) != 1 ||
			streams.Sessions[0].ClientID != b.clientID || !slices.Equal(streams.Sessions[0].Channels, []string{orders}) {
			t.Errorf("streams: %+v", streams)
		}
		var counters map[string]int
		look(t, r, "/control/counters", &counters)
		if counters["logins"] != r.Logins() || counters["handshakes"] != 1 || counters["subscribes"] != 2 || counters["httpRequests"] < 3 {
			t.Errorf("counters: %v", counters)
		}
		var listed struct {
			Events []struct {
				Number      uint64
				ID, EventID string
				Data        struct {
					Payload map[string]any
					Sobject map[string]any
				}
			}
			More bool
		}
		look(t, r, "/control/events?channel="+orders+"&limit=2", &listed)
		if e := listed.Events; len(e) != 2 || !listed.More || e[1].Number != events[1].Number || e[1].EventID != events[1].ID ||
			e[1].Data.Payload["Amount__c"] != 1.0 || len(e[1].ID) != 20 {
			t.Errorf("events: %+v", listed)
		}
		listed.Events, listed.More = nil, false
		after, err := json.Marshal(events[1].Number)
		check(t, err)
		look(t, r, "/control/events?channel="+orders+"&after="+string(after), &listed)
		if e := listed.Events; len(e) != 1 || listed.More || e[0].Number != events[2].Number {
			t.Errorf("events after %s: %+v", after, listed)
		}
		listed.Events = nil
		look(t, r, "/control/events?channel=/topic/A", &listed)
		if e := listed.Events; len(e) != 1 || e[0].Data.Sobject["Id"] != "1" {
			t.Errorf("events of a PushTopic: %+v", listed)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

// ask sends any request to the control API.
func ask(t *testing.T, r *rig, method, path, body string, header http.Header) (status int, reply map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.ControlURL()+path, strings.NewReader(body))
	check(t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	req.Host = req.Header.Get("Host")
	resp, err := r.HTTPClient().Do(req)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	if err := json.Unmarshal(text, &reply); err != nil {
		t.Errorf("%s %s: %s: %q is not JSON", method, path, resp.Status, text)
	}
	return resp.StatusCode, reply
}

func TestControlTellsWhatThereIs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", sfstreamtest.Field{Name: "Phone", Type: "Phone"}))
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "A", Query: "SELECT Id FROM Lead"}))
		for _, test := range []struct{ path, body, text, known string }{
			{"fault", ``, "no body", "channel"},
			{"fault", `  `, "no body", "fault"},
			{"fault", `[]`, "not a JSON object", "fault"},
			{"fault", `{"fault":"Refuse"} {}`, "behind the JSON object", "on"},
			{"fault", `{}`, `needs "fault"`, "Refuse"},
			{"fault", `{"fault":null}`, `needs "fault"`, "Refuse"},
			{"fault", `{"fault":7}`, "fault is a string, and cannot be a JSON number", ""},
			{"fault", `{"fault":"Meteor"}`, `no fault "Meteor"`, "Refuse"},
			{"fault", `{"fault":"Refuse","n":1}`, `Refuse does not take "n"`, "on"},
			{"fault", `{"fault":"Refuse","Fault":"Grant"}`, `does not take "Fault"`, "on"},
			{"fault", `{"fault":"Reject","channel":"/event/No__e","code":"x"}`, `no channel "/event/No__e"`, orders},
			{"fault", `{"fault":"FailCometD","cometd":{"channel":"/topic/B"}}`, `no channel "/topic/B"`, "/topic/A"},
			{"fault", `{"fault":"FailCometD","cometd":{"kind":"conect"}}`, `cometd.kind is "conect"`, "connect"},
			{"fault", `{"fault":"FailCometD","cometd":{"eror":"x"}}`, `cometd has no member "eror"`, "error"},
			{"fault", `{"fault":"FailCometD","cometd":{"after":"x"}}`, `cometd.after cannot be a JSON string`, ""},
			{"fault", `{"fault":"PassingError","kind":"publish"}`, `kind is "publish"`, "subscribe"},
			{"fault", `{"fault":"LeaveInstance","kind":"500"}`, `kind is "500"`, "gone"},
			{"fault", `{"fault":"HTMLError","status":42}`, "status is 42", ""},
			{"fault", `{"fault":"FailCometD","cometd":{"status":100}}`, "status is 100", ""},
			{"fault", `{"fault":"DailyLimit","seconds":-1}`, "seconds is -1", ""},
			{"fault", `{"fault":"PassPositions","channel":"` + orders + `","n":1000000000}`, "1 to 10000", ""},
			{"publish", `{"channel":"/event/No__e"}`, `no channel "/event/No__e"`, orders},
			{"publish", `{"channel":"` + orders + `","payload":{"Nope":1}}`, `no field "Nope"`, "Amount__c"},
			{"publish", `{"channel":"` + orders + `","count":1000000000}`, "1 to 10000 events", ""},
			{"publish", `{"channel":"` + orders + `","count":0}`, "1 to 10000 events", ""},
			{"publish", `{"channel":"` + orders + `","count":9000,"payload":{"City__c":"` + strings.Repeat("x", 10_000) + `"}}`, "at most 67108864 bytes", ""},
			{"publish", `{"change":{"object":"Account","type":"UPSERT"}}`, `change.type is "UPSERT"`, "UPDATE"},
			{"publish", `{"change":{"object":"Contact","type":"CREATE","recordIds":["1"]}}`, `no channel "/data/ContactChangeEvent"`, "/data/AccountChangeEvent"},
			{"publish", `{"change":{"object":"Account","type":"CREATE","recordIds":["1"],"set":{"Fax":"1"}}}`, `no field "Fax"`, "Phone"},
			{"publish", `{"change":{"object":"Account","kind":"CREATE"}}`, `change has no member "kind"`, "type"},
			{"publish", `{"change":{"type":"CREATE"}}`, "change.object is missing", ""},
			{"topic", `{"name":"B"}`, `no channel "/topic/B"`, "/topic/A"},
			{"topic", `{"name":"A","type":"made"}`, `type is "made"`, "created"},
			{"push", `{"channel":"/u/no","payload":"x"}`, `no channel "/u/no"`, orders},
			{"define", `{"channel":"/event/A__e"}`, "it needs channel with schema", "schema"},
			{"define", `{"channel":"/event/A__chn","members":["/event/No__e"]}`, `no channel "/event/No__e"`, orders},
			{"define", `{"object":"A","fields":[{"nam":"x"}]}`, `fields has no member "nam"`, "name"},
			{"definePushTopic", `{"Name":"A"}`, `needs "Query"`, "Query"},
			{"defineGenericChannel", `{"channel":"/event/x"}`, "/u/", ""},
			{"events", "", `needs "channel"`, "limit"},
			{"events?channel=/event/No__e", "", `no channel`, orders},
			{"events?channel=" + orders + "&limit=1001", "", "1 to 1000", ""},
			{"events?channel=" + orders + "&after=x", "", "after", ""},
			{"events?channel=" + orders + "&limit=5%2010", "", "limit", ""},
			{"events?channel=" + orders + "&limit=1&limit=2", "", "2 times", ""},
			{"channels?x=1", "", `does not take "x"`, ""},
		} {
			method := http.MethodPost
			if strings.HasPrefix(test.path, "events") || strings.HasPrefix(test.path, "channels") {
				method = http.MethodGet
			}
			status, reply := ask(t, r, method, "/control/"+test.path, test.body, http.Header{"Content-Type": {"application/json"}})
			known, _ := reply["known"].([]any)
			if text, _ := reply["error"].(string); status != http.StatusBadRequest || !strings.Contains(text, test.text) ||
				test.known != "" && !slices.Contains(known, any(test.known)) || test.known == "" && known != nil {
				t.Errorf("%s %.200s: %d %v", test.path, test.body, status, reply)
			}
		}
		if n := len(r.Retained(orders)); n != 0 {
			t.Errorf("%d events were published", n)
		}
		if shown := inForce(t, r); len(shown) > 0 {
			t.Errorf("in force: %v", shown)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestControlIsNotForWebPages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		json := []string{"application/json; charset=utf-8"}
		for _, test := range []struct {
			status       int
			method, path string
			header       http.Header
		}{
			{200, "POST", "/control/fault", http.Header{"Content-Type": json}},
			{200, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"localhost:7"}, "Origin": {"http://localhost:7"}}},
			{200, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"192.0.2.1:7"}}},
			{200, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"[::1]"}}},
			{200, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"Org.test"}}},
			{200, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"other.test:80"}}},
			{415, "POST", "/control/fault", http.Header{"Content-Type": {"text/plain"}}},
			{415, "POST", "/control/fault", nil},
			{403, "POST", "/control/fault", http.Header{"Content-Type": json, "Origin": {"http://evil.test"}}},
			{403, "POST", "/control/fault", http.Header{"Content-Type": json, "Origin": {"null"}}},
			{403, "POST", "/control/fault", http.Header{"Content-Type": json, "Host": {"evil.test:8081"}, "Origin": {"http://evil.test:8081"}}},
			{403, "GET", "/control/channels", http.Header{"Host": {"evil.test:8081"}}},
			{404, "GET", "/control/nothing", nil},
			{405, "GET", "/control/fault", nil},
			{405, "POST", "/control/channels", http.Header{"Content-Type": json}},
		} {
			if status, reply := ask(t, r, test.method, test.path, `{"fault":"ClearFaults"}`, test.header); status != test.status || status != 200 && reply["error"] == nil {
				t.Errorf("%+v: %d %v", test, status, reply)
			}
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"), sfstreamtest.WithURL("http://org.test:8080"), sfstreamtest.WithNames("other.test"))
}

func TestARequestOfTheControlAPIHasALimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		body := `{"channel":"` + orders + `","payload":{"City__c":"` + strings.Repeat("x", 17<<20) + `"}}`
		if status, reply := control(t, r, "publish", body); status != http.StatusRequestEntityTooLarge || reply["error"] == nil {
			t.Errorf("%d %v", status, reply)
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

// A client that has gone does not want the rest of what it asked for.
func TestControlPublishesForClientsThatAreThere(t *testing.T) {
	const count = 10_000
	r := newRig(t, sfstreamtest.WithControlAddr("127.0.0.1:0"), sfstreamtest.WithLog(filepath.Join(t.TempDir(), "log")))
	body := fmt.Sprintf(`{"channel":"%s","count":%d,"payload":{"City__c":"%s"}}`, orders, count, strings.Repeat("x", 6_500))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.ControlURL()+"/control/publish", strings.NewReader(body))
	check(t, err)
	req.Header.Set("Content-Type", "application/json")
	ended := make(chan error, 1)
	go func() { // ends with ctx
		resp, err := r.HTTPClient().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	for len(r.Retained(orders)) < 10 {
		runtime.Gosched()
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
	n := 0
	for last := -1; n != last; n = len(r.Retained(orders)) {
		last = n
		time.Sleep(50 * time.Millisecond) // nothing tells when the org has noticed it
	}
	if n < 10 || n >= count {
		t.Errorf("%d events were published", n)
	}
}

// The faults of the network do not happen to the control API.
func TestFaultsSpareTheControlAPI(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(t, r, "fault", `{"fault":"Refuse"}`)
		for _, fault := range []string{"DropConnections", "Blackhole", "GoAway"} {
			must(t, r, "fault", `{"fault":"`+fault+`"}`)
		}
		r.HTTPClient().CloseIdleConnections()
		if _, err := r.HTTPClient().Get(r.LoginURL()); err == nil {
			t.Error("the org is reached")
		}
		must(t, r, "fault", `{"fault":"Refuse","on":false}`)
		r.HTTPClient().CloseIdleConnections()
		r.login()
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}

func TestTheDocsHaveTheControlAPI(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		resp, err := r.HTTPClient().Get(r.ControlURL() + "/control/")
		check(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		check(t, err)
		const path, begin, end = "../docs/testorg.md", "<!-- GET /control/ -->\n```text\n", "```\n<!-- end -->\n"
		docs, err := os.ReadFile(path)
		check(t, err)
		before, rest, found := strings.Cut(string(docs), begin)
		written, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place for it", path)
		}
		if *update {
			check(t, os.WriteFile(path, []byte(before+begin+string(text)+end+after), 0o644))
		} else if written != string(text) {
			t.Errorf("%s differs from the tables: run this test with -update", path)
		}
		for line := range strings.Lines(string(text)) {
			if len([]rune(line)) > 101 {
				t.Errorf("a long line: %s", line)
			}
		}
	}, sfstreamtest.WithControlAddr("127.0.0.1:0"))
}
