package sfstreamtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// rest makes a request with the session's token. The reply is nil if there is no body.
func (r *rig) rest(method, path, body string) (status int, reply any) {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), method, r.LoginURL()+"/services/data/v60.0"+path, strings.NewReader(body))
	check(r.tb, err)
	req.Header.Set("Authorization", "Bearer "+r.auth.Get("accesstoken")[0])
	if r.options != "" {
		req.Header.Set("Sforce-Call-Options", r.options)
	}
	resp, err := r.HTTPClient().Do(req)
	check(r.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(r.tb, err)
	if len(text) > 0 {
		check(r.tb, json.Unmarshal(text, &reply))
	}
	return resp.StatusCode, reply
}

func (r *rig) want(status int, method, path, body string) any {
	r.tb.Helper()
	got, reply := r.rest(method, path, body)
	if got != status {
		r.tb.Fatalf("%s %s: %d %v, want %d", method, path, got, reply, status)
	}
	return reply
}

func TestPushTopicUpsert(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const body = `{"Name":"Accts","Query":"SELECT Id FROM Account","ApiVersion":"60.0","NotifyForOperationDelete":false}`
		made := r.want(http.StatusCreated, "POST", "/sobjects/PushTopic/", body).(object)
		again := r.want(http.StatusBadRequest, "POST", "/sobjects/PushTopic", body).([]any)
		if code := again[0].(object)["errorCode"]; code != "DUPLICATE_VALUE" {
			t.Errorf("created twice: %v", again)
		}
		query := url.Values{"q": {"SELECT Id, Name, Query FROM PushTopic WHERE Name = 'Accts'"}}.Encode()
		found := r.want(http.StatusOK, "GET", "/query/?"+query, "").(object)
		row := found["records"].([]any)[0].(object)
		if found["totalSize"] != 1.0 || row["Id"] != made["id"] || row["Query"] != "SELECT Id FROM Account" {
			t.Errorf("%v, made %v", found, made)
		}
		path := "/sobjects/PushTopic/" + made["id"].(string)
		r.want(http.StatusNoContent, "PATCH", path, `{"Query":"SELECT Id, Name FROM Account"}`)
		got := r.want(http.StatusOK, "GET", path, "").(object)
		if got["Query"] != "SELECT Id, Name FROM Account" || got["NotifyForOperationDelete"] != false || got["NotifyForOperationCreate"] != true {
			t.Errorf("%v", got)
		}
		r.want(http.StatusBadRequest, "PATCH", path, `{"Query":"nonsense"}`)
		b := r.shaken()
		b.follow(accounts, -1)
		r.login()
		r.want(http.StatusNoContent, "DELETE", path, "")
		r.want(http.StatusNotFound, "GET", path, "")
		if r.Sessions() != 0 {
			t.Errorf("%d sessions", r.Sessions())
		}
	})
}

func TestRESTPush(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		made := r.want(http.StatusCreated, "POST", "/sobjects/StreamingChannel", `{"Name":"/u/ops"}`).(object)
		path := "/sobjects/StreamingChannel/" + made["id"].(string) + "/push"
		b := r.shaken()
		b.follow("/u/ops", -1)
		user := r.Account().UserID
		online := r.want(http.StatusOK, "GET", path, "").(object)
		if online["ChannelName"] != "/u/ops" || online["OnlineUserIds"].([]any)[0] != user {
			t.Errorf("%v", online)
		}
		reply := r.want(http.StatusOK, "POST", path, `{"pushEvents":[{"payload":"all","userIds":[]},{"payload":"one","userIds":["`+user+`","x"]}]}`).([]any)
		if reply[0].(object)["fanoutCount"] != -1.0 || reply[1].(object)["fanoutCount"] != 1.0 {
			t.Errorf("%v", reply)
		}
		if events, _ := b.connect(); len(events) != 2 {
			t.Errorf("%d events", len(events))
		}
		r.want(http.StatusBadRequest, "POST", "/sobjects/StreamingChannel", `{"Name":"ops"}`)
		r.want(http.StatusBadRequest, "POST", "/sobjects/StreamingChannel", `{`)
	})
}

func TestRESTPublishAndLogin(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		reply := r.want(http.StatusCreated, "POST", "/sobjects/Order_Event__e/", `{"Amount__c":3}`).(object)
		uuid := reply["errors"].([]any)[0].(object)["message"].(string)
		events, _ := b.connect()
		if !containsText(events[0].Data, `"Amount__c":3.0`) || !containsText(events[0].Data, uuid) {
			t.Errorf("%s", events[0].Data)
		}
		r.want(http.StatusBadRequest, "POST", "/sobjects/Order_Event__e/", `{"Nonsense":3}`)
		r.want(http.StatusNotFound, "POST", "/sobjects/None__e/", `{}`)
		r.want(http.StatusBadRequest, "GET", "/query?q=nonsense", "")
		users := r.want(http.StatusOK, "GET", "/query?"+url.Values{"q": {"SELECT Id FROM User WHERE Username != null"}}.Encode(), "").(object)
		if users["totalSize"] != 2.0 {
			t.Errorf("%v", users)
		}
		r.ExpireToken()
		denied := r.want(http.StatusUnauthorized, "GET", "/query?q=x", "").([]any)
		if denied[0].(object)["errorCode"] != "INVALID_SESSION_ID" {
			t.Errorf("%v", denied)
		}
	}, sfstreamtest.WithUser("second@sfstream.example", "005000000000002AAA"))
}

func TestStreamsDoesNotCountClientsThatHaveGone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.shaken()
		b.follow(orders, -1)
		poll := b.connecting()
		r.DropConnections()
		<-poll
		r.await(orders, 0)
		if r.Sessions() != 1 {
			t.Errorf("%d sessions", r.Sessions())
		}
		b.connecting()
		r.await(orders, 1)
		if r.DuplicateConnects() != 0 {
			t.Error("a connect after a dead one is no duplicate")
		}
	})
}
