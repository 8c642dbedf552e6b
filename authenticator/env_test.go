package authenticator_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

func TestFromEnv(t *testing.T) {
	variables := strings.Fields("LOGIN_URL SANDBOX CONSUMER_KEY CONSUMER_SECRET USERNAME PASSWORD SECURITY_TOKEN " +
		"REFRESH_TOKEN ACCESS_TOKEN INSTANCE_URL ORG_ID")
	static := authenticator.Static{AccessToken: "at", InstanceURL: instance}
	const staticEnv = "ACCESS_TOKEN=at INSTANCE_URL=" + instance
	for name, test := range map[string]struct {
		env   string
		want  authenticator.Authenticator
		login string
		err   string
	}{
		"static":             {staticEnv, static, authenticator.ProductionURL, ""},
		"static with org":    {staticEnv + " ORG_ID=o", authenticator.Static{AccessToken: "at", InstanceURL: instance, OrgID: "o"}, authenticator.ProductionURL, ""},
		"refresh token":      {"REFRESH_TOKEN=rt CONSUMER_KEY=k", &authenticator.RefreshToken{ConsumerKey: "k", RefreshToken: "rt"}, authenticator.ProductionURL, ""},
		"with secret":        {"REFRESH_TOKEN=rt CONSUMER_KEY=k CONSUMER_SECRET=s", &authenticator.RefreshToken{ConsumerKey: "k", ConsumerSecret: "s", RefreshToken: "rt"}, authenticator.ProductionURL, ""},
		"password":           {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s", authenticator.Password{ConsumerKey: "k", ConsumerSecret: "s", Username: "u", Password: "p"}, authenticator.ProductionURL, ""},
		"security token":     {"USERNAME=u PASSWORD=p SECURITY_TOKEN=t CONSUMER_KEY=k CONSUMER_SECRET=s", authenticator.Password{ConsumerKey: "k", ConsumerSecret: "s", Username: "u", Password: "p", SecurityToken: "t"}, authenticator.ProductionURL, ""},
		"static comes first": {staticEnv + " REFRESH_TOKEN=rt USERNAME=u", static, authenticator.ProductionURL, ""},
		"then refresh token": {"REFRESH_TOKEN=rt CONSUMER_KEY=k USERNAME=u", &authenticator.RefreshToken{ConsumerKey: "k", RefreshToken: "rt"}, authenticator.ProductionURL, ""},
		"sandbox":            {staticEnv + " SANDBOX=1", static, authenticator.SandboxURL, ""},
		"no sandbox":         {staticEnv + " SANDBOX=false", static, authenticator.ProductionURL, ""},
		"no sandbox, own":    {staticEnv + " SANDBOX=false LOGIN_URL=" + instance, static, instance, ""},
		"My Domain":          {staticEnv + " LOGIN_URL=" + instance, static, instance, ""},

		"both hosts":       {staticEnv + " SANDBOX=true LOGIN_URL=" + instance, nil, "", "SALESFORCE_LOGIN_URL and SALESFORCE_SANDBOX exclude each other"},
		"odd sandbox":      {staticEnv + " SANDBOX=marker", nil, "", "SALESFORCE_SANDBOX must be true or false"},
		"nothing":          {"", nil, "", "no login is configured: set SALESFORCE_ACCESS_TOKEN and SALESFORCE_INSTANCE_URL; or SALESFORCE_REFRESH_TOKEN"},
		"only the app":     {"CONSUMER_KEY=k CONSUMER_SECRET=marker", nil, "", "no login is configured"},
		"no instance":      {"ACCESS_TOKEN=marker", nil, "", "missing: SALESFORCE_INSTANCE_URL"},
		"no app":           {"REFRESH_TOKEN=marker", nil, "", "missing: SALESFORCE_CONSUMER_KEY"},
		"only a username":  {"USERNAME=u", nil, "", "missing: SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET, SALESFORCE_PASSWORD"},
		"no consumer keys": {"USERNAME=u PASSWORD=marker", nil, "", "missing: SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range variables {
				t.Setenv("SALESFORCE_"+v, "")
			}
			for pair := range strings.FieldsSeq(test.env) {
				k, v, _ := strings.Cut(pair, "=")
				t.Setenv("SALESFORCE_"+k, v)
			}
			got, login, err := authenticator.FromEnv()
			if test.err != "" {
				e := loginError(t, nil, err)
				if got != nil || login != "" || !strings.Contains(e.Error(), test.err) || !authenticator.Permanent(e) {
					t.Errorf("got %v, %q, %v", got, login, err)
				}
				return
			}
			// Compared by type and deeply, as printing shows no difference.
			if err != nil || login != test.login || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %T, %q, %v; want %T, %q", got, login, err, test.want, test.login)
			}
			leaks(t, fmt.Sprintf("%+v", got))
		})
	}
}
