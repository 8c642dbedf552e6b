package authenticator

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// savedPatience is how long a login waits, when its context has ended, for a refresh that has begun.
const savedPatience = 5 * time.Second

// SavedLogin describes a login that [Authorization] has saved on this computer. It has no secrets.
type SavedLogin struct {
	Name        string    `json:"name"`         // lower case
	Username    string    `json:"username"`     // empty if Salesforce did not tell it
	OrgID       string    `json:"org_id"`       // 18 (or 15) characters
	UserID      string    `json:"user_id"`      // 18 (or 15) characters
	LoginURL    string    `json:"login_url"`    // where it logs in
	InstanceURL string    `json:"instance_url"` // where the org was when the login was saved
	ConsumerKey string    `json:"consumer_key"` // of the app
	SavedAt     time.Time `json:"saved_at"`     // UTC
	Default     bool      `json:"-"`            // whether an empty name means this login
}

// SavedLogins returns all saved logins, ordered by name. If some cannot be read, it returns the
// others and an error that tells about each.
func SavedLogins() ([]SavedLogin, error) {
	dir, err := openSaved()
	if err != nil {
		return nil, err
	}
	names, err := dir.names()
	if err != nil {
		return nil, err
	}
	var logins []SavedLogin
	var broken []error
	chosen := dir.defaultOf(names)
	for _, name := range names {
		r, err := dir.read(name)
		switch {
		case err == nil:
			r.Default = name == chosen
			logins = append(logins, r.SavedLogin)
		case !errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
			broken = append(broken, err)
		}
	}
	return logins, errors.Join(broken...)
}

// Saved returns the login that was saved under a name, which is not case-sensitive, and the login
// URL that it is for. An empty name means the default login: the one that [SetDefaultLogin] has
// chosen, or the only one. If no login is saved, the error wraps [fs.ErrNotExist].
//
// The Authenticator logs in by the refresh-token flow at the URL of the saved login, whatever
// [Login].URL is. All processes of a user can share a saved login, even if the app rotates refresh
// tokens: each login locks it, reads the newest refresh token, and has the file replaced before it
// returns. So a login waits while another process logs in. When ctx ends it returns at once, unless a
// refresh has begun: that runs to its end, a minute at most, and the login waits five seconds for it.
// If the process ends between Salesforce's answer and the replacing, a rotated token is lost, and a
// person must log in again: a program should let its logins return before it exits.
//
// The files are in the directory sfstream of [os.UserConfigDir]. A file that others can read is
// refused.
//
// Errors are [*Error], those of the file with the Flow "saved".
func Saved(name string) (a Authenticator, loginURL string, err error) {
	s, r, err := openLogin(name)
	if err != nil {
		return nil, "", err
	}
	return s, r.LoginURL, nil
}

// SetDefaultLogin makes the saved login of a name the default.
func SetDefaultLogin(name string) error {
	s, _, err := openLogin(name)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(string(s.dir), "default-login-*") // with mode 0600
	if err == nil {
		_, err = temp.WriteString(s.name + "\n")
		err = errors.Join(err, temp.Sync(), temp.Close())
		if err == nil {
			err = moveFile(temp.Name(), s.dir.defaultFile())
		}
		if err != nil {
			os.Remove(temp.Name())
		}
	}
	if err != nil {
		return savedError(codeSaved, err, "the default login cannot be saved")
	}
	return nil
}

// RemoveSaved has Salesforce revoke the refresh token of a saved login, and so the sessions that
// came of it, and deletes the login. If Salesforce does not revoke the token, the login is deleted
// all the same, and the error says so. A nil client is [http.DefaultClient].
func RemoveSaved(ctx context.Context, name string, client *http.Client) error {
	s, _, err := openLogin(name)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.dir.read(s.name) // the token may have been rotated while we waited
	if err != nil {
		return err
	}
	x := newExchange("saved", Login{URL: r.LoginURL, HTTPClient: client}, r.RefreshToken, r.ConsumerSecret)
	revoked := x.revoke(ctx, r.RefreshToken)
	if err := errors.Join(os.Remove(s.dir.file(s.name)), s.dir.sync()); err != nil {
		return savedError(codeSaved, err, "the saved login cannot be deleted")
	}
	return revoked
}

