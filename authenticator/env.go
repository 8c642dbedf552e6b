package authenticator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FromEnv makes an [Authenticator] from environment variables and tells where it logs in. The flow
// is the one whose variables are set:
//
//	static              SALESFORCE_ACCESS_TOKEN, SALESFORCE_INSTANCE_URL; optional SALESFORCE_ORG_ID
//	cli                 SALESFORCE_ORG: an alias or username of which the Salesforce CLI (sf) has a login. It is asked
//	                    anew at each login
//	refresh_token       SALESFORCE_REFRESH_TOKEN, SALESFORCE_CONSUMER_KEY; optional SALESFORCE_CONSUMER_SECRET
//	jwt_bearer          SALESFORCE_PRIVATE_KEY (PEM), SALESFORCE_CONSUMER_KEY, SALESFORCE_USERNAME; optional
//	                    SALESFORCE_AUDIENCE
//	password            SALESFORCE_USERNAME, SALESFORCE_PASSWORD, SALESFORCE_CONSUMER_KEY,
//	                    SALESFORCE_CONSUMER_SECRET; optional SALESFORCE_SECURITY_TOKEN
//	client_credentials  SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET; it logs in at SALESFORCE_LOGIN_URL, the
//	                    org's My Domain URL
//	soap                SALESFORCE_USERNAME, SALESFORCE_PASSWORD; optional SALESFORCE_SECURITY_TOKEN. Only where
//	                    SALESFORCE_LOGIN_FLOW says so
//
// If another flow needs all variables of a flow too, the other one is meant: with a username and a
// password, key and secret are those of the password flow. Key and secret are client credentials
// only if no variable says that another flow is meant: a username or a private key beside them is
// not ignored. Two complete flows beside each other are an error, unless SALESFORCE_LOGIN_FLOW
// names one of the above. If no flow is complete, the error names the missing variables of the
// first flow in this order of which one is set.
//
// Each variable may also be given as a file, under its name with _FILE, as
// SALESFORCE_PRIVATE_KEY_FILE: a mounted secret, which FromEnv reads once. FromEnv cuts one newline
// at the end of SALESFORCE_PASSWORD_FILE, and surrounding white space of all other variables and
// files. Files must be UTF-8, with or without a byte order mark. Empty variables count as not set.
// A private key may have \n for its line breaks.
//
// loginURL is SALESFORCE_LOGIN_URL, or [SandboxURL] if SALESFORCE_SANDBOX is true (as
// [strconv.ParseBool] reads it), or [ProductionURL]; the first two exclude each other.
//
// If no variable is set whose name begins with SALESFORCE_, FromEnv takes the default login that
// "sfstream login" has saved on this computer for this user, if there is one (see [Saved]), and
// says so at level Info to [slog.Default]. Any such variable, misspelt ones too, keeps it from
// that, but for SALESFORCE_PUBSUB_ENDPOINT, which says nothing about the login. In a container or a
// service there is such a login only if somebody has put its file there.
//
// The [*RefreshToken] has no OnRotate: if the app rotates refresh tokens, the one in the
// environment is dead after the first login. Set OnRotate before use, and start from what it saved.
//
// Errors are [*Error] and name every variable that is missing.
func FromEnv() (a Authenticator, loginURL string, err error) {
	if !salesforceSet() {
		a, loginURL, err = fromSaved()
		if !errors.Is(err, fs.ErrNotExist) {
			return a, loginURL, err
		}
	}
	env, err := readEnv()
	if err != nil {
		return nil, "", err
	}
	loginURL, err = env.loginURL()
	if err != nil {
		return nil, "", err
	}
	flow, err := env.flow()
	if err != nil {
		return nil, "", err
	}
	return flow.make(env), loginURL, nil
}

// salesforceSet reports whether a variable is set that may be about a login.
func salesforceSet() bool {
	return slices.ContainsFunc(os.Environ(), func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(strings.ToUpper(name), "SALESFORCE_") && value != "" && name != "SALESFORCE_PUBSUB_ENDPOINT"
	})
}

// fromSaved returns the default saved login. If there is none, its error is fs.ErrNotExist.
func fromSaved() (Authenticator, string, error) {
	if _, err := os.UserConfigDir(); err != nil { // as where HOME is not set
		return nil, "", fs.ErrNotExist
	}
	s, r, err := openLogin("")
	if err != nil {
		if e, ok := err.(*Error); ok {
			e.Description = "no variable SALESFORCE_… is set, and " + e.Description
		}
		return nil, "", err
	}
	slog.Default().Info("no variable SALESFORCE_… is set: using the saved login", "name", s.name, "username", r.Username,
		"url", r.LoginURL, "file", s.dir.file(s.name))
	return s, r.LoginURL, nil
}

// environment has the variables that are set, by their names without the prefix SALESFORCE_.
type environment map[string]string

var envVariables = []string{"LOGIN_FLOW", "LOGIN_URL", "SANDBOX", "ACCESS_TOKEN", "INSTANCE_URL", "ORG_ID", "ORG", "REFRESH_TOKEN",
	"CONSUMER_KEY", "CONSUMER_SECRET", "PRIVATE_KEY", "AUDIENCE", "USERNAME", "PASSWORD", "SECURITY_TOKEN"}

