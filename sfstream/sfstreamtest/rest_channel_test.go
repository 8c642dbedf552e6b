package sfstreamtest_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const genericPath = "/sobjects/StreamingChannel"

// madeGeneric creates a generic channel and returns its path. more are further members of the body.
func (r *rig) madeGeneric(name, more string) string {
	r.tb.Helper()
	reply := r.want(http.StatusCreated, "POST", genericPath, fmt.Sprintf(`{"Name":%q%s}`, name, more)).(object)
	return genericPath + "/" + reply["id"].(string)
}

func TestTheRecordOfAStreamingChannel(t *testing.T) {
	log := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "log"))
	second := sfstreamtest.WithUser("second@sfstream.example", "005000000000002AAA")
	path := ""
	t.Run("before", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			path = r.madeGeneric("/u/ops/Night", `,"Description":"who is on duty"`)
			got := r.want(http.StatusOK, "GET", path, "").(object)
			for name, want := range map[string]any{
				"Name": "/u/ops/Night", "Description": "who is on duty", "IsDynamic": false, "OwnerId": r.Account().UserID,
				"CreatedById": r.Account().UserID, "LastViewedDate": nil, "IsDeleted": false,
			} {
				if got[name] != want {
					t.Errorf("%s is %v, want %v", name, got[name], want)
				}
			}
			b := r.shaken()
			b.follow("/u/ops/Night", -1)
			r.want(http.StatusNoContent, "PATCH", path, `{"Name":"/u/ops/Day"}`)
			if r.Sessions() != 1 {
				t.Errorf("%d sessions", r.Sessions())
			}
			r.want(http.StatusNoContent, "PATCH", path, `{"OwnerId":"005000000000002"}`)
			r.want(http.StatusNoContent, "PATCH", path, `{"Description":"all"}`)
			gone := r.madeGeneric("/u/gone", "")
			r.want(http.StatusNoContent, "DELETE", gone, "")
			if again := r.madeGeneric("/u/gone", ""); again == gone {
				t.Error("a new channel has the id of the deleted one")
			}
		}, log, second)
	})
	t.Run("after", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			rows := r.rowsOf("/query", "SELECT Id, Name, Description FROM StreamingChannel WHERE Name LIKE '/u/ops/%' AND OwnerId = '005000000000002AAA'")
			if len(rows) != 1 || rows[0].(object)["Name"] != "/u/ops/Day" || rows[0].(object)["Description"] != "all" || genericPath+"/"+rows[0].(object)["Id"].(string) != path {
				t.Errorf("%v", rows)
			}
		}, log, second)
	})
}

func TestStreamingChannelsAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeGeneric("/u/ops", "")
		for want, body := range map[string]string{
			"DUPLICATE_VALUE: ":                                `{"Name":"/u/OPS"}`,
			"REQUIRED_FIELD_MISSING: ":                         `{"Description":"x"}`,
			"INVALID_FIELD: ":                                  `{"Name":"/u/o-p-s"}`,
			"INVALID_FIELD: \"/v/ops\" is no":                  `{"Name":"/v/ops"}`,
			"STRING_TOO_LONG: Streaming Channel Name: data":    `{"Name":"/u/` + strings.Repeat("x", 80) + `"}`,
			"STRING_TOO_LONG: Description: ":                   `{"Name":"/u/b","Description":"` + strings.Repeat("x", 256) + `"}`,
			"INVALID_FIELD_FOR_INSERT_UPDATE: ":                `{"Name":"/u/b","IsDynamic":true}`,
			"INVALID_CROSS_REFERENCE_KEY: Owner ID: owner":     `{"Name":"/u/b","OwnerId":null}`,
			"INVALID_CROSS_REFERENCE_KEY: Owner ID: this":      `{"Name":"/u/b","OwnerId":"005000000000009AAA"}`,
			"MALFORMED_ID: Owner ID: id value of incorrect":    `{"Name":"/u/b","OwnerId":"001000000000001AAA"}`,
			"INVALID_FIELD: No such column 'Query' on sobject": `{"Name":"/u/b","Query":"x"}`,
		} {
			want = strings.Replace(want, `"/v/ops" is no`, `"/v/ops" is not a generic channel`, 1)
			r.refused("Bad Request, "+want, "POST", genericPath, body)
		}
		r.refused("Bad Request, REQUIRED_FIELD_MISSING: ", "PATCH", path, `{"Name":""}`)
		r.FailRecords("StreamingChannel", 1, "UNABLE_TO_LOCK_ROW")
		r.refused("Bad Request, UNABLE_TO_LOCK_ROW: ", "DELETE", path, "")
		for i := range 199 {
			check(t, r.DefineGenericChannel(fmt.Sprint("/u/c", i)))
		}
		r.refused("Bad Request, LIMIT_EXCEEDED: ", "POST", genericPath, `{"Name":"/u/more"}`)
	})
}

