package authenticator

import (
	"os"
	"strconv"
	"strings"
)

// FromEnv makes an Authenticator of environment variables and tells where it logs in. Empty variables count
// as not set. The first flow that fits is taken:
//
//	SALESFORCE_ACCESS_TOKEN   → Static: also SALESFORCE_INSTANCE_URL; optional SALESFORCE_ORG_ID
//	SALESFORCE_REFRESH_TOKEN  → *RefreshToken: also SALESFORCE_CONSUMER_KEY; optional SALESFORCE_CONSUMER_SECRET
//	SALESFORCE_USERNAME       → Password: also SALESFORCE_PASSWORD, SALESFORCE_CONSUMER_KEY and
//	                            SALESFORCE_CONSUMER_SECRET; optional SALESFORCE_SECURITY_TOKEN
//
// loginURL is SALESFORCE_LOGIN_URL, or SandboxURL where SALESFORCE_SANDBOX is true (as strconv.ParseBool
// reads it), or ProductionURL; the first two exclude each other.
//
// The *RefreshToken has no OnRotate: where the app rotates refresh tokens, the one in the environment is
// dead after the first login. Set OnRotate before use, and start from what it saved.
//
// Errors are [*Error] and name every variable that is missing.
func FromEnv() (a Authenticator, loginURL string, err error) {
	loginURL, err = loginURLFromEnv()
	if err != nil {
		return nil, "", err
	}
	var missing []string
	need := func(name string) string {
		v := os.Getenv(name)
		if v == "" {
			missing = append(missing, name)
		}
		return v
	}
	switch {
	case os.Getenv("SALESFORCE_ACCESS_TOKEN") != "":
		a = Static{
			AccessToken: need("SALESFORCE_ACCESS_TOKEN"),
			InstanceURL: need("SALESFORCE_INSTANCE_URL"),
			OrgID:       os.Getenv("SALESFORCE_ORG_ID"),
		}
	case os.Getenv("SALESFORCE_REFRESH_TOKEN") != "":
		a = &RefreshToken{
			ConsumerKey:    need("SALESFORCE_CONSUMER_KEY"),
			ConsumerSecret: os.Getenv("SALESFORCE_CONSUMER_SECRET"),
			RefreshToken:   need("SALESFORCE_REFRESH_TOKEN"),
		}
	case os.Getenv("SALESFORCE_USERNAME") != "":
		a = Password{
			ConsumerKey:    need("SALESFORCE_CONSUMER_KEY"),
			ConsumerSecret: need("SALESFORCE_CONSUMER_SECRET"),
			Username:       need("SALESFORCE_USERNAME"),
			Password:       need("SALESFORCE_PASSWORD"),
			SecurityToken:  os.Getenv("SALESFORCE_SECURITY_TOKEN"),
		}
	default:
		return nil, "", envError("no login is configured: set SALESFORCE_ACCESS_TOKEN and SALESFORCE_INSTANCE_URL; " +
			"or SALESFORCE_REFRESH_TOKEN and SALESFORCE_CONSUMER_KEY; " +
			"or SALESFORCE_USERNAME, SALESFORCE_PASSWORD, SALESFORCE_CONSUMER_KEY and SALESFORCE_CONSUMER_SECRET")
	}
	if len(missing) > 0 {
		return nil, "", envError("missing: " + strings.Join(missing, ", "))
	}
	return a, loginURL, nil
}

func loginURLFromEnv() (string, error) {
	custom, sandbox := os.Getenv("SALESFORCE_LOGIN_URL"), false
	if text := os.Getenv("SALESFORCE_SANDBOX"); text != "" {
		var err error
		if sandbox, err = strconv.ParseBool(text); err != nil {
			return "", envError("SALESFORCE_SANDBOX must be true or false")
		}
	}
	switch {
	case custom != "" && sandbox:
		return "", envError("SALESFORCE_LOGIN_URL and SALESFORCE_SANDBOX exclude each other: set one")
	case custom != "":
		return custom, nil
	case sandbox:
		return SandboxURL, nil
	}
	return ProductionURL, nil
}

func envError(description string) *Error {
	return &Error{Flow: "environment", Code: codeConfig, Description: description}
}