// envFlow is a login flow and its variables, named without the prefix SALESFORCE_.
type envFlow struct {
	name     string
	needs    []string // the flow is complete if all of them are set
	optional []string // variables that may be set beside them and do not mean another flow
	begun    []string // if one of them is set this flow is meant, and what is missing of needs is an error
	make     func(environment) Authenticator
}

// envFlows are all flows. If none is complete, the error names the missing variables of the first
// one in this order that has begun.
var envFlows = []envFlow{
	{
		name: "static", needs: []string{"ACCESS_TOKEN", "INSTANCE_URL"}, optional: []string{"ORG_ID"}, begun: []string{"ACCESS_TOKEN"},
		make: func(e environment) Authenticator {
			return Static{AccessToken: e["ACCESS_TOKEN"], InstanceURL: e["INSTANCE_URL"], OrgID: e["ORG_ID"]}
		},
	}, {
		name: "cli", needs: []string{"ORG"}, begun: []string{"ORG"},
		make: func(e environment) Authenticator { return cli{org: e["ORG"]} },
	}, {
		name: "refresh_token", needs: []string{"REFRESH_TOKEN", "CONSUMER_KEY"}, optional: []string{"CONSUMER_SECRET"}, begun: []string{"REFRESH_TOKEN"},
		make: func(e environment) Authenticator {
			return &RefreshToken{ConsumerKey: e["CONSUMER_KEY"], ConsumerSecret: e["CONSUMER_SECRET"], RefreshToken: e["REFRESH_TOKEN"]}
		},
	}, {
		// The consumer secret may be set though this flow sends none: every app has one, and people
		// copy both.
		name: "jwt_bearer", needs: []string{"PRIVATE_KEY", "CONSUMER_KEY", "USERNAME"}, optional: []string{"AUDIENCE", "CONSUMER_SECRET"}, begun: []string{"PRIVATE_KEY"},
		make: func(e environment) Authenticator {
			return JWTBearer{ConsumerKey: e["CONSUMER_KEY"], Username: e["USERNAME"], PrivateKey: []byte(e["PRIVATE_KEY"]), Audience: e["AUDIENCE"]}
		},
	}, {
		name: "password", needs: []string{"CONSUMER_KEY", "CONSUMER_SECRET", "PASSWORD", "USERNAME"}, optional: []string{"SECURITY_TOKEN"}, begun: []string{"USERNAME", "PASSWORD"},
		make: func(e environment) Authenticator {
			return Password{ConsumerKey: e["CONSUMER_KEY"], ConsumerSecret: e["CONSUMER_SECRET"],
				Username: e["USERNAME"], Password: e["PASSWORD"], SecurityToken: e["SECURITY_TOKEN"]}
		},
	}, {
		name: "client_credentials", needs: []string{"CONSUMER_KEY", "CONSUMER_SECRET"}, begun: []string{"CONSUMER_KEY", "CONSUMER_SECRET"},
		make: func(e environment) Authenticator {
			return ClientCredentials{ConsumerKey: e["CONSUMER_KEY"], ConsumerSecret: e["CONSUMER_SECRET"]}
		},
	}, {
		// SOAP has no begun, so that only SALESFORCE_LOGIN_FLOW chooses it: a username and a
		// password alone are a password flow whose app was forgotten.
		name: "soap", needs: []string{"PASSWORD", "USERNAME"}, optional: []string{"SECURITY_TOKEN"},
		make: func(e environment) Authenticator {
			return SOAP{Username: e["USERNAME"], Password: e["PASSWORD"], SecurityToken: e["SECURITY_TOKEN"]}
		},
	},
}

// flow returns the flow that the variables mean: the one that LOGIN_FLOW names, or the only
// complete one.
func (e environment) flow() (*envFlow, error) {
	if name := e["LOGIN_FLOW"]; name != "" {
		var names []string
		for i, f := range envFlows {
			if f.name == name {
				return &envFlows[i], e.missing(&f)
			}
			names = append(names, f.name)
		}
		return nil, envError("SALESFORCE_LOGIN_FLOW must be one of %s", strings.Join(names, ", "))
	}
	var complete []*envFlow
	for i, f := range envFlows {
		if f.begun != nil && len(e.lacks(&f)) == 0 {
			complete = append(complete, &envFlows[i])
		}
	}
	rivals := slices.DeleteFunc(slices.Clone(complete), func(f *envFlow) bool {
		return slices.ContainsFunc(complete, func(other *envFlow) bool { return other != f && other.uses(f) })
	})
	switch len(rivals) {
	case 0:
	case 1:
		// The app of any flow has a key and a secret. They are client credentials only if no
		// variable says that another flow is meant: otherwise the login would be that of the app's
		// run-as user, and not of the user that was named.
		if rivals[0].name != "client_credentials" {
			return rivals[0], nil
		}
	default:
		first, second := rivals[0], rivals[1]
		return nil, envError("two logins are configured: %s, by SALESFORCE_%s, comes first, but %s, by SALESFORCE_%s, is complete too: "+
			"unset the variables of one, or set SALESFORCE_LOGIN_FLOW to %s or %s",
			first.name, first.reason(), second.name, second.reason(), first.name, second.name)
	}
	for i, f := range envFlows {
		if slices.ContainsFunc(f.begun, func(name string) bool { return e[name] != "" }) {
			return &envFlows[i], e.missing(&f)
		}
	}
	return nil, envError("no login is configured: set SALESFORCE_ACCESS_TOKEN and SALESFORCE_INSTANCE_URL; " +
		"or SALESFORCE_REFRESH_TOKEN and SALESFORCE_CONSUMER_KEY; " +
		"or SALESFORCE_PRIVATE_KEY, SALESFORCE_CONSUMER_KEY and SALESFORCE_USERNAME; " +
		"or SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET and SALESFORCE_LOGIN_URL (My Domain); " +
		"or SALESFORCE_ORG, an org that the Salesforce CLI is logged in to; each also as a file, under its name with _FILE; " +
		"or save a login by sfstream login, which is used where no SALESFORCE_ variable is set")
}