func TestWhatIsWrongWithAPush(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		path := r.madeGeneric("/u/ops", "")
		user := r.Account().UserID
		b := r.shaken()
		b.follow("/u/ops", -1)
		push := func(events string) string { return `{"pushEvents":[` + events + `]}` }
		r.refused("Bad Request, STRING_TOO_LONG: payload: data value too large", "POST", path+"/push",
			push(`{"payload":"good"},{"payload":"`+strings.Repeat("x", 3001)+`"}`))
		if got := len(r.Retained("/u/ops")); got != 0 {
			t.Errorf("%d events of a request that is refused", got)
		}
		reply := r.want(http.StatusOK, "POST", path+"/push", push(`{"payload":"`+strings.Repeat("é", 3000)+`"},{"payload":"to one","userIds":["`+user[:15]+`"]},`+
			`{"payload":"to nobody","userIds":["005000000000009AAA"]},{"payload":"to one twice","userIds":["`+user+`","`+user+`"]}`)).([]any)
		for i, want := range []string{"map[fanoutCount:-1 userOnlineStatus:map[]]", "map[fanoutCount:1 userOnlineStatus:map[" + user[:15] + ":true]]",
			"map[fanoutCount:0 userOnlineStatus:map[005000000000009AAA:false]]", "map[fanoutCount:1 userOnlineStatus:map[" + user + ":true]]"} {
			if got := fmt.Sprint(reply[i]); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if events, _ := b.connect(); len(events) != 3 {
			t.Errorf("%d events", len(events))
		}
		if none := r.want(http.StatusOK, "POST", path+"/push", push("")).([]any); len(none) != 0 {
			t.Errorf("%v", none)
		}
		r.refused("Bad Request, MALFORMED_ID: ", "POST", genericPath+"/ops/push", push(""))
		r.want(http.StatusOK, "POST", strings.ToLower(genericPath)+strings.TrimPrefix(path, genericPath)+"/push/", push(""))
		r.refused("Not Found, NOT_FOUND: ", "POST", "/sobjects/Account"+strings.TrimPrefix(path, genericPath)+"/push", push(""))
		r.RevokePublish("/u/ops")
		r.refused("Bad Request, INSUFFICIENT_ACCESS_OR_READONLY: ", "POST", path+"/push", push(`{"payload":"x"}`))
		r.refused("Bad Request, INSUFFICIENT_ACCESS_OR_READONLY: ", "PATCH", path, `{"Description":"x"}`)
		r.refused("Bad Request, INSUFFICIENT_ACCESS_OR_READONLY: ", "DELETE", path, "")
		r.want(http.StatusOK, "GET", path+"/push", "")
		r.Grant("/u/ops")
		r.Revoke("/u/ops")
		r.refused("Bad Request, INSUFFICIENT_ACCESS_OR_READONLY: ", "POST", path+"/push", push(`{"payload":"x"}`))
		r.Grant("/u/ops")
		r.want(http.StatusOK, "POST", path+"/push", push(`{"payload":"x"}`))
	})
}

// A push reaches its channel, or there is none any more.
func TestAPushWhileItsChannelIsDeleted(t *testing.T) {
	r := newRig(t)
	push := `{"pushEvents":[` + strings.TrimSuffix(strings.Repeat(`{"payload":"x"},`, 100), ",") + `]}`
	for range 10 {
		path := r.madeGeneric("/u/ops", "")
		pushed := make(chan int, 1)
		go func() {
			status, err := r.status("POST", path+"/push", push)
			if err != nil {
				status = 0
			}
			pushed <- status
		}()
		r.want(http.StatusNoContent, "DELETE", path, "")
		if status := <-pushed; status != http.StatusOK && status != http.StatusNotFound {
			t.Errorf("status %d", status)
		}
	}
}

// Ids have 18 characters, however often a channel of the name has come and gone.
func TestAChannelThatComesAndGoesHasGoodIDs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 1000 {
			check(t, r.DefineGenericChannel("/u/ops"))
			check(t, r.Remove("/u/ops"))
			check(t, r.DefineChannel("/data/Ops__chn"))
			check(t, r.Remove("/data/Ops__chn"))
		}
		r.want(http.StatusNoContent, "PATCH", r.madeGeneric("/u/ops", ""), "{}")
		r.want(http.StatusOK, "GET", r.madeTooling(channelPath, channelBody("Ops__chn", "data", "Ops")), "")
	})
}
