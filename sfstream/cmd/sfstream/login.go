package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

const loginHelp = `Has you log in at a browser, and saves the login on this computer, for this
user. The other commands use it by -account NAME, or by itself where no variable
SALESFORCE_… is set. NAME is the Salesforce username, unless it is given.

  sfstream login -consumer-key 3MVG9…
  sfstream login -consumer-key 3MVG9… -sandbox dev
  sfstream login -list
  sfstream login -default dev
  sfstream login -remove dev

The org needs an app for it, which an administrator makes once, in Setup:

  1. External Client App Manager, New External Client App: any name, your
     address, Distribution State Local.
  2. Below API, Enable OAuth, and enter

       Callback URL   http://localhost:17170/callback

     to the letter: Salesforce compares every one. With -port 8123 it is
     http://localhost:8123/callback; an app can have several, one a line.
     OAuth Scopes: "Manage user data via APIs (api)" and "Perform requests at
     any time (refresh_token, offline_access)". Events need no other.
  3. Below Security, tick "Require Proof Key for Code Exchange (PKCE)", and
     untick "Require Secret for Web Server Flow" and "Require Secret for Refresh
     Token Flow"; or leave these two ticked, and set SALESFORCE_CONSUMER_SECRET
     when you log in. "Enable Refresh Token Rotation" is fine. Leave access
     tokens in the form of a JSON Web Token (JWT) off: the event APIs do not
     take these.
  4. Create. Consumer Key and Secret, in the app's Settings, OAuth Settings,
     tells the consumer key. Permitted Users, in its Policies, says who may use
     the app. A new app takes up to ten minutes until it works.

On a computer without a browser, -no-browser prints the page to open elsewhere.
There the browser ends at an address of localhost that it cannot reach: paste
that whole address here. Or have ssh bring it here: ssh -L
17170:localhost:17170 COMPUTER.

A login is a file with a refresh token that only you can read, in the directory
sfstream of your configuration (~/.config, ~/Library/Application Support or
%AppData%). -remove deletes it, and has Salesforce revoke the token.
`

const loginVariables = `Variables:

  SALESFORCE_CONSUMER_KEY     for -consumer-key
  SALESFORCE_CONSUMER_SECRET  the app's secret, if it requires that; saved with
                              the login. There is no flag for it: other users of
                              a computer can see flags
  SALESFORCE_LOGIN_URL        for -login-url
  SALESFORCE_SANDBOX          true: for -sandbox

Each can also name a file that has the value, with _FILE at its end.
`

// loginFlags is a run of sfstream login.
type loginFlags struct {
	consumerKey string
	sandbox     bool
	loginURL    string
	port        int
	noBrowser   bool
	timeout     time.Duration
	list        bool
	remove      bool
	prefer      bool
}

func (f *loginFlags) register(flags *flag.FlagSet) {
	flags.Var(filled(&f.consumerKey), "consumer-key", "the app's consumer `key`")
	flags.BoolVar(&f.sandbox, "sandbox", false, "log in at test.salesforce.com")
	flags.Var(filled(&f.loginURL), "login-url", "log in at this `URL`, such as the org's My Domain URL")
	flags.IntVar(&f.port, "port", 17170, "the `port` of the callback URL, on this computer")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "open no browser, and take the address at which one ended elsewhere")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "wait so `long` for the browser")
	flags.BoolVar(&f.list, "list", false, "list the saved logins, without secrets")
	flags.BoolVar(&f.remove, "remove", false, "delete the saved login NAME, and have Salesforce revoke it")
	flags.BoolVar(&f.prefer, "default", false, "make the saved login NAME the one that is used where none is named")
}

