package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// This file says errors in the words of the command line: flags and variables in place of options
// and fields, and each thing once.

// sentence returns what happened and the next step as one line.
func sentence(err error) string {
	what, next := explain(err)
	if next == "" {
		return what
	}
	return what + "; " + next
}

// explain returns what happened, and the next step where one is known, each as one line.
func explain(err error) (what, next string) {
	what, next = explained(err)
	return oneline.Text(what), oneline.Text(next)
}

func explained(err error) (what, next string) {
	switch e := err.(type) {
	case *sfstream.ReplayError:
		return idRefused(e)
	case *sfstream.ServerError:
		return answered(e)
	case *sfstream.AuthError:
		what, next = explained(e.Unwrap())
		return concerning(e.Channel, fmt.Sprintf("login at %s: %s", e.LoginURL, what)), next
	case *authenticator.Error:
		return loginRefused(e)
	case *sfstream.StoreError:
		what, next = explained(e.Unwrap())
		return concerning(e.Channel, fmt.Sprintf("cannot %s the replay marker: %s", e.Op, what)),
			cmp.Or(next, "check the file that -replay names, its permissions and the disk")
	case *sfstream.TimeoutError:
		what, next = explained(e.Unwrap())
		return concerning(e.Channel, fmt.Sprintf("disconnected for %s: %s", e.Down.Round(time.Second), strings.TrimPrefix(what, e.Channel+": "))), next
	case *sfstream.EncodeError:
		what, next = explained(e.Unwrap())
		if e.Field != "" {
			what = e.Field + ": " + what
		}
		return concerning(e.Channel, what), next
	case *sfstream.DecodeError:
		return concerning(e.Channel, unreadable(e)), "-o json prints the bytes of the event"
	}
	switch {
	case err == nil:
		return "no reason given", ""
	case err == context.DeadlineExceeded:
		return "it took too long", ""
	case err == context.Canceled:
		return "it was interrupted", ""
	case errors.Is(err, sfstream.ErrInvalidOption):
		return invalid(err)
	case errors.Is(err, sfstream.ErrAlreadySubscribed):
		return strings.TrimPrefix(err.Error(), "sfstream: "), "name each channel once"
	case errors.Is(err, replaystore.ErrLocked):
		return strings.TrimPrefix(err.Error(), "replaystore: "), "end the other program, or name another file by -replay"
	case errors.Is(err, replaystore.ErrNotAReplayFile):
		return strings.TrimPrefix(err.Error(), "replaystore: "), "name another file by -replay"
	}
	return wrapped(err)
}

// wrapped explains an error that is none of a type that is known here, and within its text those
// that it wraps.
func wrapped(err error) (what, next string) {
	var parts []error
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		parts = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		parts = e.Unwrap()
	}
	rest := err.Error()
	var steps []string
	for _, part := range parts {
		if part == nil {
			continue
		}
		before, after, found := strings.Cut(rest, part.Error())
		if !found {
			continue // it is only there to be found by errors.Is
		}
		said, step := explained(part)
		what += ours(before)
		what += withoutChannel(said, what)
		rest = after
		if step != "" && !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	return what + ours(rest), strings.Join(steps, "; ")
}

// ours says a text of the library's packages in words of the command line.
func ours(text string) string {
	return inWords.Replace(strings.TrimPrefix(strings.TrimPrefix(text, "sfstream: "), "replaystore: "))
}

// withoutChannel cuts the channel from the beginning of a part of a text that begins with it, too.
func withoutChannel(part, text string) string {
	channel, rest, found := strings.Cut(part, ": ")
	if found && strings.HasPrefix(channel, "/") && strings.HasPrefix(text, channel+": ") {
		return rest
	}
	return part
}

// concerning puts what an error is about before its text.
func concerning(what, text string) string {
	if what == "" {
		return text
	}
	return what + ": " + text
}

func idRefused(e *sfstream.ReplayError) (what, next string) {
	at := ""
	if !e.Marker.Date.IsZero() {
		at = " of " + e.Marker.Date.Local().Format(time.DateTime)
	}
	said := ""
	if server, ok := errors.AsType[*sfstream.ServerError](e); ok {
		said = ": " + answer(server)
	}
	return fmt.Sprintf("%s: Salesforce does not know the replay id %s%s: it is too old, or not of this org and channel: events may have been missed%s",
			e.Channel, replayid.Text(e.Marker.ReplayID), at, said),
		"-fallback all goes on with the oldest event that is retained, -fallback new with new events; -from with -rewind starts elsewhere"
}

