package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// The login flows, as SALESFORCE_LOGIN_FLOW names them.
const (
	flowStatic   = "static"
	flowCLI      = "cli"
	flowRefresh  = "refresh_token"
	flowJWT      = "jwt_bearer"
	flowPassword = "password"
	flowClient   = "client_credentials"
	flowSOAP     = "soap"
	flowSaved    = "saved" // what "sfstream login" has saved: no variable names it
)

// flowVariables are the variables of the flows, without their prefix.
var flowVariables = map[string][]string{
	flowStatic:   {"ACCESS_TOKEN", "INSTANCE_URL", "ORG_ID"},
	flowCLI:      {"ORG"},
	flowRefresh:  {"CONSUMER_KEY", "CONSUMER_SECRET", "REFRESH_TOKEN"},
	flowJWT:      {"CONSUMER_KEY", "USERNAME", "PRIVATE_KEY", "AUDIENCE"},
	flowPassword: {"CONSUMER_KEY", "CONSUMER_SECRET", "USERNAME", "PASSWORD", "SECURITY_TOKEN"},
	flowClient:   {"CONSUMER_KEY", "CONSUMER_SECRET"},
	flowSOAP:     {"USERNAME", "PASSWORD", "SECURITY_TOKEN"},
}

// flowOf names the flow of an authenticator that flags or variables have made.
func flowOf(auth authenticator.Authenticator) string {
	switch auth.(type) {
	case authenticator.Static:
		return flowStatic
	case *authenticator.RefreshToken:
		return flowRefresh
	case authenticator.JWTBearer:
		return flowJWT
	case authenticator.Password:
		return flowPassword
	case authenticator.ClientCredentials:
		return flowClient
	case authenticator.SOAP:
		return flowSOAP
	}
	if len(variablesOf(flowCLI)) > 0 {
		return flowCLI
	}
	return flowSaved
}

