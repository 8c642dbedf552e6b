package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// freePort returns a port that nobody has, on either address of localhost.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// loginTest is an org whose app has a callback URL at a free port, and a home for saved logins.
type loginTest struct {
	*sfstreamtest.Server
	port   int
	home   string
	output string // all that the programs and the pages showed
	codes  []string
}

func newLoginTest(t *testing.T, options ...sfstreamtest.Option) *loginTest {
	t.Helper()
	l := &loginTest{port: freePort(t), home: t.TempDir()}
	l.Server = sfstreamtest.NewServer(t, append(options, sfstreamtest.WithCallbackURLs(l.callback()))...)
	return l
}

func (l *loginTest) callback() string { return fmt.Sprintf("http://localhost:%d/callback", l.port) }

func (l *loginTest) dir() string { return filepath.Join(l.home, "sfstream") }

// program prepares a run of sfstream with the home for saved logins.
func (l *loginTest) program(t *testing.T, env []string, args ...string) *exec.Cmd {
	return program(t, append([]string{"XDG_CONFIG_HOME=" + l.home, "BROWSER=", "DISPLAY=", "WAYLAND_DISPLAY="}, env...), args...)
}

// runs runs sfstream to its end.
func (l *loginTest) runs(t *testing.T, status int, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := l.program(t, env, args...)
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	_ = cmd.Run()
	l.output += out.String() + text.String()
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("%v: exit status %d, want %d: %s", args, got, status, &text)
	}
	return out.String(), text.String()
}

// login is a running sfstream login.
type login struct {
	*exec.Cmd
	stdin io.WriteCloser
	page  string // the page for the person
	err   *bytes.Buffer
	read  sync.WaitGroup
}

// begin starts sfstream login, and waits for the page that it shows.
func (l *loginTest) begin(t *testing.T, env []string, args ...string) *login {
	t.Helper()
	args = append([]string{"login", "-port", strconv.Itoa(l.port), "-login-url", l.LoginURL(), "-consumer-key", l.Account().ConsumerKey}, args...)
	p := &login{Cmd: l.program(t, env, args...), err: new(bytes.Buffer)}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	pages := make(chan string, 1)
	p.read.Go(func() {
		defer close(pages)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(p.err, lines.Text())
			if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, l.LoginURL()+"/services/oauth2/authorize?") {
				pages <- line
			}
		}
	})
	p.page = <-pages
	if p.page == "" {
		p.read.Wait()
		t.Fatalf("no page: %s", p.err)
	}
	return p
}

// ends waits for the end of a login, and returns what it told.
func (l *loginTest) ends(t *testing.T, p *login, status int) string {
	t.Helper()
	p.read.Wait()
	_ = p.Wait()
	l.output += p.err.String()
	if got := p.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d, want %d: %s", got, status, p.err)
	}
	return p.err.String()
}

// approve opens the page as a person's browser does, and returns the page at which it ends.
func (l *loginTest) approve(t *testing.T, p *login) (page string) {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		l.codes = append(l.codes, r.URL.Query().Get("code"))
		return nil
	}}
	defer browser.CloseIdleConnections()
	resp, err := browser.Get(p.page)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	l.output += string(text)
	return string(text)
}

// keepsSecrets fails the test if something showed a secret: codes, the consumer secret, the refresh
// tokens that are and were saved.
func (l *loginTest) keepsSecrets(t *testing.T, more ...string) {
	t.Helper()
	for _, secret := range append(append(more, l.codes...), l.Account().ConsumerSecret, "5Aep", l.Account().OrgID[:15]+"!") {
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if secret != "" && strings.Contains(l.output, form) {
				t.Errorf("%q is shown in: %s", secret, l.output)
			}
		}
	}
}

// saved returns the refresh token in the file of a saved login, and checks who can read it.
func (l *loginTest) saved(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(l.dir(), "login-"+name+".json")
	for path, want := range map[string]fs.FileMode{l.dir(): 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v (%v), want %v", path, info, err, want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(text, &record); err != nil || record.RefreshToken == "" {
		t.Fatalf("%s (%v)", text, err)
	}
	return record.RefreshToken
}

