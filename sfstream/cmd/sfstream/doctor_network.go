package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// loginHost is the host that gives the login, or that of the instance where none is needed.
type loginHost struct {
	url   *url.URL // nil: not known before the login
	ours  bool     // Salesforce answers there
	dated bool     // it told its time
	skew  time.Duration
}

// checkProxy tells which proxy is used for what.
func checkProxy(_ context.Context, p *patient) []finding {
	for _, name := range proxyVariables {
		if !isProxy(os.Getenv(name)) {
			p.broken = true
			// What stands there may hold a password.
			return []finding{found("network", wrong, "%s is not the address of a proxy, and without a word no proxy is used", name).
				fix("set %s to an address of the form http://proxy.example:8080, or unset it", name)}
		}
	}
	through := map[string][]string{} // proxies, and the addresses that they are used for
	for _, addr := range p.addresses() {
		proxy, err := p.world.proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: addr}})
		if err == nil && proxy != nil {
			through[proxy.Host] = append(through[proxy.Host], addr)
		}
	}
	if len(through) == 0 {
		text := "no proxy is used"
		if variables := setOf(proxyVariables...); variables != "" {
			text += ": " + variables + " does not concern these hosts, or NO_PROXY exempts them"
		}
		return []finding{found("network", fine, "%s", text)}
	}
	var all []finding
	for proxy, addrs := range through {
		text := fmt.Sprintf("the proxy %s, from %s, is used for %s", proxy, cmp.Or(setOf(proxyVariables...), "the system"), strings.Join(addrs, " and "))
		all = append(all, found("network", fine, "%s", text))
	}
	slices.SortFunc(all, func(a, b finding) int { return strings.Compare(a.Text, b.Text) })
	return all
}

// isProxy reports whether net/http makes an address of the value of a variable, or nothing of an
// empty one. It ignores others.
func isProxy(value string) bool {
	if value == "" {
		return true
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		u, err = url.Parse("http://" + value)
	}
	return err == nil && u.Host != ""
}

// addresses are those of the login and of the Pub/Sub API, as far as they are known.
func (p *patient) addresses() (addrs []string) {
	if u := p.host.url; u != nil {
		addrs = append(addrs, hostport(u))
	}
	target, _ := p.account.pubsub()
	return append(addrs, target)
}

// hostport returns the address to dial for a URL.
func hostport(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// setOf returns which of the variables are set, joined for a text.
func setOf(names ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return os.Getenv(name) == "" }), ", ")
}

// checkLoginHost looks whether Salesforce answers where the login is.
func checkLoginHost(ctx context.Context, p *patient) []finding {
	u := p.host.url
	switch {
	case p.broken:
		return []finding{found("network", untried, "the way to the login: the variables of the proxy come first")}
	case u == nil:
		return nil // the Salesforce CLI knows where it logs in
	}
	addr := hostport(u)
	p.progress.trying("connect to %s", addr)
	r, block := p.world.reach(ctx, addr, u.Scheme == "https")
	if block != nil {
		return []finding{found("network", wrong, "%s", block.text).fix("%s", p.cure(block, u.Hostname()))}
	}
	list := []finding{found("network", fine, "%s", r)}
	if r.unusual {
		list = []finding{unusual(r, u.Hostname())}
	}
	if strange := p.askVersions(ctx, u); strange != nil {
		return append(list, *strange)
	}
	p.host.ours = true
	return list
}

// unusual is about a trusted certificate that Salesforce does not have.
func unusual(r route, host string) finding {
	return found("network", warning, "%s, which is no public authority: probably a proxy opens the TLS of %s, and can read along, tokens too", r, host).
		fix("nothing, if that is meant; else have %s exempted, as proxies that open TLS often stop gRPC and long requests", host)
}

// cure returns what to do about a roadblock to a host that the account names.
func (p *patient) cure(block *roadblock, host string) string {
	switch {
	case !block.name:
		return block.fix
	case p.source == "":
		return "check this computer's connection and its DNS; where the network wants a proxy, set HTTPS_PROXY"
	}
	return fmt.Sprintf("check the spelling of %s: it should be the org's My Domain URL (Setup, My Domain), as in https://acme.my.salesforce.com", p.source)
}

