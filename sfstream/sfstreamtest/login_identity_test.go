package sfstreamtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// do sends a request with a token, or without one if it is "".
func (r *rig) do(req *http.Request, token string) (code int, body string) {
	r.tb.Helper()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.HTTPClient().Do(req)
	check(r.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(r.tb, err)
	return resp.StatusCode, string(text)
}

func (r *rig) get(path, token string) (code int, body string) {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), "GET", r.LoginURL()+path, nil)
	check(r.tb, err)
	return r.do(req, token)
}

func TestIdentity(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		claims := r.claims()
		claims["sub"] = "second@sfstream.example"
		_, reply := r.post(r.jwtForm(claims))
		token, path := reply["access_token"], strings.TrimPrefix(reply["id"], r.LoginURL())
		if path != "/id/"+r.Account().OrgID+"/005000000000002AAA" {
			t.Fatalf("id %s", reply["id"])
		}
		for name, get := range map[string]func() (int, string){
			"Bearer":      func() (int, string) { return r.get(path+"?format=json", token) },
			"oauth_token": func() (int, string) { return r.get(path+"?oauth_token="+token, "") },
		} {
			code, body := get()
			var got struct {
				ID             string
				UserID         string `json:"user_id"`
				OrganizationID string `json:"organization_id"`
				Username       string
				URLs           map[string]string
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
				t.Fatalf("%s: %d %s: %v", name, code, body, err)
			}
			if got.ID != reply["id"] || got.UserID != "005000000000002AAA" || got.OrganizationID != r.Account().OrgID ||
				got.Username != "second@sfstream.example" || got.URLs["rest"] != r.LoginURL()+"/services/data/v{version}/" {
				t.Errorf("%s: %s", name, body)
			}
		}
		if code, body := r.get("/services/data/v60.0/", token); code != 200 || !strings.Contains(body, `"identity":"`+reply["id"]+`"`) {
			t.Errorf("the REST root: %d %s", code, body)
		}
		if code, body := r.get("/services/oauth2/userinfo", token); code != 200 || !strings.Contains(body, `"preferred_username":"second@sfstream.example"`) {
			t.Errorf("userinfo: %d %s", code, body)
		}
		for want, test := range map[string]struct {
			path, token string
			code        int
		}{
			"Bad_OAuth_Token":     {path, "spoilt", 403},
			"Missing_OAuth_Token": {path, "", 403},
			"Wrong_Org":           {"/id/00D000000000002EAA/005000000000002AAA", token, 403},
			"Bad_Id":              {"/id/" + r.Account().OrgID + "/" + r.Account().UserID, token, 404},
		} {
			if code, body := r.get(test.path, test.token); code != test.code || body != want {
				t.Errorf("%s: got %d %s, want %d %s", test.path, code, body, test.code, want)
			}
		}
		r.ExpireToken()
		if code, body := r.get(path, token); code != 403 || body != "Bad_OAuth_Token" {
			t.Errorf("an expired token: %d %s", code, body)
		}
	}, sfstreamtest.WithUser("second@sfstream.example", "005000000000002AAA"))
}
