package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// orgState is what is known of the org.
type orgState struct {
	username  string // of the user who is logged in; empty: not known
	standard  bool   // standard-volume platform events were delivered
	exhausted bool   // a quota is used up
	noREST    string // why REST answers nothing, empty where it does
}

// orgFacts are the facts of the finding about the org.
type orgFacts struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Edition  string `json:"edition"`
	Instance string `json:"instance"`
	URL      string `json:"url"`
	Sandbox  bool   `json:"sandbox"`
	Username string `json:"username"`
}

// checkOrg tells which org, user and API version it is.
func checkOrg(ctx context.Context, p *patient) []finding {
	if p.creds == nil {
		return []finding{found("org", untried, "there is no login")}
	}
	p.progress.trying("ask the org by REST at %s", p.creds.InstanceURL)
	facts := orgFacts{ID: p.creds.OrgID, URL: p.creds.InstanceURL}
	var org struct {
		Records []struct {
			Name, InstanceName, OrganizationType string
			IsSandbox                            bool
		}
	}
	err := p.query(ctx, "SELECT Id, Name, IsSandbox, InstanceName, OrganizationType FROM Organization", &org)
	if err != nil {
		return []finding{p.restFailed("org", "the org by REST", err)}
	}
	kind := "an org"
	if len(org.Records) > 0 {
		record := org.Records[0]
		facts.Name, facts.Edition, facts.Instance, facts.Sandbox = record.Name, record.OrganizationType, record.InstanceName, record.IsSandbox
		if kind = "not a sandbox"; record.IsSandbox {
			kind = "a sandbox"
		}
	}
	var user struct {
		Username string `json:"preferred_username"`
	}
	// The user's name is for information only: an app without the scope for it may not ask.
	if p.get(ctx, "/services/oauth2/userinfo", &user) == nil {
		p.org.username, facts.Username = user.Username, user.Username
	}
	list := []finding{found("org", fine, "%s (%s), %s, %s, instance %s at %s; the user is %s", cmp.Or(facts.Name, "without a name"), facts.ID, kind,
		cmp.Or(facts.Edition, "edition not known"), cmp.Or(facts.Instance, "not known"), facts.URL, cmp.Or(facts.Username, "not known")).with(facts)}
	return append(list, p.checkVersion(ctx)...)
}

// lastRetiring is the newest API version that Salesforce retires in Summer '28.
const lastRetiring = 40

// checkVersion tells the newest API version of the org, which is what sfstream uses.
func (p *patient) checkVersion(ctx context.Context) []finding {
	var versions []struct{ Label, Version string }
	if err := p.get(ctx, "/services/data/", &versions); err != nil {
		return []finding{p.restFailed("org", "the API versions", err)}
	}
	newest, label, number := "", "", 0.0
	for _, v := range versions {
		if n, err := strconv.ParseFloat(v.Version, 64); err == nil && n > number {
			newest, label, number = v.Version, v.Label, n
		}
	}
	facts := map[string]string{"newestApiVersion": newest, "apiVersion": newest}
	if number <= lastRetiring {
		return []finding{found("org", warning, "the newest API version is %s, which Salesforce retires in Summer '28", cmp.Or(newest, "not known")).
			fix("what answers here is no present org: check where the login leads").with(facts)}
	}
	return []finding{found("org", fine, "API version %s (%s), the org's newest, is what sfstream uses for REST and the Streaming API; the Pub/Sub API has none", newest, label).with(facts)}
}

// quota is an allocation of the org that /limits tells.
type quota struct {
	name   string
	what   string        // what is counted
	window time.Duration // over which; 0: what there is at the moment
	fix    string
}

const month = 30 * 24 * time.Hour

