package authenticator_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

const (
	cliDisplay = `{"status":0,"result":{"id":"` + orgID + `","accessToken":"[REDACTED] Use 'sf org auth show-access-token'","instanceUrl":"` + instance + `/"},"warnings":[]}`
	cliToken   = `{"status":0,"result":{"accessToken":"` + accessToken + `"},"warnings":[]}`
	cliOld     = `{"status":0,"result":{"id":"` + orgID + `","accessToken":"` + accessToken + `","instanceUrl":"` + instance + `"}}`
)

// fakeCLI puts an sf on the PATH that answers the two commands with scripts, and notes how it was
// called.
func fakeCLI(t testing.TB, display, show string) (calls func() string) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$*\" >>'" + dir + "/calls'\ncase \"$*\" in\n" +
		"\"org display \"*) " + display + ";;\n\"org auth show-access-token \"*) " + show + ";;\n*) exit 9;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "sf"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("SALESFORCE_LOGIN_FLOW", "cli")
	t.Setenv("SALESFORCE_ORG", "dev")
	return func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return string(b)
	}
}

// prints returns a script that writes text to its standard output.
func prints(text string) string { return "cat <<'END'\n" + text + "\nEND\n" }

func fromEnv(t testing.TB) authenticator.Authenticator {
	t.Helper()
	a, _, err := authenticator.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheLoginOfTheCLI(t *testing.T) {
	for name, test := range map[string]struct{ display, show string }{
		"newer version":                {prints(cliDisplay), prints(cliToken)},
		"newer with warnings":          {"echo 'update available' >&2\n" + prints(cliDisplay), "echo marker >&2\n" + prints(cliToken)},
		"without the second command":   {prints(cliOld), "echo 'org auth show-access-token is not a sf command.' >&2; exit 127\n"},
		"another token in the display": {prints(strings.Replace(cliOld, "marker", "old", 1)), prints(cliToken)},
	} {
		t.Run(name, func(t *testing.T) {
			calls := fakeCLI(t, test.display, test.show)
			a := fromEnv(t)
			for range 2 { // each login runs the CLI anew
				got := mustLogin(t, a, authenticator.Login{})
				if *got != (authenticator.Credentials{AccessToken: accessToken, TokenType: "Bearer", InstanceURL: instance, OrgID: orgID}) {
					t.Errorf("got %v", got)
				}
			}
			const once = "org display --target-org dev --json\norg auth show-access-token --target-org dev --json --no-prompt\n"
			if calls() != once+once {
				t.Errorf("called\n%s", calls())
			}
		})
	}
}

func TestFailuresOfTheCLI(t *testing.T) {
	const stack = `{"name":"NamedOrgNotFoundError","message":"No authorization information found for dev.","exitCode":1,"stack":"at /marker"}`
	for name, test := range map[string]struct {
		display, show string
		code          string
		says          string
		permanent     bool
	}{
		"no such org":            {prints(stack) + "exit 1\n", "exit 1", "cli_failed", "sf org display: exit status 1: NamedOrgNotFoundError: No authorization information found for dev.; log in with sf org login web", true},
		"its login has expired":  {prints(`{"name":"RefreshTokenAuthError","message":"Error authenticating with the refresh token due to: expired access/refresh token"}`) + "exit 1\n", "exit 1", "cli_failed", "authorise the app again", true},
		"its user is inactive":   {prints(`{"name":"RefreshTokenAuthError","message":"Error authenticating with the refresh token due to: inactive user"}`) + "exit 1\n", "exit 1", "cli_failed", "due to: inactive user", true},
		"its app is blocked":     {prints(`{"name":"JwtAuthError","message":"Error authenticating with JWT config due to: OAUTH_APP_BLOCKED: this app is blocked by admin"}`) + "exit 1\n", "exit 1", "cli_failed", "install the app", true},
		"the host is in trouble": {prints(`{"name":"RefreshTokenAuthError","message":"Error authenticating with the refresh token due to: socket hang up"}`) + "exit 1\n", "exit 1", "cli_failed", "socket hang up", false},
		"no network":             {prints(`{"name":"FetchError","message":"getaddrinfo ENOTFOUND login.salesforce.com"}`) + "exit 1\n", "exit 1", "cli_failed", "ENOTFOUND", false},
		"only standard error":    {"printf '\\033[31m Warning:\\n  it is\\r\\n broken\\033[0m' >&2; exit 3\n", "exit 1", "cli_failed", "sf org display: exit status 3: Warning: it is broken", false},
		"a token in its error":   {"echo 'token " + accessToken + " eyJmarker.marker.marker 5Aepmarker force://PlatformCLI::marker@acme' >&2; exit 1\n", "exit 1", "cli_failed", "token [redacted] [redacted] [redacted] [redacted]", false},
		"the second one fails":   {prints(cliDisplay), "echo 'not allowed for " + accessToken + "' >&2; exit 1\n", "cli_failed", "sf org auth show-access-token: exit status 1: not allowed for [redacted]", false},
		"the token is not shown": {prints(cliDisplay), prints(`{"status":0,"result":{}}`), "cli_failed", "told no access token", false},
		"no JSON":                {"echo marker", "exit 1", "cli_failed", "sf org display: its output is not JSON", false},
		"another JSON":           {prints(`{"result":[1]}`), "exit 1", "cli_failed", "its output is not JSON", false},
		"no instance":            {prints(`{"result":{"id":"` + orgID + `"}}`), prints(cliToken), "cli_failed", "did not tell all", false},
		"no org":                 {prints(strings.Replace(cliDisplay, "00D", "001", 1)), prints(cliToken), "cli_failed", "OrgID must have", false},
		"a hint as a token":      {prints(cliDisplay), prints(strings.Replace(cliToken, "00D", "see marker 00D", 1)), "cli_failed", "holds white space", false},
		"it is killed":           {"kill -9 $$\n", "exit 1", "cli_failed", "signal: killed", false},
		"a flood":                {"yes marker | head -c 2000000 >&2; exit 1\n", "exit 1", "cli_failed", "exit status 1", false},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a flood" {
				test.display = strings.ReplaceAll(test.display, "marker", "water")
			}
			fakeCLI(t, test.display, test.show)
			c, err := fromEnv(t).Authenticate(context.Background(), authenticator.Login{})
			e := loginError(t, c, err)
			if e.Flow != "cli" || e.Code != test.code || !strings.Contains(e.Error(), test.says) || authenticator.Permanent(e) != test.permanent {
				t.Errorf("permanent %v: %v", authenticator.Permanent(e), e)
			}
			if strings.ContainsAny(e.Error(), "\n\r\x1b") || len(e.Error()) > 1000 {
				t.Errorf("not one short line: %q", e.Error())
			}
		})
	}
	t.Run("no CLI", func(t *testing.T) {
		fakeCLI(t, "exit 1", "exit 1")
		t.Setenv("PATH", t.TempDir())
		c, err := fromEnv(t).Authenticate(context.Background(), authenticator.Login{})
		if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), "there is no sf on the PATH") {
			t.Errorf("got %v", e)
		}
	})
	t.Run("an option as an org", func(t *testing.T) {
		calls := fakeCLI(t, prints(cliDisplay), prints(cliToken))
		t.Setenv("SALESFORCE_ORG", "--json=false")
		c, err := fromEnv(t).Authenticate(context.Background(), authenticator.Login{})
		if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), "SALESFORCE_ORG must be an alias") || calls() != "" {
			t.Errorf("got %v", e)
		}
	})
}