func TestLogin(t *testing.T) {
	l := newLoginTest(t, sfstreamtest.WithRefreshRotation(), sfstreamtest.WithRequiredSecret())
	if err := l.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish("/event/Order__e", map[string]any{"Number__c": 1}); err != nil {
		t.Fatal(err)
	}
	name := l.Account().Username
	if stdout, stderr := l.runs(t, 0, nil, "login", "-list"); stdout != "" || !strings.Contains(stderr, "No login is saved") {
		t.Errorf("listed %s, %s", stdout, stderr)
	}

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(l.Account().ConsumerSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := l.begin(t, []string{"SALESFORCE_CONSUMER_SECRET_FILE=" + secret})
	if page := l.approve(t, p); !strings.Contains(page, "<h1>Logged in as "+name+"</h1>") {
		t.Errorf("page: %s", page)
	}
	told := l.ends(t, p, 0)
	for _, want := range []string{
		"Logged in as " + name + " of org " + l.Account().OrgID, `"sfstream tail -account ` + name + ` CHANNEL" uses it`, "SALESFORCE_CONSUMER_SECRET_FILE",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("told %s, want %s", told, want)
		}
	}
	tokens := []string{l.saved(t, name)}

	endpoint := []string{"SALESFORCE_PUBSUB_ENDPOINT=" + l.PubSubEndpoint()}
	tail := []string{"tail", "-from", "all", "-count", "1", "/event/Order__e"}
	stdout, stderr := l.runs(t, 0, endpoint, tail...)
	if numbers(t, []byte(stdout)) != "1" || !strings.Contains(stderr, "using the saved login") {
		t.Errorf("printed %s, %s", stdout, stderr)
	}
	tokens = append(tokens, l.saved(t, name))
	if stdout, _ := l.runs(t, 0, endpoint, "doctor"); !strings.Contains(stdout, "no end is announced of saved logins") {
		t.Errorf("doctor printed %s", stdout)
	}
	tokens = append(tokens, l.saved(t, name))
	// With -account the variables do not count.
	stdout, _ = l.runs(t, 0, append(endpoint, "SALESFORCE_USERNAME=somebody", "SALESFORCE_PASSWORD=wrong"), append(tail, "-account", name)...)
	if numbers(t, []byte(stdout)) != "1" {
		t.Errorf("printed %s", stdout)
	}
	if _, stderr := l.runs(t, 2, endpoint, append(tail, "-sandbox")...); !strings.Contains(stderr, "name a saved login by -account") {
		t.Errorf("told %s", stderr)
	}
	if _, stderr := l.runs(t, 1, endpoint, append(tail, "-account", "nobody")...); !strings.Contains(stderr, "no login is saved under the name nobody") {
		t.Errorf("told %s", stderr)
	}
	tokens = append(tokens, l.saved(t, name))

	p = l.begin(t, []string{"SALESFORCE_CONSUMER_SECRET=" + l.Account().ConsumerSecret}, "second")
	l.approve(t, p)
	l.ends(t, p, 0)
	stdout, _ = l.runs(t, 0, nil, "login", "-list")
	if lines := strings.Count(stdout, "\n"); lines != 3 || !strings.Contains(stdout, "second") || strings.Contains(stdout, " default\n") {
		t.Errorf("listed %s", stdout)
	}
	if _, stderr := l.runs(t, 1, endpoint, tail...); !strings.Contains(stderr, "several logins are saved") {
		t.Errorf("told %s", stderr)
	}
	l.runs(t, 0, nil, "login", "second", "-default")
	if stdout, _ := l.runs(t, 0, nil, "login", "-list"); !regexp.MustCompile(`(?m)^second .* default$`).MatchString(stdout) {
		t.Errorf("listed %s", stdout)
	}
	last := l.saved(t, "second")
	if _, stderr := l.runs(t, 0, nil, "login", "-remove", "second"); !strings.Contains(stderr, "Removed second; Salesforce has revoked") {
		t.Errorf("told %s", stderr)
	}
	revoked := &authenticator.RefreshToken{ConsumerKey: l.Account().ConsumerKey, ConsumerSecret: l.Account().ConsumerSecret, RefreshToken: last}
	if _, err := revoked.Authenticate(t.Context(), authenticator.Login{URL: l.LoginURL()}); err == nil {
		t.Error("the removed login is still good")
	}
	l.runs(t, 0, endpoint, tail...)
	l.keepsSecrets(t, append(tokens, last)...)
	if len(l.codes) != 2 || tokens[0] == tokens[1] || tokens[1] == tokens[2] {
		t.Errorf("%d codes, tokens %v", len(l.codes), tokens)
	}
}