// revoke has Salesforce revoke a refresh token. One that is dead already is no error.
func (x *exchange) revoke(ctx context.Context, token string) error {
	x.hint = "the login is deleted from this computer, but its refresh token may still be good: revoke it in Salesforce " +
		"(Setup, Connected Apps OAuth Usage, or the user's own settings, OAuth Connected Apps)"
	base, err := x.base()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	x.at = base.String() + "/services/oauth2/revoke"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.at, strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return x.fail(codeConfig, 0, err, "no request can be made for the login URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client, rec := x.client()
	resp, err := client.Do(req)
	if err != nil {
		return x.refusal(ctx, base, nil, err)
	}
	resp.Body.Close()
	if code, _ := serverError(rec.reply.body); resp.StatusCode == http.StatusOK || code == "invalid_token" {
		return nil
	}
	return x.refusal(ctx, base, rec.reply, nil)
}

// saved is the Authenticator of a saved login.
type saved struct {
	opaque

	dir  savedDir
	name string
	turn chan struct{} // has room for the one goroutine that may lock the file and use what follows

	// unsaved holds a rotated refresh token that could not be saved, in place of the one in the
	// file, spent. It is nil if there is none.
	unsaved *RefreshToken
	spent   string
}

// openLogin reads the saved login of a name, and of the default login if the name is empty.
func openLogin(name string) (*saved, *savedRecord, error) {
	dir, err := openSaved()
	if err != nil {
		return nil, nil, err
	}
	names, err := dir.names()
	if err != nil {
		return nil, nil, err
	}
	missing := "no login is saved under the name " + name
	if name == "" {
		missing = "no login is saved"
		name = dir.defaultOf(names)
		if name == "" && len(names) > 0 {
			return nil, nil, savedError(codeConfig, nil, "several logins are saved (%s) and none is the default: choose one, "+
				"or make it the default (sfstream login -default NAME)", strings.Join(names, ", "))
		}
	}
	if name != "" {
		if name, err = savedName(name); err != nil {
			return nil, nil, err
		}
		r, err := dir.read(name)
		if err == nil {
			return &saved{dir: dir, name: name, turn: make(chan struct{}, 1)}, r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	missing += " in " + string(dir)
	if len(names) > 0 {
		missing += " (there are: " + strings.Join(names, ", ") + ")"
	}
	none := savedError(codeConfig, fs.ErrNotExist, "%s", missing)
	none.hint = "sfstream login saves one"
	return nil, nil, none
}

// lock waits until this goroutine alone may use the saved login.
func (s *saved) lock(ctx context.Context) (unlock func(), err error) {
	path := s.dir.lock(s.name)
	select {
	case s.turn <- struct{}{}:
		open, err := lockFile(ctx, path)
		if err == nil {
			return func() { open(); <-s.turn }, nil
		}
		<-s.turn
		if ctx.Err() == nil {
			return nil, savedError(codeSaved, err, "the saved login %s cannot be locked", s.name)
		}
	case <-ctx.Done():
	}
	return nil, savedError(codeNoAnswer, ctx.Err(), "another program or goroutine was logging in with the saved login %s, which %s locks", s.name, path)
}

// Authenticate performs one login. Its errors are [*Error].
func (s *saved) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		credentials *Credentials
		err         error
	}
	done := make(chan result, 1)
	// This Authenticate waits for the goroutine. If its ctx ends first, the next Authenticate, of
	// any process, waits for it, through the lock. requestTimeout bounds its requests.
	go func() {
		defer unlock()
		credentials, err := s.login(context.WithoutCancel(ctx), login)
		done <- result{credentials, err}
	}()
	select {
	case got := <-done:
		return got.credentials, got.err
	case <-ctx.Done():
	}
	// A program whose context ends is likely to exit, before the rotated token is saved.
	select {
	case <-done:
	case <-time.After(savedPatience):
	}
	return nil, interrupted(ctx.Err())
}

// login reads the saved login, refreshes, and replaces the file if the refresh token was rotated.
// The caller has the lock: what is in the file is read only now, because whoever had the lock
// before may have rotated the token.
func (s *saved) login(ctx context.Context, login Login) (*Credentials, error) {
	record, err := s.dir.read(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		removed := savedError(codeConfig, fs.ErrNotExist, "the saved login %s was removed", s.name)
		removed.hint = "sfstream login " + s.name + " saves it anew"
		return nil, removed
	}
	if err != nil {
		return nil, err
	}
	next, err := s.dir.prepare(s.name)
	if err != nil {
		return nil, savedError(codeSaved, err, "a new refresh token could not be saved, so that none was asked for")
	}
	defer next.close()
	refresh := s.unsaved
	if refresh == nil || s.spent != record.RefreshToken { // else a person has logged in again
		refresh = &RefreshToken{ConsumerKey: record.ConsumerKey, ConsumerSecret: record.ConsumerSecret, RefreshToken: record.RefreshToken}
	}
	s.unsaved, s.spent = nil, record.RefreshToken
	refresh.OnRotate = func(_ context.Context, token string) error {
		rotated := *record
		rotated.RefreshToken = token
		return next.replace(rotated)
	}
	credentials, err := refresh.login(ctx, Login{URL: record.LoginURL, HTTPClient: login.HTTPClient})
	if refresh.unsaved != nil {
		s.unsaved = refresh
	}
	if refused, ok := err.(*Error); ok {
		switch {
		case refused.says("expired access/refresh token"):
			refused.hint = "sfstream login " + s.name + " saves it anew (it was revoked, has expired, or was rotated)"
		case refused.Code == "invalid_client" && record.ConsumerSecret == "":
			refused.hint = "no secret is saved with the login: sfstream login " + s.name + " with SALESFORCE_CONSUMER_SECRET set saves one, " +
				`or untick "Require Secret for Refresh Token Flow" in the app`
		}
	}
	return credentials, err
}