// TestAHangingCLIEndsWithTheContext: it does so even if a child of the CLI keeps the output open.
// It runs in real time, because it starts a process.
func TestAHangingCLIEndsWithTheContext(t *testing.T) {
	fakeCLI(t, "sleep 20 & sleep 20", "exit 1")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	c, err := fromEnv(t).Authenticate(ctx, authenticator.Login{})
	e := loginError(t, c, err)
	if e.Code != "no_answer" || !errors.Is(err, context.DeadlineExceeded) || authenticator.Permanent(e) || !strings.Contains(e.Error(), "sf org display did not end") {
		t.Errorf("got %v", e)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("after %v", took)
	}
}

// TestAHangingCLIHasALimitOfItsOwn: a program whose context never ends must not wait for the CLI
// for ever.
func TestAHangingCLIHasALimitOfItsOwn(t *testing.T) {
	if before := authenticator.SetCLITimeout(t, 200*time.Millisecond); before != time.Minute {
		t.Errorf("the limit is %v", before)
	}
	for name, commands := range map[string][2]string{
		"sf org display did not end":                {"exec sleep 20", "exit 1"},
		"sf org auth show-access-token did not end": {prints(cliDisplay), "exec sleep 20"},
	} {
		fakeCLI(t, commands[0], commands[1])
		begin := time.Now()
		c, err := fromEnv(t).Authenticate(context.Background(), authenticator.Login{})
		e := loginError(t, c, err)
		if e.Code != "no_answer" || !errors.Is(err, context.DeadlineExceeded) || authenticator.Permanent(e) || !strings.Contains(e.Error(), name) {
			t.Errorf("got %v, want %s", e, name)
		}
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("after %v", took)
		}
	}
}

func FuzzCLIOutput(f *testing.F) {
	dir := f.TempDir()
	fakeCLI(f, "cat '"+dir+"/display'", "cat '"+dir+"/show'")
	a := fromEnv(f)
	f.Add(cliDisplay, cliToken)
	f.Add(cliOld, "")
	f.Add("", `{"result":null}`)
	f.Add(`{"result":{"accessToken":1}}`, "[]")
	f.Fuzz(func(t *testing.T, display, show string) {
		for name, text := range map[string]string{"display": display, "show": show} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := a.Authenticate(context.Background(), authenticator.Login{})
		judge(t, c, err)
	})
}
