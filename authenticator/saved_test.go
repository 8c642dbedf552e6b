package authenticator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// configDir makes a directory for saved logins, which only this test sees, and returns its path.
func configDir(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "SALESFORCE_") {
			t.Setenv(name, "")
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "AppData"} {
		t.Setenv(name, home)
	}
	config, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(config, "sfstream")
}

// authorization returns an authorization of the org's app.
func authorization(org *sfstreamtest.Server, name string) *authenticator.Authorization {
	a := org.Account()
	return &authenticator.Authorization{ConsumerKey: a.ConsumerKey, CallbackURL: a.CallbackURL, Name: name,
		Login: authenticator.Login{URL: org.LoginURL(), HTTPClient: org.HTTPClient()}}
}

// begin begins an authorization and opens its page. It returns the parameters that the callback
// gets.
func begin(t *testing.T, org *sfstreamtest.Server, a *authenticator.Authorization) url.Values {
	t.Helper()
	page, err := a.Begin()
	if err != nil {
		t.Fatal(err)
	}
	browser := *org.HTTPClient()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil || !strings.HasPrefix(to.String(), a.CallbackURL+"?") {
		t.Fatalf("the browser is not sent to the callback: %s, %v: %s", resp.Status, to, readAll(resp))
	}
	return to.Query()
}