func answered(e *sfstream.ServerError) (what, next string) {
	if e.API == "rest" { // the error alone knows of which request it tells
		what = strings.TrimSuffix(strings.TrimPrefix(e.Error(), "sfstream: "), ": "+e.Remedy())
		return what, cmp.Or(inWords.Replace(e.Remedy()), "try again later")
	}
	where := e.Channel
	if where == "" {
		where = map[string]string{"pubsub": "Pub/Sub API", "cometd": "Streaming API"}[e.API]
	}
	next = inWords.Replace(e.Remedy())
	if next == "" && e.RPCID != "" {
		next = "if it lasts, Salesforce's support asks for the rpc id"
	}
	return concerning(where, e.Code.String()+": "+answer(e)), cmp.Or(next, "try again later; if it lasts, -v logs more")
}

// dialed is how gRPC words that there is no connection.
var dialed = regexp.MustCompile(`^connection error: desc = "(?:transport: )?(.*)"$`)

// answer is what a server said, with its reason and the id of the call.
func answer(e *sfstream.ServerError) string {
	said := dialed.ReplaceAllString(e.Message, "$1")
	if said == "name resolver error: produced zero addresses" { // so gRPC words it
		said = "no such host (DNS)"
	}
	if said == "" {
		said, _ = explained(e.Unwrap())
	}
	var ids []string
	if e.Reason != "" && !strings.Contains(said, e.Reason) {
		ids = append(ids, "reason "+e.Reason)
	}
	if e.RPCID != "" {
		ids = append(ids, "rpc id "+e.RPCID)
	}
	if len(ids) == 0 {
		return said
	}
	return said + " (" + strings.Join(ids, ", ") + ")"
}

// requestURL is the beginning of an error of net/http. The place of a login is told without it.
var requestURL = regexp.MustCompile(`^(Get|Post) "[^"]*": `)

func loginRefused(e *authenticator.Error) (what, next string) {
	ours := strings.Contains(e.Code, "_") && slices.Contains(loginCodes, e.Code)
	said := e.Description
	switch {
	case ours:
		said = fieldName.ReplaceAllStringFunc(inWords.Replace(said), func(field string) string { return variables[field] })
	case said == "":
		said = e.Code
	case e.Code != "":
		said = e.Code + ": " + said
	}
	if e.Flow == "environment" {
		return said, `"sfstream help tail" lists the variables`
	}
	if cause := e.Unwrap(); cause != nil {
		text, _ := explained(cause)
		said += ": " + requestURL.ReplaceAllString(text, "")
	}
	var of []string
	if e.Flow != "" {
		of = append(of, "flow "+e.Flow)
	}
	if e.StatusCode != 0 {
		of = append(of, fmt.Sprintf("HTTP %d", e.StatusCode))
	}
	if len(of) > 0 {
		said += " (" + strings.Join(of, ", ") + ")"
	}
	return cmp.Or(said, "refused"), cmp.Or(inWords.Replace(e.Remedy()), loginSteps[e.Code], "the user's login history in Setup tells more")
}

// loginCodes are the codes with which package authenticator describes what no server has named.
// Their descriptions say it all.
var loginCodes = []string{"invalid_config", "no_answer", "redirected", "html_reply", "empty_reply", "malformed_reply",
	"incomplete_reply", "on_rotate", "signer_failed", "password_expired", "cli_failed", "saved_login_failed", "wrong_state", "invalid_name"}

// loginSteps are the next steps where package authenticator knows none that is in Go's words.
var loginSteps = map[string]string{
	"invalid_config":   `"sfstream help tail" lists the variables`,
	"no_answer":        "check the network, the proxy (HTTPS_PROXY), and -login-url or SALESFORCE_LOGIN_URL",
	"malformed_reply":  "check -login-url or SALESFORCE_LOGIN_URL: what answers there is not Salesforce, or a proxy",
	"incomplete_reply": "check -login-url or SALESFORCE_LOGIN_URL: what answers there is not Salesforce, or a proxy",
	"on_rotate":        "the new refresh token must be kept, or the next login fails: free its file and disk, and try again",
	"invalid_name":     "choose another name for the login",
	"wrong_state":      `begin "sfstream login" again`,
	"cli_failed":       `"sf org display" tells whether the Salesforce CLI has a login`,
}

// variables are the fields of logins that errors name, as the command line knows them.
var variables = map[string]string{
	"ConsumerKey": "SALESFORCE_CONSUMER_KEY", "ConsumerSecret": "SALESFORCE_CONSUMER_SECRET", "Username": "SALESFORCE_USERNAME",
	"Password": "SALESFORCE_PASSWORD", "SecurityToken": "SALESFORCE_SECURITY_TOKEN", "RefreshToken": "SALESFORCE_REFRESH_TOKEN",
	"PrivateKey": "SALESFORCE_PRIVATE_KEY", "Audience": "SALESFORCE_AUDIENCE", "AccessToken": "SALESFORCE_ACCESS_TOKEN",
	"InstanceURL": "SALESFORCE_INSTANCE_URL", "OrgID": "SALESFORCE_ORG_ID",
}

var fieldName = regexp.MustCompile(`\b(ConsumerKey|ConsumerSecret|Username|Password|SecurityToken|RefreshToken|PrivateKey|Audience|AccessToken|InstanceURL|OrgID)\b`)