func (f *loginFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	mistake := func(text string) error { return usageError{"sfstream login: " + text} }
	name := strings.Join(args, "")
	verbs := 0
	for _, verb := range []bool{f.list, f.remove, f.prefer} {
		if verb {
			verbs++
		}
	}
	switch {
	case verbs > 1:
		return mistake("-list, -remove and -default exclude each other")
	case f.list && name != "":
		return mistake("-list takes no NAME")
	case (f.remove || f.prefer) && name == "":
		return mistake("no NAME given; \"sfstream login -list\" tells them")
	case f.port < 1 || f.port > 65535:
		return mistake("-port must be from 1 to 65535")
	case f.timeout <= 0:
		return mistake("-timeout must be positive")
	case f.list:
		return listLogins(stdout, stderr)
	case f.remove:
		return removeLogin(ctx, name, stderr)
	case f.prefer:
		return named(authenticator.SetDefaultLogin(name))
	}
	if err := (&accountFlags{sandbox: f.sandbox, loginURL: f.loginURL}).check("login"); err != nil {
		return err
	}
	auth, err := f.authorization(name)
	if err != nil {
		return err
	}
	return f.login(ctx, auth, stderr)
}

// named makes a usageError of the error of a name that no login can have.
func named(err error) error {
	if e, ok := errors.AsType[*authenticator.Error](err); ok && e.Code == "invalid_name" {
		return usageError{"sfstream login: NAME: " + e.Description}
	}
	return err
}

// authorization returns the authorization that flags and variables describe.
func (f *loginFlags) authorization(name string) (*authenticator.Authorization, error) {
	a := &authenticator.Authorization{Name: name, CallbackURL: fmt.Sprintf("http://localhost:%d%s", f.port, callbackPath)}
	sandbox := ""
	for _, v := range []struct {
		value *string
		name  string
	}{
		{&a.ConsumerKey, "SALESFORCE_CONSUMER_KEY"}, {&a.ConsumerSecret, "SALESFORCE_CONSUMER_SECRET"},
		{&a.Login.URL, "SALESFORCE_LOGIN_URL"}, {&sandbox, "SALESFORCE_SANDBOX"},
	} {
		var err error
		if *v.value, err = variable(v.name); err != nil {
			return nil, err
		}
	}
	a.ConsumerKey = cmp.Or(f.consumerKey, a.ConsumerKey)
	isSandbox, err := strconv.ParseBool(cmp.Or(sandbox, "false"))
	switch {
	case a.ConsumerKey == "":
		return nil, usageError{"sfstream login: give the app's consumer key by -consumer-key or SALESFORCE_CONSUMER_KEY; \"sfstream help login\" tells how to make an app"}
	case f.loginURL != "":
		a.Login.URL = f.loginURL
	case f.sandbox:
		a.Login.URL = authenticator.SandboxURL
	case err != nil:
		return nil, usageError{"sfstream login: SALESFORCE_SANDBOX must be true or false"}
	case isSandbox && a.Login.URL != "":
		return nil, usageError{"sfstream login: SALESFORCE_LOGIN_URL and SALESFORCE_SANDBOX exclude each other"}
	case isSandbox:
		a.Login.URL = authenticator.SandboxURL
	}
	return a, nil
}

// variable returns the value of an environment variable, or the text of the file that its name with
// _FILE names.
func variable(name string) (string, error) {
	value, path := strings.TrimSpace(os.Getenv(name)), os.Getenv(name+"_FILE")
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", usageError{fmt.Sprintf("sfstream login: %s and %[1]s_FILE are both set", name)}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: the file cannot be read", name) // its name may be the secret, put there by mistake
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff")), nil
}

// login has a person log in at a browser, and tries the login that was saved.
func (f *loginFlags) login(ctx context.Context, auth *authenticator.Authorization, stderr io.Writer) error {
	page, err := auth.Begin()
	if err != nil {
		return named(err)
	}
	waiting, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	answers, err := listenForCallback(f.port, func(callback callbackValues) (*authenticator.SavedLogin, error) {
		return auth.Complete(ctx, callback)
	}, stderr)
	if err != nil {
		return err
	}
	defer answers.close()

	fmt.Fprintf(stderr, "Log in at this page:\n\n  %s\n\n", page)
	switch {
	case f.noBrowser:
		fmt.Fprintf(stderr, "If the browser is on another computer, it ends at an address that begins with\n%s and cannot be reached. Paste the whole address here:\n", auth.CallbackURL)
		go answers.readPasted(os.Stdin) // it ends with the program: a read of a terminal cannot be left
	case !openBrowser(page):
		fmt.Fprintln(stderr, "No browser could be opened here: open the page yourself.")
	}
	select {
	case got := <-answers.outcome:
		return f.ended(ctx, got, stderr)
	case <-waiting.Done():
	}
	if got, came := answers.end(); came {
		return f.ended(ctx, got, stderr)
	}
	if ctx.Err() != nil {
		return errNothingSaved
	}
	fmt.Fprintf(stderr, "If Salesforce showed\n"+
		"  redirect_uri_mismatch   enter in the app, to the letter, the callback URL\n"+
		"                          %s\n"+
		"  invalid_client_id       check the consumer key and where you log in; a new\n"+
		"                          app takes up to ten minutes\n"+
		"\"sfstream help login\" tells all that the app needs.\n", auth.CallbackURL)
	return fmt.Errorf("login: no browser came back within %v", f.timeout)
}

