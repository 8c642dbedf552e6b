package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// goWords are what a program calls things, and nobody who types commands.
var goWords = regexp.MustCompile(`\bWith[A-Z]\w*|\bFrom:|\bFrom\b|Fallback[A-Z]\w*|authenticator[.:]|sfstream\.|replaystore[.:]|Endpoint(Global|EU)|` +
	`\b(ConsumerKey|ConsumerSecret|SecurityToken|RefreshToken|PrivateKey|AccessToken|InstanceURL|OrgID|SandboxURL|ProductionURL|JWTBearer|` +
	`ClientCredentials|Cache|APIVersion|OnRotate|Signer|HTTPClient|Authenticator|AckManual|NewMemory|OpenBolt)\b`)

// speaks checks the sentence of an error.
func speaks(t *testing.T, text string, once ...string) {
	t.Helper()
	if found := goWords.FindString(text); found != "" {
		t.Errorf("%q is Go: %s", found, text)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("more than a line: %q", text)
	}
	if _, next, _ := strings.Cut(text, "; "); next == "" {
		t.Errorf("no next step: %s", text)
	}
	for _, part := range once {
		if strings.Count(text, part) != 1 {
			t.Errorf("%q is not there once: %s", part, text)
		}
	}
}

// source is a file of another package of this module.
func source(t *testing.T, path ...string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(append([]string{"..", "..", ".."}, path...)...), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// texts returns the strings in a part of a source.
func texts(node ast.Node) (all []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr: // a long text in parts
			var parts strings.Builder
			for _, part := range texts(n.X) {
				parts.WriteString(part)
			}
			for _, part := range texts(n.Y) {
				parts.WriteString(part)
			}
			all = append(all, parts.String())
			return false
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				all = append(all, text)
			}
		}
		return true
	})
	return all
}

// loginFlows are the flows of errors, and none.
var loginFlows = []string{"", "client_credentials", "jwt_bearer", "refresh_token", "authorization_code", "password", "soap", "static", "cli", "saved", "environment"}

// Whatever Salesforce answers to a login: each string of the tables of package authenticator is a
// code or a description of some error.
func TestRefusedLoginsSpeakOfVariables(t *testing.T) {
	known := texts(source(t, "authenticator", "remedy.go"))
	known = append(known, texts(source(t, "authenticator", "errors.go"))...)
	if len(known) < 60 {
		t.Fatalf("only %d strings", len(known))
	}
	for _, flow := range loginFlows {
		for _, text := range known {
			if strings.Contains(text, "/") && strings.Contains(text, ".") || strings.Contains(text, "%") {
				continue // an import, or a format
			}
			for _, status := range []int{0, 400, 404, 500} {
				if len(text) < 30 {
					speaks(t, sentence(&authenticator.Error{Flow: flow, Code: text, StatusCode: status}))
				}
				if !goWords.MatchString(text) { // else it is a remedy, and no word of Salesforce's
					speaks(t, sentence(&authenticator.Error{Flow: flow, Code: "invalid_grant", Description: text, StatusCode: status}))
				}
			}
		}
	}
}

// What package authenticator itself finds wrong: the texts of all calls of fail and envError.
func TestWrongConfigurationsSpeakOfVariables(t *testing.T) {
	codes := make(map[string]string) // by their constants
	ast.Inspect(source(t, "authenticator", "errors.go"), func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "code") && len(spec.Values) == 1 {
			codes[spec.Names[0].Name] = texts(spec.Values[0])[0]
		}
		return true
	})
	for _, code := range slices.Sorted(maps.Values(codes)) {
		if !slices.Contains(loginCodes, code) {
			t.Errorf("%s is a code of package authenticator, and not known here", code)
		}
	}
	files, err := filepath.Glob("../../../authenticator/*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		ast.Inspect(source(t, "authenticator", filepath.Base(path)), func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			code, formats := calledWith(call, codes)
			for _, format := range formats {
				if strings.Contains(format, "Signer") {
					continue // nobody can set one on the command line
				}
				seen++
				text := regexp.MustCompile(`%\S`).ReplaceAllString(format, "x")
				for _, flow := range loginFlows {
					speaks(t, sentence(&authenticator.Error{Flow: flow, Code: code, Description: text}))
				}
			}
			return true
		})
	}
	if seen < 40 {
		t.Errorf("only %d texts", seen)
	}
	for field, variable := range variables {
		speaks(t, sentence(&authenticator.Error{Flow: "static", Code: "invalid_config", Description: "missing: " + field}), "missing: "+variable)
	}
}