// uses reports whether the flow f uses all variables that the flow other needs. Then other is
// complete whenever f is, without being meant.
func (f *envFlow) uses(other *envFlow) bool {
	return !slices.ContainsFunc(other.needs, func(name string) bool {
		return !slices.Contains(f.needs, name) && !slices.Contains(f.optional, name)
	})
}

// reason returns the variable that says that this flow is meant.
func (f *envFlow) reason() string { return f.begun[len(f.begun)-1] }

func (e environment) lacks(f *envFlow) (names []string) {
	for _, name := range f.needs {
		if e[name] == "" {
			names = append(names, "SALESFORCE_"+name)
		}
	}
	return names
}

// missing returns the error that names the variables which the flow f lacks, nil if it lacks none.
func (e environment) missing(f *envFlow) error {
	lacks := e.lacks(f)
	if len(lacks) == 0 {
		return nil
	}
	why := ""
	switch {
	case e["LOGIN_FLOW"] != "":
		why = ", which SALESFORCE_LOGIN_FLOW names"
	case f.name == "password":
		why = " (the flow jwt_bearer needs SALESFORCE_PRIVATE_KEY, SALESFORCE_CONSUMER_KEY and SALESFORCE_USERNAME; " +
			"for the flow soap set SALESFORCE_LOGIN_FLOW)"
	}
	if e["LOGIN_FLOW"] == "" && e["CONSUMER_KEY"] != "" && e["CONSUMER_SECRET"] != "" {
		why += "; for the flow client_credentials unset what is of another, or set SALESFORCE_LOGIN_FLOW"
	}
	return envError("missing: %s for the flow %s%s", strings.Join(lacks, ", "), f.name, why)
}

func (e environment) loginURL() (string, error) {
	custom, sandbox := e["LOGIN_URL"], false
	if text := e["SANDBOX"]; text != "" {
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

func readEnv() (environment, error) {
	e := environment{}
	for _, name := range envVariables {
		value, err := readVariable(name)
		if err != nil {
			return nil, err
		}
		if name == "PRIVATE_KEY" && !strings.Contains(value, "\n") {
			value = strings.ReplaceAll(value, `\n`, "\n") // many tools have no other way to write it in one line
		}
		if value != "" {
			e[name] = value
		}
	}
	return e, nil
}

// readVariable returns the value of a variable, or the text of the file that name_FILE names.
func readVariable(name string) (string, error) {
	name = "SALESFORCE_" + name
	value, path := os.Getenv(name), os.Getenv(name+"_FILE")
	password := name == "SALESFORCE_PASSWORD" // a password may begin or end in a space
	if !password {
		value = strings.TrimSpace(value)
	}
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", envError("%s and %s_FILE are both set: set one", name, name)
	}
	text, err := readFile(path)
	if err != nil {
		// The error holds the cause without its path: that may be a secret which was put into the
		// variable by mistake.
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		failed := envError("%s_FILE: the file cannot be read", name)
		failed.err = err
		return "", failed
	}
	if !utf8.ValidString(text) {
		return "", envError("%s_FILE: the file is not text in UTF-8", name)
	}
	text = strings.TrimPrefix(text, byteOrderMark)
	if password {
		value = strings.TrimSuffix(text, "\n")
		if value != text {
			value = strings.TrimSuffix(value, "\r")
		}
	} else {
		value = strings.TrimSpace(text)
	}
	if value == "" {
		return "", envError("%s_FILE: the file is empty", name)
	}
	return value, nil
}

// byteOrderMark is what editors and shells of Windows write at the beginning of a text.
// strings.TrimSpace does not cut it.
const byteOrderMark = "\ufeff"

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, replyLimit))
	return string(text), err
}

func envError(format string, args ...any) *Error {
	return &Error{Flow: "environment", Code: codeConfig, Description: fmt.Sprintf(format, args...)}
}