// save saves a login of the org.
func save(t *testing.T, org *sfstreamtest.Server, name string) *authenticator.SavedLogin {
	t.Helper()
	a := authorization(org, name)
	saved, err := a.Complete(t.Context(), begin(t, org, a))
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// use logs in with a saved login.
func use(t *testing.T, org *sfstreamtest.Server, name string) (*authenticator.Credentials, error) {
	t.Helper()
	a, loginURL, err := authenticator.Saved(name)
	if err != nil {
		return nil, err
	}
	if loginURL != org.LoginURL() {
		t.Errorf("the login URL is %s, want %s", loginURL, org.LoginURL())
	}
	return a.Authenticate(t.Context(), authenticator.Login{HTTPClient: org.HTTPClient()})
}

func mustUse(t *testing.T, org *sfstreamtest.Server, name string) {
	t.Helper()
	c, err := use(t, org, name)
	if err != nil {
		t.Fatal(err)
	}
	if c.AccessToken == "" || c.OrgID != org.Account().OrgID {
		t.Errorf("got %v", c)
	}
}

// token returns the refresh token that a file holds.
func token(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(text, &r); err != nil || r.RefreshToken == "" {
		t.Fatalf("%s: %v", text, err)
	}
	return r.RefreshToken
}

// files returns the names of the files in a directory.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestALoginIsSavedAndUsed(t *testing.T) {
	dir := configDir(t)
	org := sfstreamtest.NewServer(t)
	if logins, err := authenticator.SavedLogins(); len(logins) > 0 || err != nil {
		t.Fatalf("got %v, %v", logins, err)
	}
	saved := save(t, org, "")
	name := org.Account().Username
	want := authenticator.SavedLogin{Name: name, Username: name, OrgID: org.Account().OrgID, UserID: org.Account().UserID,
		LoginURL: org.LoginURL(), InstanceURL: org.LoginURL(), ConsumerKey: org.Account().ConsumerKey, SavedAt: saved.SavedAt, Default: true}
	if *saved != want || time.Since(saved.SavedAt).Abs() > time.Minute {
		t.Errorf("got %+v", saved)
	}
	if got := files(t, dir); got != "login-"+name+".json login-"+name+".lock" {
		t.Errorf("files: %s", got)
	}
	file := filepath.Join(dir, "login-"+name+".json")
	for path, want := range map[string]fs.FileMode{dir: 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want && runtime.GOOS != "windows" {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	first := token(t, file)
	for _, name := range []string{"", name, strings.ToUpper(name)} {
		mustUse(t, org, name)
	}
	if got := token(t, file); got != first {
		t.Error("the refresh token was replaced without a rotation")
	}
	logins, err := authenticator.SavedLogins()
	if err != nil || len(logins) != 1 || logins[0] != want {
		t.Errorf("got %+v, %v", logins, err)
	}
	if strings.Contains(show(t, logins)+show(t, saved), first) {
		t.Error("a SavedLogin shows its refresh token")
	}
	a, _, err := authenticator.Saved("")
	if err != nil || strings.Contains(show(t, a)+show(t, struct{ A any }{a}), first) {
		t.Errorf("the Authenticator shows its refresh token (%v)", err)
	}
}

func TestOnlyTheCallbackOfTheLoginUnderWayCompletesIt(t *testing.T) {
	configDir(t)
	org := sfstreamtest.NewServer(t)
	a := authorization(org, "it")
	if _, err := a.Complete(t.Context(), url.Values{"code": {"x"}}); !hasCode(err, "wrong_state") {
		t.Errorf("before Begin: %v", err)
	}
	good := begin(t, org, a)
	for _, state := range []string{"", "guess", strings.ToLower(good.Get("state")), good.Get("state") + "x"} {
		forged := url.Values{"code": good["code"], "state": {state}}
		if _, err := a.Complete(t.Context(), forged); !hasCode(err, "wrong_state") || !authenticator.Permanent(err) {
			t.Errorf("state %q: %v", state, err)
		}
	}
	if _, err := a.Complete(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Complete(t.Context(), good); !hasCode(err, "wrong_state") {
		t.Errorf("the same callback again: %v", err)
	}
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*authenticator.Error](err)
	return ok && e.Code == code
}

func TestAuthorizationsThatFail(t *testing.T) {
	configDir(t)
	org := sfstreamtest.NewServer(t, sfstreamtest.WithRequiredSecret())
	for name, test := range map[string]struct {
		refuse string
		change func(*authenticator.Authorization, url.Values)
		want   []string
	}{
		"refused by the person": {"access_denied/end-user denied authorization", nil,
			[]string{"authorization_code: access_denied: end-user denied authorization", "choose Allow"}},
		"blocked app": {"OAUTH_APP_BLOCKED/this app is blocked by admin", nil, []string{"OAUTH_APP_BLOCKED", "an administrator must install the app"}},
		"terminal":    {"x\x1b[31my/de\x00scription\n", nil, []string{"x [31my", "de scription"}},
		"no code": {"", func(_ *authenticator.Authorization, q url.Values) { q.Del("code") },
			[]string{"neither a code nor an error"}},
		"wrong code": {"", func(_ *authenticator.Authorization, q url.Values) { q.Set("code", "marker-code") },
			[]string{"invalid authorization code", "begin again"}},
		"without the secret": {"", func(a *authenticator.Authorization, _ url.Values) { a.ConsumerSecret = "" },
			[]string{"invalid_client", `untick "Require Secret for Web Server Flow"`}},
		"another callback": {"", func(a *authenticator.Authorization, _ url.Values) { a.CallbackURL += "x" },
			[]string{"redirect_uri_mismatch", "the callback URL http://localhost:17170/callbackx, letter by letter"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := authorization(org, "it")
			a.ConsumerSecret = org.Account().ConsumerSecret
			if test.refuse != "" {
				org.FailAuthorize(1, test.refuse)
			}
			q := begin(t, org, a)
			code := q.Get("code")
			if test.change != nil {
				test.change(a, q)
			}
			saved, err := a.Complete(t.Context(), q)
			if saved != nil || !authenticator.Permanent(err) && name != "no code" {
				t.Errorf("got %v, %v", saved, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			leaks(t, fmt.Sprintf("%v %+v %#v", err, err, err))
			if code != "" && strings.Contains(fmt.Sprintf("%+v %#v", err, err)+show(t, a), code) {
				t.Errorf("shows the code: %v", err)
			}
		})
	}
	if got := files(t, filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "sfstream")); got != "" && runtime.GOOS == "linux" {
		t.Errorf("files: %s", got)
	}
}

func TestBeginFindsWhatCannotBe(t *testing.T) {
	dir := configDir(t)
	org := sfstreamtest.NewServer(t)
	for _, test := range []struct {
		change func(*authenticator.Authorization)
		want   string
	}{
		{func(a *authenticator.Authorization) { a.ConsumerKey = "" }, "missing: ConsumerKey"},
		{func(a *authenticator.Authorization) { a.CallbackURL = "" }, "missing: CallbackURL"},
		{func(a *authenticator.Authorization) { a.CallbackURL = "https://acme.example/callback" }, "CallbackURL must be that of this computer"},
		{func(a *authenticator.Authorization) { a.CallbackURL = "http://localhost/callback" }, "CallbackURL must be that of this computer"},
		{func(a *authenticator.Authorization) { a.Login.URL = "http://acme.example" }, "the login URL must be https"},
		{func(a *authenticator.Authorization) { a.Name = "../x" }, "the name of a saved login has letters"},
		{func(a *authenticator.Authorization) { a.Name = "-list" }, "the name of a saved login has letters"},
		{func(a *authenticator.Authorization) { a.Name = strings.Repeat("x", 101) }, "the name of a saved login has letters"},
		{func(a *authenticator.Authorization) {
			os.MkdirAll(dir, 0o700)
			os.WriteFile(filepath.Join(dir, "login-it.json"), nil, 0o600)
		}, "login-it.json holds no saved login"},
		{func(a *authenticator.Authorization) {
			os.RemoveAll(dir)
			os.WriteFile(dir, nil, 0o600)
		}, "logins cannot be saved"},
	} {
		a := authorization(org, "it")
		test.change(a)
		if _, err := a.Begin(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if org.Logins() != 0 {
		t.Error("something was sent")
	}
}

// What is in the way of a saved login is told with its path, and left as it is.
func TestFilesThatCannotBeUsed(t *testing.T) {
	org := sfstreamtest.NewServer(t, sfstreamtest.WithRefreshRotation())
	for name, test := range map[string]struct {
		spoil     func(t *testing.T, dir, file string) error
		want      string
		permanent bool
	}{
		"empty":     {func(_ *testing.T, _, file string) error { return os.Truncate(file, 0) }, "holds no saved login: it is empty, cut off or damaged; delete it and log in again (sfstream login it)", true},
		"cut off":   {func(_ *testing.T, _, file string) error { return os.Truncate(file, 100) }, "holds no saved login", true},
		"no object": {func(_ *testing.T, _, file string) error { return os.WriteFile(file, []byte(`[]`), 0o600) }, "holds no saved login", true},
		"no token":  {func(_ *testing.T, _, file string) error { return os.WriteFile(file, []byte(`{"version":1}`), 0o600) }, "holds no saved login", true},
		"newer":     {func(_ *testing.T, _, file string) error { return os.WriteFile(file, []byte(`{"version":2}`), 0o600) }, "was written by a newer version", true},
		"open to others": {func(_ *testing.T, _, file string) error { return os.Chmod(file, 0o644) },
			"(mode 0644): chmod 600", true},
		"open directory": {func(_ *testing.T, dir, _ string) error { return os.Chmod(dir, 0o777) },
			"(mode 0777): chmod 700", true},
		"a directory": {func(_ *testing.T, _, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
			"cannot be read", false},
		"no room for the next": {func(_ *testing.T, _, file string) error { return os.MkdirAll(filepath.Join(file+".next", "x"), 0o700) },
			"could not be saved, so that none was asked for", false},
		"no lock": {func(_ *testing.T, _, file string) error {
			lock := strings.TrimSuffix(file, ".json") + ".lock"
			return errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700))
		}, "the saved login it cannot be locked", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := configDir(t)
			save(t, org, "it")
			a, _, err := authenticator.Saved("it")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "login-it.json")
			if err := test.spoil(t, dir, file); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(file)
			logins := org.Logins()
			_, err = a.Authenticate(t.Context(), authenticator.Login{HTTPClient: org.HTTPClient()})
			if name == "open directory" { // who has the Authenticator has looked before
				err = nil
			} else if err == nil || !strings.Contains(err.Error(), test.want) || authenticator.Permanent(err) != test.permanent || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if err != nil && org.Logins() != logins {
				t.Error("a refresh token was sent")
			}
			if _, _, again := authenticator.Saved("it"); err == nil && (again == nil || !strings.Contains(again.Error(), test.want)) {
				t.Errorf("got %v, want %s", again, test.want)
			}
			if test.permanent {
				begun := authorization(org, "it")
				if _, err := begun.Begin(); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("a new login: got %v, want %s", err, test.want)
				}
			}
			if after, _ := os.ReadFile(file); name != "open directory" && !bytes.Equal(before, after) {
				t.Error("the file was overwritten")
			}
		})
	}
}

func TestOneBrokenLoginLeavesTheOthersAlone(t *testing.T) {
	dir := configDir(t)
	org := sfstreamtest.NewServer(t)
	save(t, org, "a")
	save(t, org, "b")
	if err := os.WriteFile(filepath.Join(dir, "login-a.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	logins, err := authenticator.SavedLogins()
	if len(logins) != 1 || logins[0].Name != "b" || err == nil || !strings.Contains(err.Error(), "login-a.json") {
		t.Errorf("got %v, %v", logins, err)
	}
	mustUse(t, org, "b")
}

func TestTheDefaultLogin(t *testing.T) {
	configDir(t)
	org := sfstreamtest.NewServer(t)
	wants := func(name, want string) {
		t.Helper()
		_, err := use(t, org, name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !authenticator.Permanent(err)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	isDefault := func(want string) {
		t.Helper()
		logins, err := authenticator.SavedLogins()
		if err != nil {
			t.Error(err)
		}
		got := ""
		for _, l := range logins {
			if l.Default {
				got += l.Name
			}
		}
		if got != want {
			t.Errorf("the default is %q, want %q", got, want)
		}
	}
	wants("", "no login is saved in ")
	wants("b", "no login is saved under the name b in ")
	if _, _, err := authenticator.Saved(""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	save(t, org, "b")
	wants("", "")
	isDefault("b")
	save(t, org, "A")
	wants("", "several logins are saved (a, b) and none is the default")
	wants("c", "(there are: a, b)")
	isDefault("")
	if err := authenticator.SetDefaultLogin("c"); err == nil {
		t.Error("a login that is not there became the default")
	}
	if err := authenticator.SetDefaultLogin("A"); err != nil {
		t.Fatal(err)
	}
	wants("", "")
	isDefault("a")
	save(t, org, "b") // anew
	isDefault("a")
	if err := authenticator.RemoveSaved(t.Context(), "a", org.HTTPClient()); err != nil {
		t.Fatal(err)
	}
	isDefault("b")
}

func TestRemoveRevokesTheToken(t *testing.T) {
	dir := configDir(t)
	org := sfstreamtest.NewServer(t)
	save(t, org, "it")
	a, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	refresh := token(t, filepath.Join(dir, "login-it.json"))
	if err := authenticator.RemoveSaved(t.Context(), "it", org.HTTPClient()); err != nil {
		t.Fatal(err)
	}
	dead := &authenticator.RefreshToken{ConsumerKey: org.Account().ConsumerKey, RefreshToken: refresh}
	if _, err := dead.Authenticate(t.Context(), authenticator.Login{URL: org.LoginURL(), HTTPClient: org.HTTPClient()}); err == nil {
		t.Error("the token is still good")
	}
	if _, err := a.Authenticate(t.Context(), authenticator.Login{HTTPClient: org.HTTPClient()}); err == nil || !strings.Contains(err.Error(), "the saved login it was removed") {
		t.Errorf("got %v", err)
	}
	if err := authenticator.RemoveSaved(t.Context(), "it", org.HTTPClient()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("again: %v", err)
	}

	// Where Salesforce cannot be asked the login is deleted all the same.
	save(t, org, "it")
	refresh = token(t, filepath.Join(dir, "login-it.json"))
	err = authenticator.RemoveSaved(t.Context(), "it", inMemory(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("cannot send %v", form(t, r))
	}).HTTPClient)
	if err == nil || !strings.Contains(err.Error(), "its refresh token may still be good: revoke it in Salesforce") || strings.Contains(err.Error(), refresh) {
		t.Errorf("got %v", err)
	}
	if logins, err := authenticator.SavedLogins(); len(logins) > 0 || err != nil {
		t.Errorf("got %v, %v", logins, err)
	}
}

func TestSavedLoginsRotateInTurn(t *testing.T) {
	dir := configDir(t)
	org := sfstreamtest.NewServer(t, sfstreamtest.WithRefreshRotation())
	save(t, org, "it")
	file := filepath.Join(dir, "login-it.json")
	first := token(t, file)
	shared, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := shared
			if i%2 == 0 {
				var err error
				if a, _, err = authenticator.Saved("it"); err != nil {
					t.Error(err)
					return
				}
			}
			for range 4 {
				if _, err := a.Authenticate(t.Context(), authenticator.Login{HTTPClient: org.HTTPClient()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if org.ReusedRefreshTokens() != 0 || token(t, file) == first {
		t.Errorf("%d used tokens were sent", org.ReusedRefreshTokens())
	}
	if got := files(t, dir); got != "login-it.json login-it.lock" {
		t.Errorf("files: %s", got)
	}
	mustUse(t, org, "it")
}

// rotatingHost answers refreshes with the tokens second, third and so on, after before.
func rotatingHost(t *testing.T, before func(n int)) (authenticator.Login, *[]string) {
	var sent []string
	return inMemory(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, form(t, r).Get("refresh_token"))
		n := len(sent)
		before(n)
		return response(200, tokenReply("refresh_token", fmt.Sprintf("%s-%d", refreshToken, n), "access_token", fmt.Sprint(accessToken, n))), nil
	}), &sent
}

// write writes a saved login whose host is never reached, as the program does.
func write(t *testing.T, dir, name, refresh string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"version":1,"login_url":%q,"consumer_key":"key","refresh_token":%q}`, authenticator.SandboxURL, refresh)
	if err := os.WriteFile(filepath.Join(dir, "login-"+name+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestARotatedTokenThatCannotBeSavedIsKept(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "it", refreshToken)
	file := filepath.Join(dir, "login-it.json")
	a, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	login, sent := rotatingHost(t, func(n int) {
		if n != 1 {
			return
		}
		if err := errors.Join(os.Rename(file, file+".old"), os.MkdirAll(filepath.Join(file, "x"), 0o700)); err != nil { // now no rename succeeds
			t.Error(err)
		}
	})
	c, err := a.Authenticate(t.Context(), login)
	if e := loginError(t, c, err); e.Code != "on_rotate" || authenticator.Permanent(e) {
		t.Errorf("got %v", e)
	}
	if err := errors.Join(os.RemoveAll(file), os.Rename(file+".old", file)); err != nil {
		t.Fatal(err)
	}
	if c, err := a.Authenticate(t.Context(), login); err != nil || c.AccessToken != accessToken+"1" {
		t.Errorf("got %v, %v", c, err)
	}
	if got := token(t, file); got != refreshToken+"-1" || len(*sent) != 1 {
		t.Errorf("saved %s; sent %v", got, *sent)
	}
}

// If a person logs in again meanwhile, what could not be saved is out of date.
func TestAnUnsavedTokenYieldsToANewLogin(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "it", refreshToken)
	file := filepath.Join(dir, "login-it.json")
	a, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	login, sent := rotatingHost(t, func(n int) {
		if n == 1 {
			os.Remove(file)
			os.MkdirAll(filepath.Join(file, "x"), 0o700)
		}
	})
	if _, err := a.Authenticate(t.Context(), login); err == nil {
		t.Fatal("no error")
	}
	os.RemoveAll(file)
	write(t, dir, "it", refreshToken+"-new")
	if _, err := a.Authenticate(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	if want := []string{refreshToken, refreshToken + "-new"}; fmt.Sprint(*sent) != fmt.Sprint(want) {
		t.Errorf("sent %v, want %v", *sent, want)
	}
}

func TestASavedRefreshOutlivesItsCaller(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "it", refreshToken)
	synctest.Test(t, func(t *testing.T) {
		a, loginURL, err := authenticator.Saved("it")
		if err != nil || loginURL != authenticator.SandboxURL {
			t.Fatal(loginURL, err)
		}
		asked, answer := make(chan int, 9), make(chan bool)
		login, sent := rotatingHost(t, func(n int) { asked <- n; <-answer })
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		go func() { <-asked; cancel() }()
		c, err := a.Authenticate(ctx, login)
		if e := loginError(t, c, err); !errors.Is(e, context.Canceled) {
			t.Errorf("got %v", e)
		}
		if waited := time.Since(begun); waited != 5*time.Second {
			t.Errorf("it returned %v after its context had ended", waited)
		}
		// Who comes next waits for the refresh under way, and can leave.
		for _, a := range []authenticator.Authenticator{a, func() authenticator.Authenticator { a, _, _ := authenticator.Saved("it"); return a }()} {
			short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			c, err := a.Authenticate(short, login)
			if e := loginError(t, c, err); !errors.Is(e, context.DeadlineExceeded) || e.Code != "no_answer" || !strings.Contains(e.Error(), "login-it.lock") {
				t.Errorf("got %v", e)
			}
			cancel()
		}
		close(answer)
		if _, err := a.Authenticate(t.Context(), login); err != nil {
			t.Fatal(err)
		}
		if want := []string{refreshToken, refreshToken + "-1"}; fmt.Sprint(*sent) != fmt.Sprint(want) {
			t.Errorf("sent %v, want %v", *sent, want)
		}
	})
}

func TestASavedRefreshIsAwaitedThoughItsContextHasEnded(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "it", refreshToken)
	synctest.Test(t, func(t *testing.T) {
		a, _, err := authenticator.Saved("it")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		login, _ := rotatingHost(t, func(int) { cancel(); time.Sleep(time.Second) })
		c, err := a.Authenticate(ctx, login)
		if e := loginError(t, c, err); !errors.Is(e, context.Canceled) {
			t.Errorf("got %v", e)
		}
		// A program can exit now.
		if got := token(t, filepath.Join(dir, "login-it.json")); got != refreshToken+"-1" {
			t.Errorf("saved is %s", got)
		}
	})
}

// TestTheLastToLeaveACacheAwaitsASavedRefresh: a client's logins come through a Cache.
func TestTheLastToLeaveACacheAwaitsASavedRefresh(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "it", refreshToken)
	synctest.Test(t, func(t *testing.T) {
		a, _, err := authenticator.Saved("it")
		if err != nil {
			t.Fatal(err)
		}
		cache, asked := authenticator.NewCache(a), make(chan bool)
		login, _ := rotatingHost(t, func(int) { close(asked); time.Sleep(4 * time.Second) })
		leave := func(after time.Duration) (waited time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			begun := time.Now()
			if _, err := cache.Get(ctx, login); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			return time.Since(begun)
		}
		var first time.Duration
		var group sync.WaitGroup
		group.Go(func() { first = leave(time.Second) })
		<-asked
		last := leave(2 * time.Second)
		// A program can exit now.
		if got := token(t, filepath.Join(dir, "login-it.json")); got != refreshToken+"-1" {
			t.Errorf("saved is %s", got)
		}
		if group.Wait(); first != time.Second || last != 4*time.Second {
			t.Errorf("the first one left after %v, the last one after %v", first, last)
		}
	})
}

func TestASavedLoginSaysHowToSaveItAnew(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"expired access/refresh token"}`: "sfstream login it saves it anew",
		`{"error":"invalid_client","error_description":"invalid client credentials"}`:  `"Require Secret for Refresh Token Flow"`,
	} {
		dir := configDir(t)
		write(t, dir, "it", refreshToken)
		a, _, err := authenticator.Saved("it")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Authenticate(t.Context(), always(400, body))
		if e := loginError(t, c, err); !strings.Contains(e.Error(), want) || !authenticator.Permanent(e) {
			t.Errorf("got %v", e)
		}
	}
}

func TestFromEnvTakesASavedLoginOnlyWhereNoVariableIsSet(t *testing.T) {
	dir := configDir(t)
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)

	if _, _, err := authenticator.FromEnv(); err == nil || !strings.Contains(err.Error(), "no login is configured") || !strings.Contains(err.Error(), "sfstream login") {
		t.Errorf("got %v", err)
	}
	write(t, dir, "it", refreshToken)
	t.Setenv("SALESFORCE_PUBSUB_ENDPOINT", "http://127.0.0.1:1")
	a, loginURL, err := authenticator.FromEnv()
	if err != nil || loginURL != authenticator.SandboxURL {
		t.Fatal(loginURL, err)
	}
	mustLogin(t, a, always(200, tokenReply()))
	if text := log.String(); !strings.Contains(text, "level=INFO") || !strings.Contains(text, "name=it") || !strings.Contains(text, "login-it.json") || strings.Contains(text, "marker") {
		t.Errorf("log: %s", text)
	}
	log.Reset()
	for _, name := range []string{"SALESFORCE_CONSUMER_KEY", "SALESFORCE_SANDBOX", "SALESFORCE_CONSUMERKEY", "SALESFORCE_REFRESH_TOKEN_FILE"} {
		t.Setenv(name, "true")
		if _, _, err := authenticator.FromEnv(); err == nil {
			t.Errorf("with %s: the saved login is used", name)
		}
		t.Setenv(name, "")
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
	write(t, dir, "other", refreshToken)
	if _, _, err := authenticator.FromEnv(); err == nil || !strings.Contains(err.Error(), "no variable SALESFORCE_… is set, and several logins are saved (it, other)") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "AppData"} {
		t.Setenv(name, "")
	}
	if _, _, err := authenticator.FromEnv(); err == nil || !strings.Contains(err.Error(), "no login is configured") {
		t.Errorf("without a home: %v", err)
	}
}