// calledWith returns the code and the formats of an error that a call makes, none if it makes none.
func calledWith(call *ast.CallExpr, codes map[string]string) (code string, formats []string) {
	switch fun := call.Fun.(type) {
	case *ast.SelectorExpr:
		if fun.Sel.Name != "fail" || len(call.Args) < 4 {
			return "", nil
		}
		code = "invalid_config"
		if name, ok := call.Args[0].(*ast.Ident); ok && codes[name.Name] != "" {
			code = codes[name.Name]
		}
		return code, texts(call.Args[3])
	case *ast.Ident:
		if fun.Name == "envError" {
			return "invalid_config", texts(call.Args[0])
		}
	}
	return "", nil
}

func TestServerErrorsSpeakOfFlags(t *testing.T) {
	for code := sfstream.Internal; code <= sfstream.Invalid; code++ {
		for _, channel := range []string{"/event/Order__e", "/data/AccountChangeEvent", "/topic/Accounts", "/u/Ops"} {
			for _, api := range []string{"pubsub", "cometd"} {
				err := &sfstream.ServerError{API: api, Channel: channel, Code: code, Message: "it says so", Reason: "sfdc.platform.reason", RPCID: "7f-3"}
				speaks(t, sentence(err), channel, "it says so", "sfdc.platform.reason", "7f-3", code.String())
				speaks(t, sentence(fmt.Errorf("sfstream: %s: subscribe: %w; the last failure: %w", channel, context.DeadlineExceeded, err)), channel, "7f-3")
			}
		}
		speaks(t, sentence(&sfstream.ServerError{API: "cometd", Code: code}), "Streaming API")
	}
	speaks(t, sentence(&sfstream.ServerError{API: "rest", Code: sfstream.Invalid, Message: "it says so"}), "it says so")
	// The steps that no error of ours here has, because only the client makes them.
	files, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range files {
		for _, decl := range source(t, "sfstream", filepath.Base(path)).Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(strings.ToLower(f.Name.Name), "remedy") {
				continue
			}
			for _, step := range texts(f.Body) {
				seen++
				if said := inWords.Replace(step); goWords.MatchString(said) {
					t.Errorf("%q is Go: %s", goWords.FindString(said), said)
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d steps", seen)
	}
}

func TestOtherErrorsSpeakOfFlags(t *testing.T) {
	for _, err := range []error{
		&sfstream.ReplayError{Channel: "/event/X__e", Marker: replaystore.Marker{ReplayID: []byte("123")}},
		&sfstream.StoreError{Op: "save", Channel: "/event/X__e"}, &sfstream.StoreError{Op: "load"},
		fmt.Errorf("%w: /event/X__e", sfstream.ErrAlreadySubscribed),
		fmt.Errorf("replaystore: replay.db: %w by another process", replaystore.ErrLocked),
		fmt.Errorf("replaystore: replay.db: %w: a bbolt database of another program", replaystore.ErrNotAReplayFile),
		errors.Join(&sfstream.StoreError{Op: "save"}, &sfstream.ServerError{Channel: "/event/X__e"}),
		&sfstream.DecodeError{Channel: "/event/X__e", SchemaID: "abc", ReplayID: []byte("123"), Field: "A.B"},
	} {
		speaks(t, sentence(err))
	}
	for _, option := range []sfstream.Option{
		sfstream.WithPubSubEndpoint("acme.my.salesforce.com"), sfstream.WithPubSubEndpoint("nowhere"),
		sfstream.WithPubSubEndpoint("http://example.com:80"), sfstream.WithLoginURL("acme"), sfstream.WithAPIVersion("x"), sfstream.WithAPIVersion("20.0"),
	} {
		_, err := sfstream.New(authenticator.Static{}, option)
		speaks(t, sentence(err))
	}
	if got := sentence(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}); got != "open x: file does not exist" {
		t.Errorf("an error of no library of ours is %q", got)
	}
}

// Real failures, as the command prints them.
func TestFailuresAreToldInTheWordsOfTheCaller(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 1)
	locked := filepath.Join(t.TempDir(), "replay.db")
	store, err := replaystore.OpenBolt(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, test := range []struct {
		name string
		env  []string
		args []string
		once []string
	}{
		{"an id that is too old", nil, []string{"-from", "123456", "/event/Order__e"}, []string{"/event/Order__e", "-fallback all", "Replay ID validation failed", "rpc id"}},
		{"an id that is too old, streaming", nil, []string{"-cometd", "-from", "123456", "/event/Order__e"}, []string{"/event/Order__e", "-fallback all", "400::"}},
		{"a wrong password", []string{"SALESFORCE_PASSWORD=wrong"}, []string{"/event/Order__e"}, []string{o.LoginURL, "authentication failure", "SALESFORCE_PASSWORD", "invalid_grant"}},
		{"no such channel", nil, []string{"/event/Ordr__e"}, []string{"rpc id"}},
		{"no such channel, streaming", nil, []string{"-cometd", "/event/Ordr__e"}, []string{"400::", "check the channel's spelling"}},
		{"no such topic", nil, []string{"/topic/Nothing"}, []string{"PushTopic"}},
		{"another login host", []string{"SALESFORCE_LOGIN_URL=http://127.0.0.1:1"}, []string{"/event/Order__e"}, []string{"http://127.0.0.1:1", "connection refused", "HTTPS_PROXY"}},
		{"My Domain is wanted", []string{"SALESFORCE_LOGIN_URL=", "SALESFORCE_USERNAME=", "SALESFORCE_PASSWORD="}, []string{"/event/Order__e"}, []string{"-login-url"}},
		{"no login", []string{"SALESFORCE_CONSUMER_KEY=", "SALESFORCE_CONSUMER_SECRET=", "SALESFORCE_USERNAME=", "SALESFORCE_PASSWORD="},
			[]string{"/event/Order__e"}, []string{"no login is configured"}},
		{"an endpoint that is none", []string{"SALESFORCE_PUBSUB_ENDPOINT=acme.my.salesforce.com"}, []string{"/event/Order__e"}, []string{"has no Pub/Sub API"}},
		{"a file in use", nil, []string{"-replay", locked, "/event/Order__e"}, []string{locked, "in use", "-replay"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range env(append(o.env(), test.env...)) {
				t.Setenv(name, value)
			}
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append([]string{"tail"}, test.args...), &stdout, &stderr)
			notes := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
			text := notes[len(notes)-1]
			for _, note := range notes[:len(notes)-1] {
				if strings.Contains(note, "warning") || strings.Contains(note, "disconnected") || strings.Contains(note, "failed") {
					t.Errorf("told before its time: %s", note)
				}
			}
			if status != 1 || stdout.Len() > 0 {
				t.Errorf("exit status %d, printed %q", status, &stdout)
			}
			if !strings.HasPrefix(text, "sfstream: ") {
				t.Errorf("%q", text)
			}
			speaks(t, strings.TrimPrefix(text, "sfstream: "), test.once...)
		})
	}
}

func TestAHostThatIsNotThere(t *testing.T) {
	got := sentence(&sfstream.ServerError{API: "pubsub", Channel: "/event/X__e", Code: sfstream.Unavailable, Message: "name resolver error: produced zero addresses"})
	if want := "/event/X__e: Unavailable: no such host (DNS); "; !strings.HasPrefix(got, want) {
		t.Errorf("said %s, want %s…", got, want)
	}
	speaks(t, got)
}