func TestLoginTellsHowItComesToBeUsed(t *testing.T) {
	l := newLoginTest(t)
	saves := func(name, want string) {
		t.Helper()
		p := l.begin(t, nil, name)
		l.approve(t, p)
		if told := l.ends(t, p, 0); !strings.HasSuffix(told, want+"\n") {
			t.Errorf("told %s, want %s", told, want)
		}
	}
	saves("one", `"sfstream tail CHANNEL" uses it.`)
	saves("two", `"sfstream tail -account two CHANNEL" uses it, because no login is the default; "sfstream login -default two" changes that.`)
	l.runs(t, 0, nil, "login", "-default", "one")
	saves("three", `"sfstream tail -account three CHANNEL" uses it, because another login is the default; "sfstream login -default three" changes that.`)
	saves("one", `"sfstream tail CHANNEL" uses it.`)
}

func TestLoginsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		refuse  string
		options []sfstreamtest.Option
		page    string
		want    string
	}{
		"refused by the person": {"access_denied/end-user <b>denied</b> authorization", nil, "end-user &lt;b&gt;denied&lt;/b&gt; authorization", "choose Allow on Salesforce's page"},
		"blocked app":           {"OAUTH_APP_BLOCKED/this app is blocked by admin", nil, "The login failed", "an administrator must install the app"},
		"no secret":             {"", []sfstreamtest.Option{sfstreamtest.WithRequiredSecret()}, "The login failed", `untick "Require Secret for Web Server Flow"`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoginTest(t, test.options...)
			if test.refuse != "" {
				l.FailAuthorize(1, test.refuse)
			}
			p := l.begin(t, nil)
			if page := l.approve(t, p); !strings.Contains(page, test.page) || strings.Contains(page, "<b>") {
				t.Errorf("page: %s", page)
			}
			if told := l.ends(t, p, 1); !strings.Contains(told, test.want) {
				t.Errorf("told %s, want %s", told, test.want)
			}
			if entries, err := os.ReadDir(l.dir()); err != nil || len(entries) > 0 {
				t.Errorf("files: %v, %v", entries, err)
			}
			l.keepsSecrets(t)
		})
	}
}

func TestLoginWaitsOnlySoLong(t *testing.T) {
	l := newLoginTest(t)
	told := l.ends(t, l.begin(t, nil, "-timeout", "50ms"), 1)
	if !strings.HasSuffix(told, "\nsfstream: login: no browser came back within 50ms\n") || !strings.Contains(told, "\n  redirect_uri_mismatch   ") || !strings.Contains(told, " "+l.callback()+"\n") {
		t.Errorf("told %s", told)
	}
	if runtime.GOOS == "windows" {
		return
	}
	p := l.begin(t, nil)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if told := l.ends(t, p, 1); !strings.Contains(told, "interrupted: nothing is saved") {
		t.Errorf("told %s", told)
	}
}

// With an app that rotates refresh tokens, a login whose new token is not saved is lost.
func TestCtrlCLeavesARefreshThatHasBegunToEnd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal can be sent there")
	}
	l := newLoginTest(t, sfstreamtest.WithRefreshRotation())
	p := l.begin(t, nil, "it")
	l.approve(t, p)
	l.ends(t, p, 0)
	before := l.saved(t, "it")

	target, err := url.Parse(l.LoginURL())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 9)
	org := httputil.NewSingleHostReverseProxy(target)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/services/oauth2/token" {
			asked <- true
			time.Sleep(300 * time.Millisecond)
		}
		org.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	file := filepath.Join(l.dir(), "login-it.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"login_url": "`+l.LoginURL()), []byte(`"login_url": "`+slow.URL), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, args := range [][]string{{"tail"}, {"gen"}, {"doctor"}} {
		cmd := l.program(t, nil, append(args, "-account", "it", "/event/Order__e")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		after := l.saved(t, "it")
		if after == before {
			t.Errorf("%v ended before the rotated token was saved", args)
		}
		before = after
	}
}

