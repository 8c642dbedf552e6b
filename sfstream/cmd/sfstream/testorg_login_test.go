package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// token sends a form to the token endpoint and returns the reply.
func (o *org) token(t *testing.T, form url.Values) (reply map[string]any) {
	t.Helper()
	resp, err := o.client.PostForm(o.LoginURL+"/services/oauth2/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return reply
}

func TestTestorgSwitchesFlowsOff(t *testing.T) {
	o := startOrg(t, "-off", "password, client-credentials")
	for want, form := range map[string]url.Values{
		"authentication failure": {"grant_type": {"password"}, "client_id": {o.ConsumerKey}, "client_secret": {o.ConsumerSecret},
			"username": {o.Username}, "password": {o.Password}},
		"no client credentials user enabled": {"grant_type": {"client_credentials"}, "client_id": {o.ConsumerKey}, "client_secret": {o.ConsumerSecret}},
	} {
		if reply := o.token(t, form); reply["error"] != "invalid_grant" || reply["error_description"] != want {
			t.Errorf("got %v, want %s", reply, want)
		}
	}
	o.jwtLogin(t) // this flow is not switched off

	cmd := program(t, nil, "testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "", "-off", "soap,jwt")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out, _ := cmd.Output(); len(out) > 0 || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(stderr.String(), `"jwt" is none of`) {
		t.Errorf("exit status %d, stdout %q, stderr %s", cmd.ProcessState.ExitCode(), out, &stderr)
	}
}

func TestTestorgRotatesRefreshTokens(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		var args []string
		if rotate {
			args = append(args, "-rotate")
		}
		o := startOrg(t, args...)
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {o.ConsumerKey}, "refresh_token": {o.RefreshToken}}
		if next, _ := o.token(t, form)["refresh_token"].(string); (next != "") != rotate {
			t.Errorf("-rotate=%v: another refresh token: %v", rotate, next != "")
		}
		if again := o.token(t, form); (again["error"] == "invalid_grant") != rotate {
			t.Errorf("-rotate=%v: the old one: %v", rotate, again["error"])
		}
	}
}
