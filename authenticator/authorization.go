package authenticator

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// Authorization has a person log in at a browser and approve the app, by the OAuth authorization
// code flow with PKCE (S256), and saves the login for [Saved]. It is what sfstream login uses.
//
// The program opens the URL of Begin in a browser, and serves CallbackURL: Salesforce sends the
// browser there, and Complete takes the parameters that it brings. The app is an External Client
// App that has CallbackURL letter by letter, the scopes api and refresh_token, offline_access, and
// "Require Proof Key for Code Exchange (PKCE)". If it requires its secret for the web server flow
// or the refresh token flow, ConsumerSecret must be set, and is saved with the login.
//
// It must be used through a pointer, &Authorization{…}, and its fields must not be changed after
// Begin. It redacts itself as [Credentials] does.
type Authorization struct {
	ConsumerKey    string // the app's consumer key (client_id)
	ConsumerSecret string // the app's consumer secret; sent and saved only if set
	CallbackURL    string // http to localhost, with a port and a path
	Name           string // to save the login under; default: the username
	Login          Login

	opaque

	mu              sync.Mutex
	state, verifier string // of the authorization under way; empty if there is none
}

// Begin begins an authorization and returns the URL of the page for the person. It sends nothing,
// but finds out whether the login can be saved: the directory can be written to, and a login that
// is there under the Name can be read. Its errors are [*Error].
func (a *Authorization) Begin() (pageURL string, err error) {
	x := newExchange("authorization_code", a.Login, a.ConsumerSecret)
	if err := x.require("ConsumerKey", a.ConsumerKey, "CallbackURL", a.CallbackURL); err != nil {
		return "", err
	}
	base, err := x.base()
	if err != nil {
		return "", err
	}
	callback, reason := parseBase(a.CallbackURL)
	if reason == "" && (!isLoopback(callback.Hostname()) || callback.Port() == "") {
		reason = "must be that of this computer, with a port, as in http://localhost:17170/callback"
	}
	if reason != "" {
		return "", x.fail(codeConfig, 0, nil, "CallbackURL %s", reason)
	}
	if err := savable(a.Name); err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Salesforce refuses verifiers with characters that base64url does not have, though PKCE allows
	// some: this one has none.
	a.state, a.verifier = rand.Text(), oauth2.GenerateVerifier()
	config := a.config(oauth2.Endpoint{AuthURL: base.String() + "/services/oauth2/authorize"})
	// The person chooses the user: without prompt it would be whoever is logged in to the browser.
	return config.AuthCodeURL(a.state, oauth2.S256ChallengeOption(a.verifier), oauth2.SetAuthURLParam("prompt", "login")), nil
}

func (a *Authorization) config(at oauth2.Endpoint) *oauth2.Config {
	return &oauth2.Config{ClientID: a.ConsumerKey, ClientSecret: a.ConsumerSecret, RedirectURL: a.CallbackURL,
		Scopes: []string{"api", "refresh_token"}, Endpoint: at}
}

// savable finds out whether a login can be saved under a name, which may still be unknown.
func savable(name string) (err error) {
	if name != "" {
		if name, err = savedName(name); err != nil {
			return err
		}
	}
	dir, err := openSaved()
	if err != nil {
		return err
	}
	if err := dir.make(); err != nil {
		return err
	}
	probe, err := os.CreateTemp(string(dir), "probe-*")
	if err != nil {
		return savedError(codeSaved, err, "logins cannot be saved")
	}
	probe.Close()
	os.Remove(probe.Name())
	if name == "" {
		return nil
	}
	if _, err := dir.read(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Complete ends the authorization with the parameters that the callback got: it checks their state,
// exchanges the code and saves the login. A login that is there under its name is replaced.
//
// Its errors are [*Error]. The Code wrong_state means that the callback is not that of this
// authorization: it may be somebody else's, and the authorization goes on. After any other error it
// has ended. An error that Salesforce sent to the callback has its Code, such as access_denied.
func (a *Authorization) Complete(ctx context.Context, callback url.Values) (*SavedLogin, error) {
	a.mu.Lock()
	state, verifier := a.state, a.verifier
	code := callback.Get("code")
	x := newExchange("authorization_code", a.Login, a.ConsumerSecret, code, verifier, state)
	if state == "" || subtle.ConstantTimeCompare([]byte(callback.Get("state")), []byte(state)) != 1 {
		a.mu.Unlock()
		return nil, x.fail(codeState, 0, nil, "the callback is not that of the login under way")
	}
	a.state, a.verifier = "", "" // a code and its verifier serve once
	a.mu.Unlock()
	if callback.Get("error") != "" {
		return nil, a.refused(x.fail(x.clean(callback.Get("error")), 0, nil, "%s", x.clean(callback.Get("error_description"))))
	}
	if code == "" {
		return nil, x.fail(codeIncomplete, 0, nil, "the callback has neither a code nor an error")
	}
	token, err := x.token(ctx, func(ctx context.Context, at oauth2.Endpoint) (*oauth2.Token, error) {
		return a.config(at).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	})
	if err != nil {
		return nil, a.refused(err)
	}
	credentials, err := x.credentials(ctx, token)
	if err != nil {
		return nil, err
	}
	if token.RefreshToken == "" {
		x.hint = "give the app the scope refresh_token, offline_access"
		return nil, x.fail(codeIncomplete, http.StatusOK, nil, "the reply has no refresh token")
	}
	username, _ := x.userinfo(ctx, credentials) // the login is good without it
	r := savedRecord{
		SavedLogin: SavedLogin{
			Username: x.clean(username), OrgID: credentials.OrgID, UserID: credentials.UserID,
			LoginURL: x.login.base(), InstanceURL: credentials.InstanceURL,
			ConsumerKey: a.ConsumerKey, SavedAt: time.Now().UTC().Truncate(time.Second),
		},
		ConsumerSecret: a.ConsumerSecret,
		RefreshToken:   token.RefreshToken,
	}
	return a.save(ctx, r)
}

// refused adds to an error of Salesforce the next step that only this flow knows.
func (a *Authorization) refused(err error) error {
	if e, ok := err.(*Error); ok {
		switch {
		case e.Code == "redirect_uri_mismatch":
			e.hint = "the app must have the callback URL " + a.CallbackURL + ", letter by letter"
		case e.Code == "invalid_client" && a.ConsumerSecret == "":
			e.hint = `the app requires its secret: set SALESFORCE_CONSUMER_SECRET, or untick "Require Secret for Web Server Flow" in the app`
		}
	}
	return err
}

// save saves the login under the Name, else the username, else the user's id.
func (a *Authorization) save(ctx context.Context, r savedRecord) (*SavedLogin, error) {
	name, err := savedName(cmp.Or(a.Name, r.Username))
	if err != nil && a.Name == "" {
		name, err = savedName(cmp.Or(r.UserID, r.OrgID))
	}
	if err != nil {
		return nil, err
	}
	dir, err := openSaved()
	if err != nil {
		return nil, err
	}
	r.Name = name
	s := &saved{dir: dir, name: name, turn: make(chan struct{}, 1)}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := dir.read(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // what cannot be read is not overwritten
	}
	next, err := dir.prepare(name)
	if err == nil {
		defer next.close()
		err = next.replace(r)
	}
	if err != nil {
		return nil, savedError(codeSaved, err, "the login could not be saved")
	}
	names, err := dir.names()
	if err != nil {
		return nil, err
	}
	r.Default = dir.defaultOf(names) == name
	return &r.SavedLogin, nil
}