// The time is for the browser to come: what Salesforce takes then does not count.
func TestLoginDoesNotLeaveACallbackThatCame(t *testing.T) {
	came, answer := make(chan bool), make(chan bool)
	c, err := listenForCallback(freePort(t), func(callbackValues) (*authenticator.SavedLogin, error) {
		close(came)
		<-answer
		return &authenticator.SavedLogin{Name: "it"}, nil
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	go c.take(nil)
	<-came
	time.AfterFunc(50*time.Millisecond, func() { close(answer) })
	if got, came := c.end(); !came || got.err != nil || got.saved.Name != "it" {
		t.Errorf("got %+v, %v", got, came)
	}
	if _, mine := c.take(nil); mine {
		t.Error("a callback is taken after the end")
	}
}

func TestTheCallbackKnowsItsAddress(t *testing.T) {
	for _, test := range []struct {
		port, host string
		status     int
	}{
		{"17170", "localhost:17170", http.StatusBadRequest}, // it is the callback's, of another login
		{"17170", "[::1]:17170", http.StatusBadRequest},
		{"80", "localhost", http.StatusBadRequest},
		{"80", "localhost:80", http.StatusBadRequest},
		{"80", "[::1]", http.StatusBadRequest},
		{"17170", "localhost", http.StatusForbidden},
		{"17170", "localhost:80", http.StatusForbidden},
		{"80", "evil.example", http.StatusForbidden},
		{"17170", "evil.example:17170", http.StatusForbidden},
		{"17170", "", http.StatusForbidden},
	} {
		c := &callback{port: test.port, ended: true}
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, callbackPath+"?code=c", nil)
		r.Host = test.host
		if c.ServeHTTP(w, r); w.Code != test.status {
			t.Errorf("port %s, Host %q: got %d, want %d", test.port, test.host, w.Code, test.status)
		}
	}
}

func TestLoginOpensTheBrowser(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the browser of this test is a shell script")
	}
	l := newLoginTest(t)
	script, visited := filepath.Join(t.TempDir(), "browser"), filepath.Join(t.TempDir(), "visited")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$1\" >"+visited+".new; mv "+visited+".new "+visited+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := l.begin(t, []string{"BROWSER=" + script})
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(visited)
		if err == nil {
			if got := strings.TrimSpace(string(text)); got != p.page {
				t.Errorf("opened %s, want %s", got, p.page)
			}
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatal("the browser was not opened")
		}
	}
	l.approve(t, p)
	l.ends(t, p, 0)
}

// Without a browser here, the address at which one ended elsewhere is pasted.
func TestLoginTakesAPastedAddress(t *testing.T) {
	l := newLoginTest(t)
	p := l.begin(t, nil, "-no-browser")
	elsewhere := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := elsewhere.Get(p.page)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	address, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	l.codes = append(l.codes, address.Query().Get("code"))
	forged := strings.Replace(address.String(), "state=", "state=x", 1)
	fmt.Fprintf(p.stdin, "\nnothing\nhttp://localhost:1/callback?code=x\n%s\n%s\n", forged, address)
	told := l.ends(t, p, 0)
	if strings.Count(told, "not the whole address") != 2 || strings.Count(told, "A callback came that is not that of this login") != 1 || !strings.Contains(told, "Logged in as") {
		t.Errorf("told %s", told)
	}
	l.keepsSecrets(t)
}

func TestLoginAtAPortInUse(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l := newLoginTest(t)
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(l.port)))
		if err != nil {
			t.Logf("no %s here: %v", host, err)
			continue
		}
		_, told := l.runs(t, 1, nil, "login", "-port", strconv.Itoa(l.port), "-login-url", l.LoginURL(), "-consumer-key", "key")
		ln.Close()
		for _, want := range []string{fmt.Sprintf("port %d is in use", l.port), fmt.Sprintf("-port %d", l.port+1), fmt.Sprintf("http://localhost:%d/callback", l.port+1)} {
			if !strings.Contains(told, want) {
				t.Errorf("told %s, want %s", told, want)
			}
		}
	}
}