// askVersions asks a host for its API versions, which takes no login, and reads its clock. It
// returns a finding if the host is none of Salesforce's, or has nothing for us.
func (p *patient) askVersions(ctx context.Context, u *url.URL) *finding {
	ctx, cancel := context.WithTimeout(ctx, 2*routeTimeout)
	defer cancel()
	at := u.Scheme + "://" + u.Host
	host := u.Hostname()
	name := cmp.Or(p.source, "the login URL")
	p.progress.trying("get an answer from %s", at)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/services/data/", nil)
	if err != nil {
		f := found("network", wrong, "%s cannot be asked", at).fix("check %s", name)
		return &f
	}
	client := *p.world.http
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		f := found("network", wrong, "%s takes a connection, and then does not answer: %v", host, bareError(err)).
			fix("check %s, and whether a proxy or a firewall is in between", name)
		return &f
	}
	defer resp.Body.Close()
	p.readClock(resp, begun)
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	// The list of versions, or an error in the form of Salesforce's.
	var answer []struct{ Version, ErrorCode string }
	if json.Unmarshal(body, &answer) == nil && len(answer) > 0 && answer[0].Version+answer[0].ErrorCode != "" {
		return nil
	}
	return judgePage(resp, body, u, name)
}

// judgePage is about an answer that does not list API versions.
func judgePage(resp *http.Response, body []byte, u *url.URL, name string) *finding {
	host := u.Hostname()
	const want = "it should be the org's My Domain URL (Setup, My Domain), https://login.salesforce.com, or https://test.salesforce.com for a sandbox"
	var f finding
	switch to, _ := resp.Location(); {
	case host == "login.salesforce.com", host == "test.salesforce.com":
		return nil // it answers, and it is nothing but a login
	case to != nil && to.Host != u.Host:
		f = found("network", wrong, "%s sends to %s", host, to.Host).fix("set %s to https://%s if that is the org; %s", name, to.Host, want)
	case isSalesforce(host):
		f = found("network", wrong, "%s is a host of Salesforce, but there is no org behind it (HTTP %s)", host, resp.Status).fix("check %s: %s", name, want)
	default:
		what := "an answer"
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
			what = "a page"
		}
		f = found("network", wrong, "%s is not Salesforce: it sends %s where Salesforce lists its API versions (HTTP %s)", host, what, resp.Status).
			fix("check %s: %s. If it is right, a proxy or a portal of the network answers in its place", name, want)
	}
	return &f
}

// bareError is the cause of a failed request, without the URL that net/http puts before it.
func bareError(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// readClock compares the date of an answer, which has whole seconds, with ours.
func (p *patient) readClock(resp *http.Response, begun time.Time) {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	// The server wrote it between begun and now.
	if now := time.Now(); date.After(now) {
		p.host.skew = date.Sub(now)
	} else if end := date.Add(time.Second); end.Before(begun) {
		p.host.skew = end.Sub(begun)
	}
	p.host.dated = true
}

const (
	skewNoticed = 30 * time.Second // smaller ones hurt nobody
	skewWrong   = 3 * time.Minute  // how long an assertion of the JWT bearer flow lives
)

// checkClock judges this computer's clock by Salesforce's.
func checkClock(_ context.Context, p *patient) []finding {
	switch {
	case p.host.url == nil && p.creds == nil:
		return nil // the login will tell where to ask
	case !p.host.dated:
		return []finding{found("clock", untried, "no answer of Salesforce tells the time")}
	}
	skew := p.host.skew.Abs()
	if skew < skewNoticed {
		return []finding{found("clock", fine, "this computer's clock agrees with Salesforce's")}
	}
	off := skew.Round(time.Second).String()
	if skew > skewWrong { // Salesforce tells whole seconds, and an answer takes some time
		off = strings.TrimSuffix(skew.Round(time.Minute).String(), "0s")
	}
	direction := "behind"
	if p.host.skew < 0 {
		direction = "ahead of"
	}
	f := found("clock", warning, "this computer's clock is %s %s Salesforce's", off, direction)
	if p.flow == flowJWT && skew >= skewWrong {
		f = found("clock", wrong, "this computer's clock is %s %s Salesforce's, which refuses a signed login by such a clock as expired or not yet valid; "+
			"sfstream signs once more by Salesforce's clock, other programs fail", off, direction)
	}
	return []finding{f.fix("set the clock, and have it kept right by NTP").with(map[string]any{"aheadOfUsSeconds": p.host.skew.Seconds()})}
}

// checkPubSub looks for the way to the Pub/Sub API, on both of its ports.
func checkPubSub(ctx context.Context, p *patient) []finding {
	if p.broken {
		return []finding{found("network", untried, "the way to the Pub/Sub API: the variables of the proxy come first")}
	}
	target, security := p.account.pubsub()
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return []finding{found("network", untried, "the Pub/Sub API: its address is wrong")}
	}
	secure := security.Info().SecurityProtocol == "tls"
	ports := []string{port}
	if other := map[string]string{"443": "7443", "7443": "443"}[port]; other != "" && secure {
		ports = append(ports, other)
	}
	p.progress.trying("connect to %s", target)
	routes, blocks := make([]route, len(ports)), make([]*roadblock, len(ports))
	var wg sync.WaitGroup
	for i, port := range ports {
		wg.Go(func() { routes[i], blocks[i] = p.world.reach(ctx, net.JoinHostPort(host, port), secure) })
	}
	wg.Wait()
	list, open := judgeRoute(routes[0], blocks[0], host, secure)
	if len(ports) > 1 && (open || blocks[1] == nil) {
		list = append(list, judgeOther(ports[1], open, blocks[1] == nil, host))
	}
	if !open {
		return append(list, found("network", untried, "gRPC: there is no way to %s", target))
	}
	return append(list, p.checkGRPC(ctx, target)...)
}