// quotas are those that events and their clients use. Salesforce counts what it calls daily over
// the last 24 hours: nothing is reset at midnight. The monthly entitlement begins anew on a day of
// the contract that /limits does not tell.
var quotas = []quota{
	{"DailyDeliveredPlatformEvents", "events delivered", 24 * time.Hour,
		"nothing is delivered until less was delivered in the last 24 hours; events can be replayed for 72 hours. Every subscriber of an event counts: end those that nobody " +
			"needs, filter channels, or buy the add-on (Setup, Company Information, Usage-based Entitlements)"},
	{"MonthlyPlatformEventsUsageEntitlement", "events delivered", month,
		"Salesforce tolerates a certain amount above what was bought: buy more, or end subscribers that nobody needs (Setup, Company Information, Usage-based Entitlements)"},
	{"HourlyPublishedPlatformEvents", "platform events published", time.Hour, "publishing fails until the hour is over: publish less, or buy the add-on"},
	{"DailyDurableStreamingApiEvents", "PushTopic events delivered", 24 * time.Hour, "use change events in place of PushTopics, which share a larger allocation"},
	{"DailyDurableGenericStreamingApiEvents", "generic events delivered", 24 * time.Hour, "use platform events in place of generic ones"},
	{"DurableStreamingApiConcurrentClients", "clients of the Streaming API", 0, "end clients that nobody needs; the Pub/Sub API does not count here"},
	{"DailyApiRequests", "API requests", 24 * time.Hour, "REST and the Streaming API refuse requests, at once or soon: find who makes them (Setup, API Usage), or buy more"},
}

// limit is an allocation as /limits tells it. Remaining may be negative.
type limit struct{ Max, Remaining int64 }

const (
	standardVolume = "DailyStandardVolumePlatformEvents"
	nearlyUsed     = 0.8 // the share of a quota from which on doctor warns
)

// checkQuotas tells how much of its allocations the org has used.
func checkQuotas(ctx context.Context, p *patient) []finding {
	switch {
	case p.creds == nil:
		return []finding{found("quota", untried, "there is no login")}
	case p.org.exhausted:
		return nil // it is told already
	case p.org.noREST != "":
		return []finding{found("quota", untried, "%s", p.org.noREST)}
	}
	limits := map[string]limit{}
	if err := p.get(ctx, "limits/", &limits); err != nil {
		if e, ok := errors.AsType[*sfstream.ServerError](err); ok && e.Reason != requestLimit {
			return []finding{found("quota", untried, "the user may not see the org's limits: %s", e.Message).
				fix("give the user the permission View Setup and Configuration, if quotas are to be watched")}
		}
		return []finding{p.restFailed("quota", "the org's limits", err)}
	}
	p.org.standard = limits[standardVolume].Max > limits[standardVolume].Remaining
	delivered := limits[quotas[0].name]
	var list []finding
	for _, q := range quotas {
		if l := limits[q.name]; l.Max > 0 { // else the org has no such allocation
			f := q.judge(l, delivered)
			p.org.exhausted = p.org.exhausted || f.Status == wrong
			list = append(list, f)
		}
	}
	if list == nil {
		return []finding{found("quota", untried, "the org tells no limits of events")}
	}
	return list
}

// quotaFacts are the facts of a finding about a quota.
type quotaFacts struct {
	Name       string   `json:"name"`
	Max        int64    `json:"max"`
	Remaining  int64    `json:"remaining"`
	LastsHours *float64 `json:"lastsHours,omitempty"` // what is left, at today's rate; nil: for ever
}

// judge says how much of a quota is left, and how long that lasts at today's rate: that of its
// window, or for a month that of the events of the last 24 hours.
func (q quota) judge(l, delivered limit) finding {
	facts := quotaFacts{Name: q.name, Max: l.Max, Remaining: l.Remaining}
	used := l.Max - l.Remaining
	text := fmt.Sprintf("%s: %s of %s %s", q.name, thousands(used), thousands(l.Max), q.what)
	rate := 0.0 // per hour
	switch q.window {
	case 0:
		text += " at the moment"
	case month:
		text += " in this month of the contract"
		rate = float64(delivered.Max-delivered.Remaining) / 24
	case time.Hour:
		text += " in the last hour"
		rate = float64(used)
	default:
		text += " in the last 24 hours"
		rate = float64(used) / 24
	}
	if rate > 0 && l.Remaining > 0 {
		hours := float64(l.Remaining) / rate
		facts.LastsHours = &hours
		at := "that rate"
		if q.window == month {
			at = "the rate of the last 24 hours"
		}
		text += fmt.Sprintf("; what is left lasts %s at %s", lasting(hours), at)
	}
	switch {
	case l.Remaining <= 0 && q.window == month:
		return found("quota", warning, "%s: it is used up", text).fix("%s", q.fix).with(facts)
	case l.Remaining <= 0:
		return found("quota", wrong, "%s: it is used up", text).fix("%s", q.fix).with(facts)
	case float64(used) >= nearlyUsed*float64(l.Max):
		return found("quota", warning, "%s", text).fix("when it is used up: %s", q.fix).with(facts)
	}
	return found("quota", fine, "%s", text).with(facts)
}

