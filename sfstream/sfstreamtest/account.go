package sfstreamtest

import "github.com/sfstream/sfstream-go/authenticator"

// Account is the one user of the org and the app that logs in for it.
type Account struct {
	OrgID          string // 18 characters
	UserID         string
	ConsumerKey    string
	ConsumerSecret string
	Username       string
	Password       string
	SecurityToken  string
	RefreshToken   string // the first one; see WithRefreshRotation
	CallbackURL    string // of the app; see WithCallbackURLs
}

func theAccount() Account {
	return Account{
		OrgID:          "00D000000000001EAA",
		UserID:         "005000000000001AAA",
		ConsumerKey:    "3MVG9.sfstreamtest.key",
		ConsumerSecret: "sfstreamtest.consumer.secret",
		Username:       "integration@sfstream.example",
		Password:       "pass&word=100%",
		SecurityToken:  "sfstreamtestToken",
		RefreshToken:   "5Aep861sfstreamtest.refresh.token",
		CallbackURL:    "http://localhost:17170/callback",
	}
}

// Account returns the credentials that the org accepts at login.
func (s *Server) Account() Account { return s.account }

// Authenticator returns an authenticator that logs in to the org with its account's password.
func (s *Server) Authenticator() authenticator.Authenticator {
	return authenticator.Password{
		ConsumerKey:    s.account.ConsumerKey,
		ConsumerSecret: s.account.ConsumerSecret,
		Username:       s.account.Username,
		Password:       s.account.Password,
		SecurityToken:  s.account.SecurityToken,
	}
}