// source names the flag or variable that says where to log in, empty if none does.
func (f *accountFlags) source() string {
	switch {
	case f.name != "":
		return "the URL of the saved login " + f.name
	case f.loginURL != "":
		return "-login-url"
	case f.sandbox:
		return "-sandbox"
	}
	for _, name := range []string{"SALESFORCE_LOGIN_URL", "SALESFORCE_LOGIN_URL_FILE", "SALESFORCE_SANDBOX"} {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// checkAccount tells how and where doctor logs in, and finds mistakes in the variables.
func checkAccount(_ context.Context, p *patient) []finding {
	loginURL := cmp.Or(p.account.loginURL, p.guessLoginURL())
	if u, err := url.Parse(loginURL); err == nil && u.Host != "" {
		p.host.url = u
	}
	if p.accountErr != nil {
		what, next := explain(p.accountErr)
		if e, ok := errors.AsType[*authenticator.Error](p.accountErr); ok && e.Flow == "environment" {
			next = `set the variables of one login: "sfstream help doctor" tells them`
		}
		return []finding{found("account", wrong, "%s", what).fix("%s", cmp.Or(next, `"sfstream login -list" tells the saved logins`))}
	}
	p.flow = flowOf(p.account.auth)
	text := fmt.Sprintf("the flow %s at %s", p.flow, loginURL)
	if p.source != "" {
		text += " (" + p.source + ")"
	}
	switch p.flow {
	case flowStatic:
		// There is no login: all goes to the instance.
		p.host.url, p.source = nil, "SALESFORCE_INSTANCE_URL"
		instance := p.account.auth.(authenticator.Static).InstanceURL
		if u, err := url.Parse(instance); err == nil && u.Host != "" {
			p.host.url, text = u, "an access token for "+instance
		}
	case flowCLI:
		p.host.url, text = nil, "a login of the Salesforce CLI"
	case flowSaved:
		text = fmt.Sprintf("%s at %s", cmp.Or(strings.TrimPrefix(p.source, "the URL of "), "the default saved login"), loginURL)
	}
	if variables := variablesOf(p.flow); len(variables) > 0 {
		text += ", from " + strings.Join(variables, ", ")
	}
	cache := authenticator.NewCache(p.account.auth)
	p.account.auth = cache
	options := append(p.account.options(), sfstream.WithHTTPClient(p.world.http), sfstream.WithPubSubDialOptions(p.world.grpc...))
	client, err := sfstream.New(cache, options...)
	if err != nil {
		if strings.Contains(err.Error(), "WithLoginURL") {
			p.host.url = nil
		}
		what, next := explain(err)
		return []finding{found("account", wrong, "%s", what).fix("%s", next)}
	}
	p.client = client
	return []finding{found("account", fine, "%s", text)}
}

// guessLoginURL is where the login would be if the variables were complete.
func (p *patient) guessLoginURL() string {
	if sandbox, _ := strconv.ParseBool(os.Getenv("SALESFORCE_SANDBOX")); sandbox {
		return authenticator.SandboxURL
	}
	return cmp.Or(os.Getenv("SALESFORCE_LOGIN_URL"), authenticator.ProductionURL)
}

// variablesOf names the variables of a flow that are set.
func variablesOf(flow string) (names []string) {
	for _, name := range flowVariables[flow] {
		for _, name := range []string{"SALESFORCE_" + name, "SALESFORCE_" + name + "_FILE"} {
			if os.Getenv(name) != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// loginTime bounds the login, which the library lets take two minutes.
const loginTime = 12 * time.Second

// checkLogin logs in.
func checkLogin(ctx context.Context, p *patient) []finding {
	switch {
	case p.client == nil:
		return []finding{found("login", untried, "the account comes first")}
	case p.host.url != nil && !p.host.ours:
		// The secrets are for Salesforce alone.
		return []finding{found("login", untried, "there is no way to the login")}
	}
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	p.progress.trying("log in")
	err := p.client.Open(ctx)
	if err == nil {
		// The client has just put it there.
		p.creds, err = p.account.auth.(*authenticator.Cache).Get(ctx, authenticator.Login{URL: p.account.loginURL, HTTPClient: p.world.http})
	}
	if err != nil {
		return []finding{p.loginFailed(err)}
	}
	p.secrets = p.secrets.add(p.creds.AccessToken)
	done := "logged in to"
	if p.flow == flowStatic {
		done = "a given access token, of"
	}
	list := []finding{found("login", fine, "%s org %s at %s", done, p.creds.OrgID, p.creds.InstanceURL)}
	if p.host.url != nil {
		return list
	}
	// Only now is it known where the org is.
	if u, err := url.Parse(p.creds.InstanceURL); err == nil && p.askVersions(ctx, u) == nil {
		list = append(list, checkClock(ctx, p)...)
	}
	return list
}

// loginFailed says why there is no login.
func (p *patient) loginFailed(err error) finding {
	e, ok := errors.AsType[*authenticator.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return found("login", wrong, "no answer within %s", loginTime).fix("%s", noAnswer)
	case !ok:
		what, next := explain(err)
		return found("login", wrong, "%s", what).fix("%s", cmp.Or(next, noAnswer))
	}
	what, next := explain(e)
	if e.StatusCode != 0 && !strings.HasSuffix(e.Code, "_reply") { // else the code is not Salesforce's
		what = "Salesforce refuses it: " + what
	}
	return found("login", wrong, "%s", what).fix("%s", cmp.Or(p.loginCure(e), next))
}

const noAnswer = "Salesforce may be in trouble (status.salesforce.com), or the network stops answers: try again"

// loginCure returns what to do about a login that Salesforce refuses, where it knows a place in
// Setup that explain does not name; else nothing.
func (p *patient) loginCure(e *authenticator.Error) string {
	const app = "Setup, External Client App Manager (or App Manager), the app"
	says := func(text string) bool { return strings.Contains(strings.ToLower(e.Code+": "+e.Description), text) }
	switch {
	case says("no client credentials user"):
		return "switch the client credentials flow on and choose its run-as user: " + app + ", Policies, OAuth Policies"
	case says("not supported on this domain"):
		return "this flow works at the org's own host only: set SALESFORCE_LOGIN_URL to its My Domain URL (Setup, My Domain)"
	case says("hasn't approved"), says("invalid_app_access"), says("oauth_approval_error"):
		return "pre-authorise the user: " + app + ", Policies: \"Admin approved users are pre-authorized\", and a profile or permission set that the user has"
	case says("oauth_app_blocked"), says("blocked"):
		return "install or unblock the app: Setup, Connected Apps OAuth Usage"
	case says("expired authorization code"), says("assertion"), says("audience"):
		if p.host.skew.Abs() >= skewNoticed {
			return "set this computer's clock: a signed login is good for minutes only"
		}
		return "the app must have the certificate of SALESFORCE_PRIVATE_KEY (" + app + ", Settings, Use digital signatures), and SALESFORCE_LOGIN_URL must be the org's; " +
			"SALESFORCE_AUDIENCE sets another audience"
	case says("expired access/refresh token"):
		return "the refresh token was revoked, has expired, or was rotated: log in again with \"sfstream login\", or set a new SALESFORCE_REFRESH_TOKEN"
	case says("invalid_client"), says("client identifier"):
		if p.flow == flowJWT {
			return "check SALESFORCE_CONSUMER_KEY: " + app + ", Settings, OAuth Settings, Consumer Key; a new app takes ten minutes"
		}
		return "check SALESFORCE_CONSUMER_KEY and SALESFORCE_CONSUMER_SECRET: " + app + ", Settings, OAuth Settings, Consumer Key and Secret; a new app takes ten minutes"
	case p.flow == flowPassword && says("authentication failure"):
		return "either SALESFORCE_USERNAME, SALESFORCE_PASSWORD or SALESFORCE_SECURITY_TOKEN is wrong (a sandbox's user logs in with -sandbox), or the org does not allow " +
			"this flow (Setup, OAuth and OpenID Connect Settings): Salesforce says the same of both, and Setup, Login History knows more. Better use client_credentials or jwt_bearer"
	case says("unsupported_grant_type"), says("invalid_scope"):
		return "switch this flow and its scopes (api, and refresh_token for a refresh token) on: " + app + ", Settings, OAuth Settings"
	case says("no_answer"), says("_reply"), says("server_error"), says("unavailable"), says("unknown_error"):
		return noAnswer
	}
	return ""
}

// checkPubSubLogin looks whether the Pub/Sub API takes the login. What it says of the channel does
// not matter here.
func checkPubSubLogin(ctx context.Context, p *patient) []finding {
	switch {
	case p.creds == nil:
		return nil
	case !p.bus.reached:
		return []finding{found("login", untried, "of the Pub/Sub API: gRPC does not get through")}
	}
	p.progress.trying("use the login at the Pub/Sub API")
	_, err := p.topic(ctx, everyChange)
	switch status.Code(err) {
	case codes.Unauthenticated, codes.InvalidArgument: // the latter is about headers: the request is right
	case codes.OK, codes.NotFound, codes.PermissionDenied, codes.ResourceExhausted:
		return []finding{found("login", fine, "the Pub/Sub API takes it")}
	default:
		return []finding{found("login", warning, "whether the Pub/Sub API takes it does not show: %s", saidBy(err)).
			fix("Salesforce may be in trouble (status.salesforce.com): try again")}
	}
	p.bus.refused = true
	if isJWT(p.creds.AccessToken) {
		return []finding{found("login", wrong, "the Pub/Sub API does not take it: the access token is a JWT, which Salesforce takes for REST only").
			fix("switch JWT-based access tokens off: Setup, External Client App Manager, the app, Settings, OAuth Settings, \"Issue JSON Web Token (JWT)-based access tokens for named users\"")}
	}
	fix := "sessions must not be locked to an IP address: Setup, Session Settings"
	if p.flow == flowStatic {
		fix = "SALESFORCE_ACCESS_TOKEN may have expired: get a new one; SALESFORCE_INSTANCE_URL and SALESFORCE_ORG_ID must be the token's own"
	}
	return []finding{found("login", wrong, "the Pub/Sub API does not take it: %s", saidBy(err)).fix("%s", fix)}
}

// saidBy is the text of a failed call, without the id that Salesforce adds.
func saidBy(err error) string {
	message, _, _ := strings.Cut(status.Convert(err).Message(), " rpcId: ")
	return dialed.ReplaceAllString(message, "$1")
}

// isJWT reports whether an access token has the form of a JWT.
func isJWT(token string) bool { return strings.Count(token, ".") == 2 && !strings.Contains(token, "!") }

// topic asks the Pub/Sub API about a channel.
func (p *patient) topic(ctx context.Context, channel string) (*eventbus.TopicInfo, error) {
	bus := schemaClient{eventbus.Client{Conn: p.bus.conn}, p.creds}
	ctx, cancel := bus.outgoing(ctx)
	defer cancel()
	return bus.bus.GetTopic(ctx, &eventbus.TopicRequest{TopicName: channel})
}