var errNothingSaved = errors.New("login: interrupted: nothing is saved")

// ended tells how a login at the browser ended.
func (f *loginFlags) ended(ctx context.Context, got outcome, stderr io.Writer) error {
	switch {
	case got.err == nil && ctx.Err() != nil:
		return fmt.Errorf("login: interrupted: the login %s is saved", got.saved.Name)
	case ctx.Err() != nil:
		return errNothingSaved
	case got.err != nil:
		return got.err
	}
	return f.try(ctx, got.saved, stderr)
}

// try logs in with a login that was just saved, as the other commands will do, and tells how these
// come to use it.
func (f *loginFlags) try(ctx context.Context, saved *authenticator.SavedLogin, stderr io.Writer) error {
	auth, _, err := authenticator.Saved(saved.Name)
	if err != nil {
		return err
	}
	if _, err := auth.Authenticate(ctx, authenticator.Login{}); err != nil {
		return fmt.Errorf("the login %s is saved, but does not work: %w", saved.Name, err)
	}
	fmt.Fprintf(stderr, "Logged in as %s of org %s, at %s; saved as %s.\n", harmless(cmp.Or(saved.Username, saved.UserID)), harmless(saved.OrgID), harmless(saved.InstanceURL), saved.Name)
	use, why := "sfstream tail CHANNEL", ""
	if set := salesforceVariables(); len(set) > 0 {
		why = ", because variables are set: " + strings.Join(set, ", ")
	} else if !saved.Default {
		why = ", because no login is the default"
		if logins, _ := authenticator.SavedLogins(); slices.ContainsFunc(logins, func(l authenticator.SavedLogin) bool { return l.Default }) {
			why = ", because another login is the default"
		}
		why += "; \"sfstream login -default " + saved.Name + "\" changes that"
	}
	if why != "" {
		use = "sfstream tail -account " + saved.Name + " CHANNEL"
	}
	fmt.Fprintf(stderr, "\"%s\" uses it%s.\n", use, why)
	return nil
}

// salesforceVariables returns the names of the variables that keep other commands from a saved
// login.
func salesforceVariables() (names []string) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(strings.ToUpper(name), "SALESFORCE_") && value != "" && name != "SALESFORCE_PUBSUB_ENDPOINT" {
			names = append(names, name)
		}
	}
	return names
}

func listLogins(stdout, stderr io.Writer) error {
	logins, broken := authenticator.SavedLogins()
	if len(logins) == 0 && broken == nil {
		fmt.Fprintln(stderr, "No login is saved. \"sfstream help login\" tells how to save one.")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for i, l := range logins {
		if i == 0 {
			fmt.Fprintln(w, "NAME\tUSERNAME\tORG\tLOGIN URL\tINSTANCE\tSAVED\tDEFAULT")
		}
		standard := "-"
		if l.Default {
			standard = "default"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, harmless(cmp.Or(l.Username, "-")), harmless(l.OrgID), harmless(l.LoginURL), harmless(l.InstanceURL), l.SavedAt.Format(time.RFC3339), standard)
	}
	return errors.Join(w.Flush(), broken)
}

func removeLogin(ctx context.Context, name string, stderr io.Writer) error {
	if err := authenticator.RemoveSaved(ctx, name, nil); err != nil {
		return named(err)
	}
	fmt.Fprintf(stderr, "Removed %s; Salesforce has revoked its refresh token.\n", name)
	return nil
}