// inWords replaces what the library says to programs in its own texts. It is for next steps, and
// for texts in which no server had a part.
var inWords = strings.NewReplacer(
	// Package sfstream.
	"authenticator.Static cannot log in: set its InstanceURL to", "a given access token cannot follow it: set SALESFORCE_INSTANCE_URL to",
	"choose WithReplayFallback, or start elsewhere with From", "-fallback all or new goes on elsewhere, and so does -from with -rewind",
	"Salesforce splits responses at 3 MB, and the client takes 16 MB unless WithPubSubDialOptions sets another limit",
	"Salesforce splits responses at 3 MB, and 16 MB are taken: please report it",
	"check the endpoint (WithPubSubEndpoint) and that the network lets gRPC through to it",
	"check SALESFORCE_PUBSUB_ENDPOINT and that the network lets gRPC through to it; tail -cometd does without",
	"WithPubSubEndpoint", "SALESFORCE_PUBSUB_ENDPOINT", "EndpointGlobal (", "the global one (", "EndpointEU", sfstream.EndpointEU,
	"WithLoginURL", "SALESFORCE_LOGIN_URL", "; make a new client", "; start the command again", "see WithReplayStore", "see -replay",
	"the authenticator's credentials lack", "the login gave no",
	// Package authenticator.
	"check the login URL: it should be the org's My Domain URL, ProductionURL, or SandboxURL for a sandbox",
	"check -login-url or SALESFORCE_LOGIN_URL: it should be the org's My Domain URL, https://login.salesforce.com, or https://test.salesforce.com for a sandbox",
	"share one Cache instead of logging in often", "log in less often",
	"choose JWTBearer or ClientCredentials", "choose the flow jwt_bearer or client_credentials",
	"choose an APIVersion from 31.0 to 64.0, or log in by JWTBearer or ClientCredentials", "log in by the flow jwt_bearer or client_credentials",
	"log in by JWTBearer or ClientCredentials", "log in by the flow jwt_bearer or client_credentials",
	"check consumer key and private key", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_PRIVATE_KEY",
	"check consumer key and consumer secret", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_CONSUMER_SECRET",
	"check consumer key and username", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_USERNAME",
	"check the consumer key and the login URL", "check SALESFORCE_CONSUMER_KEY and the login URL (-login-url, SALESFORCE_LOGIN_URL)",
	"check username, password and security token", "check SALESFORCE_USERNAME, SALESFORCE_PASSWORD and SALESFORCE_SECURITY_TOKEN",
	"logs in at SandboxURL", "logs in with -sandbox",
	"set SecurityToken", "set SALESFORCE_SECURITY_TOKEN",
	"check audience, consumer key", "check SALESFORCE_AUDIENCE, SALESFORCE_CONSUMER_KEY",
	"JWTBearer.Audience sets", "SALESFORCE_AUDIENCE sets",
	"authorise the app again and use the new refresh token", `"sfstream login" authorises the app again, or set SALESFORCE_REFRESH_TOKEN to a new one`,
	"log in at the org's My Domain URL, such as", "log in at the org's My Domain URL, such as", // which goes on with where that is said
	"log in at the org's My Domain URL", "log in at the org's My Domain URL (-login-url, SALESFORCE_LOGIN_URL)",
	"(WithLoginURL, SALESFORCE_LOGIN_URL)", "(-login-url, SALESFORCE_LOGIN_URL)",
	"the HTTP client of the login must trust its certificate", "this computer must trust its certificate (SSL_CERT_FILE)",
	"with OrgID set, userinfo is not asked", "with SALESFORCE_ORG_ID set, the org need not be asked",
	" (or Signer)", "",
)

// invalid explains an address or a channel that cannot be right.
func invalid(err error) (what, next string) {
	text := strings.TrimPrefix(err.Error(), "sfstream: invalid option: ")
	switch {
	case strings.HasPrefix(text, "WithPubSubEndpoint: "), strings.HasPrefix(text, "endpoint "):
		return inWords.Replace(text), "unset SALESFORCE_PUBSUB_ENDPOINT, or set it to host:port"
	case strings.HasPrefix(text, "WithLoginURL: "):
		return inWords.Replace(text), "set SALESFORCE_LOGIN_URL or -login-url to such an URL"
	}
	if what, want, found := strings.Cut(text, ": want "); found {
		return what, "want " + want
	}
	return inWords.Replace(text), "if nothing on the command line explains it, please report it"
}

func unreadable(e *sfstream.DecodeError) string {
	of := ""
	if e.SchemaID != "" {
		of = ", schema " + e.SchemaID
	}
	if e.Field != "" {
		of += ", field " + e.Field
	}
	cause, _ := explained(e.Unwrap())
	return fmt.Sprintf("the event of replay id %s%s cannot be read: %s", replayid.Text(e.ReplayID), of, cause)
}