func TestMistakesOfLogin(t *testing.T) {
	l := newLoginTest(t)
	key := []string{"SALESFORCE_CONSUMER_KEY=key"}
	missing := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		status int
		want   string
		env    []string
		args   []string
	}{
		{2, "-consumer-key or SALESFORCE_CONSUMER_KEY", nil, nil},
		{2, "-list, -remove and -default exclude", nil, []string{"-list", "-remove", "x"}},
		{2, "-list takes no NAME", nil, []string{"-list", "x"}},
		{2, "no NAME given", nil, []string{"-remove"}},
		{2, "no NAME given", nil, []string{"-default"}},
		{2, "unexpected argument", nil, []string{"a", "b"}},
		{2, "-port must be", nil, []string{"-port", "0"}},
		{2, "-timeout must be", nil, []string{"-timeout", "0s"}},
		{2, "-sandbox and -login-url exclude", key, []string{"-sandbox", "-login-url", "https://acme.my.salesforce.com"}},
		{2, "-login-url must be", key, []string{"-login-url", "http://acme.example"}},
		{2, "SALESFORCE_LOGIN_URL and SALESFORCE_SANDBOX exclude", append(key, "SALESFORCE_SANDBOX=true", "SALESFORCE_LOGIN_URL=https://acme.my.salesforce.com"), nil},
		{2, "SALESFORCE_SANDBOX must be", append(key, "SALESFORCE_SANDBOX=perhaps"), nil},
		{2, "are both set", append(key, "SALESFORCE_CONSUMER_KEY_FILE=x"), nil},
		{1, "SALESFORCE_CONSUMER_SECRET_FILE: the file cannot be read", append(key, "SALESFORCE_CONSUMER_SECRET_FILE="+missing), nil},
		{2, "NAME: the name of a saved login has letters", key, []string{"../x"}},
		{2, "NAME: the name of a saved login has letters", nil, []string{"-remove", "../x"}},
		{1, "no login is saved under the name x", nil, []string{"-remove", "x"}},
		{1, "no login is saved under the name x", nil, []string{"-default", "x"}},
	} {
		if stdout, stderr := l.runs(t, test.status, test.env, append([]string{"login"}, test.args...)...); stdout != "" || !strings.Contains(stderr, test.want) || strings.Contains(stderr, missing) {
			t.Errorf("%v %v: printed %q, told %s, want %s", test.env, test.args, stdout, stderr, test.want)
		}
	}
	if _, err := os.Stat(l.dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a mistake touched files: %v", err)
	}
}

func TestListOfBrokenLogins(t *testing.T) {
	l := newLoginTest(t)
	p := l.begin(t, nil, "good")
	l.approve(t, p)
	l.ends(t, p, 0)
	if err := os.WriteFile(filepath.Join(l.dir(), "login-bad.json"), []byte(`{"refresh_token":"5Aepmarker`), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr := l.runs(t, 1, nil, "login", "-list"); !strings.Contains(stdout, "good") || !strings.Contains(stderr, "login-bad.json holds no saved login") {
		t.Errorf("listed %s, told %s", stdout, stderr)
	}
	l.keepsSecrets(t)
}

// The callback URL serves nobody but the browser of the login under way, and nothing of what comes
// is on its pages.
func TestCallbacksThatAreRefused(t *testing.T) {
	port := freePort(t)
	var told bytes.Buffer
	completed := 0
	c, err := listenForCallback(port, func(v callbackValues) (*authenticator.SavedLogin, error) {
		if v.Get("state") != "right" {
			return nil, &authenticator.Error{Code: "wrong_state"}
		}
		completed++
		return &authenticator.SavedLogin{Name: "it", Username: "<i>me</i>"}, nil
	}, &told)
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, path, host string, want int) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s %s of %s: %s, want %d (%v)", method, path, host, resp.Status, want, err)
		}
		h := resp.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("header %v", h)
		}
		if text := string(page); strings.Contains(text, "marker") || strings.Contains(text, "<i>") || strings.Contains(text, "src=") {
			t.Errorf("page: %s", page)
		}
		return string(page)
	}
	local := fmt.Sprintf("localhost:%d", port)
	const right = "/callback?code=marker&state=right"
	for _, host := range []string{"evil.example", fmt.Sprintf("evil.example:%d", port), "localhost:1", "localhost", fmt.Sprintf("localhost.evil.example:%d", port)} {
		ask("GET", right, host, 403)
	}
	ask("GET", "/?code=marker&state=right", local, 404)
	ask("GET", "/favicon.ico", local, 404)
	ask("POST", right, local, 405)
	ask("GET", "/callback?code=marker&state=wrong", local, 400)
	ask("GET", "/callback?error=marker", local, 400)
	if completed != 0 || strings.Count(told.String(), "still waiting") != 2 {
		t.Errorf("%d completed, told %s", completed, &told)
	}
	if page := ask("GET", right, local, 200); !strings.Contains(page, "Logged in as &lt;i&gt;me&lt;/i&gt;") {
		t.Errorf("page: %s", page)
	}
	ask("GET", right, local, 400)
	if got := <-c.outcome; completed != 1 || got.err != nil || got.saved.Name != "it" {
		t.Errorf("%d completed, %+v", completed, got)
	}
	c.close()
	if _, err := client.Get(base + right); err == nil {
		t.Error("the port is still served")
	}
}

// No other computer reaches the callback URL.
func TestTheCallbackIsOfThisComputer(t *testing.T) {
	c, err := listenForCallback(freePort(t), nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.IsLinkLocalUnicast() {
			continue
		}
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(network.IP.String(), c.port), time.Second); err == nil {
			conn.Close()
			t.Errorf("%s is served", network.IP)
		}
	}
}