// lasting writes a number of hours for people.
func lasting(hours float64) string {
	switch {
	case hours < 1:
		return fmt.Sprintf("%.0f minutes", math.Ceil(hours*60))
	case hours < 48:
		return fmt.Sprintf("%.1f hours", hours)
	case hours < 365*24:
		return fmt.Sprintf("%.0f days", hours/24)
	}
	return "more than a year"
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(max(n, -n), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if n < 0 {
		return "-" + text
	}
	return text
}

// checkEnds warns of what Salesforce will switch off.
func checkEnds(_ context.Context, p *patient) []finding {
	var list []finding
	switch p.flow {
	case flowPassword:
		list = append(list, found("end of life", warning, "the login flow password ends on 20 February 2027 (in %d days)", daysUntil(time.Date(2027, time.February, 20, 0, 0, 0, 0, time.UTC))).
			fix("use client_credentials or jwt_bearer, or \"sfstream login\""))
	case flowSOAP:
		list = append(list, found("end of life", warning, "SOAP logins end in Summer '27; they are off by default in orgs since Winter '26, and need API version 64.0 or older").
			fix("use client_credentials or jwt_bearer, or \"sfstream login\""))
	}
	if p.org.standard {
		list = append(list, found("end of life", warning, "the org delivers standard-volume platform events, which Salesforce retires in Summer '27").
			fix("make high-volume events of them: Setup, Platform Events"))
	}
	if p.creds != nil && isJWT(p.creds.AccessToken) && !p.bus.refused {
		list = append(list, found("login", warning, "the access token is a JWT, which Salesforce documents for REST only").
			fix("switch JWT-based access tokens off in the app's OAuth settings"))
	}
	if list == nil && p.flow == flowSaved {
		return []finding{found("end of life", fine, "no end is announced of saved logins")}
	}
	if list == nil && p.flow != "" {
		return []finding{found("end of life", fine, "no end is announced of the login flow %s", p.flow)}
	}
	return list
}

// daysUntil is how many days are left, 0 when the day has come.
func daysUntil(day time.Time) int { return int(max(0, math.Ceil(time.Until(day).Hours()/24))) }

// noLoginByREST is why REST answers nothing where it does not take the token.
const noLoginByREST = "REST does not take the login"

// requestLimit is Salesforce's code for a org without API requests.
const requestLimit = "REQUEST_LIMIT_EXCEEDED"

// restFailed says why a request by REST failed. What fails for a reason that concerns all requests
// is told once.
func (p *patient) restFailed(area, what string, err error) finding {
	if p.org.noREST != "" {
		return found(area, untried, "%s", p.org.noREST)
	}
	e, ok := errors.AsType[*sfstream.ServerError](err)
	switch {
	case !ok:
		p.org.noREST = "the org does not answer by REST"
		said, _ := explain(err)
		return found(area, wrong, "%s: %s", what, said).fix("check the way to %s, as a proxy may stop it", p.creds.InstanceURL)
	case e.Reason == requestLimit:
		p.org.noREST, p.org.exhausted = "the org has no API requests left", true
		return found("quota", wrong, "the org's API requests of the last 24 hours are used up: REST refuses with %s", requestLimit).
			fix("%s", quotas[len(quotas)-1].fix)
	case e.Code == sfstream.Unauthenticated:
		p.org.noREST = noLoginByREST
		if p.bus.refused {
			return found(area, untried, "%s", p.org.noREST)
		}
		return found("login", wrong, "%s: %s", p.org.noREST, cmp.Or(e.Message, e.Reason)).
			fix("the app needs the scope api (Setup, External Client App Manager, the app, Settings, OAuth Settings); a given access token may have expired")
	case e.Reason == "API_DISABLED_FOR_ORG":
		p.org.noREST = "the user may not use the API"
		return found(area, wrong, "the user may not use the API (%s)", e.Reason).
			fix("give the user the permission API Enabled; Professional Edition has the API as an add-on")
	}
	return found(area, warning, "%s cannot be read: %s", what, cmp.Or(e.Message, e.Reason)).fix("see whether the user may read it")
}

// query makes a query, with all records in one page.
func (p *patient) query(ctx context.Context, soql string, into any) error {
	return p.get(ctx, "query/?q="+url.QueryEscape(soql), into)
}

// restTime bounds a request.
const restTime = 8 * time.Second

// get asks the org by REST for something in JSON. A path without a leading slash is one of the
// newest API version.
func (p *patient) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(into)
}