// judgeRoute is about the way to the Pub/Sub API. open says that gRPC may get through.
func judgeRoute(r route, block *roadblock, host string, secure bool) (list []finding, open bool) {
	if block != nil {
		fix := block.fix
		if block.name {
			fix = "check this computer's connection and its DNS, and SALESFORCE_PUBSUB_ENDPOINT if it is set"
		}
		return []finding{found("network", wrong, "the Pub/Sub API: %s", block.text).fix("%s", fix)}, false
	}
	if secure && r.protocol != "h2" {
		return []finding{found("network", wrong, "%s, and speaks HTTP/1.1 only: gRPC, which needs HTTP/2, does not get through. Salesforce speaks HTTP/2: a proxy or a firewall is in between", r).
			fix("have %s exempted from the proxy that opens TLS, or let it speak HTTP/2; over the Streaming API events come without gRPC (sfstream tail -cometd)", host)}, false
	}
	if r.unusual {
		return []finding{unusual(r, host)}, true
	}
	return []finding{found("network", fine, "%s", r)}, true
}

// judgeOther is about the port of the Pub/Sub API that is not configured: it or the other one is
// open.
func judgeOther(port string, open, otherOpen bool, host string) finding {
	switch {
	case !otherOpen:
		return found("network", fine, "port %s of the Pub/Sub API is closed from here, and not needed", port)
	case open:
		return found("network", fine, "port %s of the Pub/Sub API is open too", port)
	}
	return found("network", fine, "port %s of the Pub/Sub API is open", port).
		fix("set SALESFORCE_PUBSUB_ENDPOINT=%s", net.JoinHostPort(host, port))
}

// checkGRPC looks whether Salesforce answers a call of gRPC. It makes one without a login, which
// Salesforce refuses in its own words.
func (p *patient) checkGRPC(ctx context.Context, target string) []finding {
	ctx, cancel := context.WithTimeout(ctx, callTimeout/2)
	defer cancel()
	p.progress.trying("call the Pub/Sub API at %s", target)
	conn, err := p.account.dial(p.world.grpc...)
	if err != nil {
		return []finding{found("network", wrong, "the Pub/Sub API at %s: %v", target, err).fix("check SALESFORCE_PUBSUB_ENDPOINT")}
	}
	p.bus.conn = conn
	var trailer metadata.MD
	_, err = eventbus.Client{Conn: conn}.GetTopic(ctx, &eventbus.TopicRequest{TopicName: everyChange}, grpc.Trailer(&trailer))
	st := status.Convert(err)
	const bypass = "have the Pub/Sub API's host exempted from the proxy; over the Streaming API events come without gRPC (sfstream tail -cometd)"
	switch page, isPage := proxyPage(st); {
	case isPage:
		return []finding{found("network", wrong, "gRPC does not get through to %s: a proxy, a firewall or a portal answers in place of Salesforce, with %s", target, page).fix(bypass)}
	case err == nil, len(trailer.Get("error-code")) > 0, st.Code() == codes.Unauthenticated, st.Code() == codes.InvalidArgument:
		p.bus.reached = true
		return []finding{found("network", fine, "gRPC gets through: Salesforce answers a call at %s", target)}
	case st.Code() == codes.Unimplemented:
		return []finding{found("network", wrong, "%s speaks gRPC, but is not the Pub/Sub API", target).fix("check SALESFORCE_PUBSUB_ENDPOINT")}
	case st.Code() == codes.DeadlineExceeded:
		return []finding{found("network", wrong, "gRPC does not get through to %s: the connection stands, and nothing answers", target).fix(bypass)}
	}
	return []finding{found("network", wrong, "gRPC does not get through to %s: %s", target, saidBy(err)).fix(bypass)}
}

// everyChange is a channel that all orgs have.
const everyChange = "/data/ChangeEvents"

// proxyPage returns the HTTP status of an answer that is not gRPC. grpc-go tells of it in the text
// of the error only.
func proxyPage(st *status.Status) (page string, ok bool) {
	_, rest, ok := strings.Cut(st.Message(), "unexpected HTTP status code received from server: ")
	page, _, _ = strings.Cut(rest, ";")
	return "HTTP " + page, ok
}
