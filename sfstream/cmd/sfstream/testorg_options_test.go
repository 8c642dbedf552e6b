package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryOptionOfAnOrgIsAFlag compares the flags with the source of sfstreamtest.
func TestEveryOptionOfAnOrgIsAFlag(t *testing.T) {
	known := []string{ // flags with code of their own, and what only a Go program can use
		"WithHTTPAddr", "WithPubSubAddr", "WithControlAddr", "WithURL", "WithPubSubURL", "WithNames", "WithTLS", "WithCA",
		"WithLog", "WithSeed", "WithPublicKeys", "WithoutLoginFlow", "WithRefreshRotation", "WithInstanceHosts",
	}
	var flags []string
	for _, group := range orgOptions() {
		for _, o := range group.list {
			flags = append(flags, o.goName())
		}
	}
	paths, err := filepath.Glob("../../sfstreamtest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (With\w+)\(.*\) Option \{`).FindAllSubmatch(source, -1) {
			found++
			if name := string(m[1]); !slices.Contains(known, name) && !slices.Contains(flags, strings.ToLower(name)) {
				t.Errorf("%s is no flag of testorg", name)
			}
		}
	}
	if found < len(known)+len(flags) {
		t.Errorf("%d options found, and there are %d flags", found, len(known)+len(flags))
	}
}

func TestTestorgRefusesOptionsInWordsOfTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		text string
		args []string
	}{
		{"-hold", []string{"-hold", "soon"}},
		{"-hold -5s: must be positive", []string{"-hold", "-5s"}},
		{"-topic-retention 0s: must be positive", []string{"-topic-retention", "0"}},
		{"-max-streams 0: must be positive", []string{"-max-streams", "0"}},
		{"is not a number", []string{"-credit-cap", "many"}},
		{"-api-versions sixty: is no number", []string{"-api-versions", "60.0,sixty"}},
		{"-api-versions", []string{"-api-versions", ","}},
		{"is not like name@example.com", []string{"-user", "somebody"}},
		{"is not a whole number", []string{"-seed", "-1"}},
		{"-event-api-name new: is no number", []string{"-event-api-name", "new"}},
	} {
		status, stdout, stderr := printed(t, append([]string{"testorg"}, test.args...)...)
		if status != 2 || stdout != "" || !strings.Contains(stderr, test.text) || strings.Contains(stderr, "With") {
			t.Errorf("%v: exit status %d, stdout %q, stderr %s", test.args, status, stdout, stderr)
		}
	}
}

func TestTestorgOptionsAreTheOrgs(t *testing.T) {
	o := startOrg(t, "-jwt-access-tokens", "-user", "second@example.com=005000000000002AAA", "-api-versions", "50.0,60.0", "-required-secret=false")
	form := o.passwordForm()
	form.Set("username", "second@example.com")
	reply := o.token(t, form)
	if token, _ := reply["access_token"].(string); strings.Count(token, ".") != 2 {
		t.Errorf("the access token is %s", token)
	}
	if id, _ := reply["id"].(string); !strings.HasSuffix(id, "/005000000000002AAA") {
		t.Errorf("logged in as %s", id)
	}
	resp, err := o.client.Get(o.LoginURL + "/services/data/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list bytes.Buffer
	if _, err := list.ReadFrom(resp.Body); err != nil || strings.Count(list.String(), `"version"`) != 2 {
		t.Errorf("versions %s, %v", &list, err)
	}
}
