package sfstream

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// Endpoints of the Pub/Sub API. Salesforce answers on port 7443 too, which corporate networks often
// block. Government Cloud has no endpoint.
const (
	EndpointGlobal = "api.pubsub.salesforce.com:443"
	EndpointEU     = "api.deu.pubsub.salesforce.com:443" // events are processed in Germany
)

// An Option configures a client; see [New].
type Option func(*config) error

// A SubscribeOption configures one subscription; see [Client.Subscribe].
type SubscribeOption func(*subscribeConfig) error

// AckPolicy says when a message counts as handled. The marker of a channel never passes a message
// that is not handled.
type AckPolicy int

const (
	// AckAuto: a message is handled when its consumer (the loop, Receive or C) asks for the next
	// one. A loop that ends by break, return or panic leaves it unhandled.
	AckAuto AckPolicy = iota
	// AckOnReceive: a message is handled when it is handed out.
	AckOnReceive
	// AckManual: a message is handled when its Ack is called, from any goroutine and in any order.
	// Several loops may run at once.
	AckManual
)

// Transport is one of the two APIs over which Salesforce serves events.
type Transport int

const (
	// Auto is the Pub/Sub API for /event and /data, and the Streaming API for /topic and /u.
	Auto Transport = iota
	// PubSub is the Pub/Sub API: gRPC and Avro.
	PubSub
	// CometD is the Streaming API: Bayeux long polling and JSON. It serves all channels.
	CometD
)

// String returns the name of the transport, as in "CometD".
func (t Transport) String() string {
	names := [...]string{"Auto", "PubSub", "CometD"}
	if t < 0 || int(t) >= len(names) {
		return fmt.Sprintf("Transport(%d)", int(t))
	}
	return names[t]
}

func (t Transport) validate(option string) error {
	if t < Auto || t > CometD {
		return fmt.Errorf("%w: %s: %v", ErrInvalidOption, option, t)
	}
	return nil
}

type config struct {
	sandbox    bool
	loginURL   string
	endpoint   string
	plaintext  bool // endpoint was given as http://, which is for loopback only
	dial       []grpc.DialOption
	httpClient *http.Client
	via        Transport
	apiVersion string // version of the Streaming API and of REST; empty: the org's newest

	store    replaystore.Store
	volatile bool // there is no store of the program's: markers are only in memory
	replay   Replay
	fallback Fallback
	ack      AckPolicy
	prefetch int

	loginBudget int
	loginPeriod time.Duration

	keepaliveTimeout time.Duration
	reconnectTimeout time.Duration
	newBackOff       func() backoff.BackOff
	inDoubt          DoubtPolicy

	log   *slog.Logger
	hooks Hooks

	prefs preferences
}

func defaultConfig() config {
	return config{
		endpoint:   EndpointGlobal,
		httpClient: http.DefaultClient,
		prefetch:   200,
		newBackOff: defaultBackOff,
		log:        slog.New(slog.DiscardHandler),
		prefs:      newPreferences(),

		loginBudget:      5,
		loginPeriod:      10 * time.Minute,
		keepaliveTimeout: 5 * time.Minute,
	}
}

// defaultBackOff returns a policy that draws uniformly from (0, d], where d doubles from 500 ms to
// 60 s. backoff/v4 draws from interval ± factor × interval, so with factor 1 d is twice the
// interval. It never stops: the default of backoff/v4, which gives up after 15 minutes, would not
// survive an outage of a night.
func defaultBackOff() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.RandomizationFactor = 1
	b.Multiplier = 2
	b.MaxInterval = 30 * time.Second
	b.MaxElapsedTime = 0
	b.Reset()
	return b
}

// validate checks the rules that concern more than one option, and fills in what follows from other
// options.
func (c *config) validate() error {
	if c.sandbox && c.loginURL != "" {
		return fmt.Errorf("%w: WithSandbox and WithLoginURL exclude each other", ErrInvalidOption)
	}
	if c.sandbox {
		c.loginURL = authenticator.SandboxURL
	}
	if c.loginURL == "" {
		c.loginURL = authenticator.ProductionURL
	}
	if c.store == nil {
		c.store, c.volatile = replaystore.NewMemory(), true
	}
	return nil
}

// WithSandbox makes the client log in at test.salesforce.com. It excludes [WithLoginURL].
func WithSandbox() Option {
	return func(c *config) error { c.sandbox = true; return nil }
}

// WithLoginURL sets where the client logs in: a My Domain URL such as
// https://acme.my.salesforce.com. The default is [authenticator.ProductionURL]. It must be https,
// or http to a loopback address, because no secret may travel in the clear.
func WithLoginURL(loginURL string) Option {
	return func(c *config) error {
		loginURL := strings.TrimSpace(loginURL)
		if !secureURL(loginURL) {
			return fmt.Errorf("%w: WithLoginURL: %q is not an https URL without user and query (http is for loopback only), as in https://acme.my.salesforce.com", ErrInvalidOption, withoutPassword(loginURL))
		}
		c.loginURL = loginURL
		return nil
	}
}

// WithReplayStore keeps replay markers in store, so that a restarted program continues where it
// was. The client calls one Save at a time, every 50 to 100 ms while events are handled and once an
// hour for a quiet channel. The default keeps markers in memory only, which the client logs once as
// a warning and tells in Status().Volatile.
//
// Where the store is a [replaystore.Fenced] the client asks it before each message is handed out,
// each attempt of a [Client.Run] and a Serve included. Once it is lost, or a Save returns
// [replaystore.ErrConflict], the channels may be another process's: the client ends at once with a
// *[StoreError]. It hands out no further message, ends the contexts of handlers that run without
// regard to [DrainTimeout], and saves nothing. A message that C offers may still be taken after a
// pause of the process, until the client learns of the loss.
func WithReplayStore(store replaystore.Store) Option {
	return func(c *config) error {
		if store == nil {
			return fmt.Errorf("%w: WithReplayStore: nil", ErrInvalidOption)
		}
		c.store, c.volatile = store, false
		return nil
	}
}

// WithReplay sets where a channel without a marker starts. The default is [ReplayNew]. [From]
// overrides it and the marker.
func WithReplay(r Replay) Option {
	return func(c *config) error { c.replay = r; return r.validate("WithReplay") }
}

// WithReplayFallback sets what happens when Salesforce refuses a stored position: [FallbackFail]
// (default) ends the client with a *[ReplayError]; [FallbackAll] and [FallbackNew] resume, and
// report a [Gap] to the hook and the log.
func WithReplayFallback(f Fallback) Option {
	return func(c *config) error {
		if f < FallbackFail || f > FallbackNew {
			return fmt.Errorf("%w: WithReplayFallback: %v", ErrInvalidOption, f)
		}
		c.fallback = f
		return nil
	}
}

// WithAck sets when a message counts as handled. The default is [AckAuto].
func WithAck(p AckPolicy) Option {
	return func(c *config) error {
		if p < AckAuto || p > AckManual {
			return fmt.Errorf("%w: WithAck: %d", ErrInvalidOption, p)
		}
		c.ack = p
		return nil
	}
}

// WithPrefetch sets how many events of a channel there may be at once that are asked for, waiting,
// or (under [AckManual] and in a Run) handed out and not acked, taken together. The default is 200.
// Salesforce lets a client ask for 100 of them at once. To ack in groups of k under AckManual, set
// more than k.
func WithPrefetch(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("%w: WithPrefetch: %d is less than 1", ErrInvalidOption, n)
		}
		c.prefetch = n
		return nil
	}
}

// WithReconnectTimeout ends the client with a *[TimeoutError] when a channel has been disconnected
// for d. The default 0 means never.
func WithReconnectTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("%w: WithReconnectTimeout: %v is negative", ErrInvalidOption, d)
		}
		c.reconnectTimeout = d
		return nil
	}
}

// WithLoginBudget sets how many logins Salesforce may refuse within a period: the next one waits
// until the period has room again. If Salesforce accepts the logins but refuses so many of their
// tokens, the client ends with an *[AuthError]. The default is 5 in 10 minutes, which locks no
// account at Salesforce's defaults (10 in a row). The client never repeats a login by itself that
// was judged, such as one with a wrong password.
func WithLoginBudget(n int, period time.Duration) Option {
	return func(c *config) error {
		if n < 1 || period <= 0 {
			return fmt.Errorf("%w: WithLoginBudget: %d in %v", ErrInvalidOption, n, period)
		}
		c.loginBudget, c.loginPeriod = n, period
		return nil
	}
}

// WithKeepaliveTimeout sets how long a stream of the Pub/Sub API may be silent before the client
// opens a new one. The default is 5 minutes: Salesforce promises a keepalive every 270 seconds, and
// mostly sends one every 60. Less than a minute makes quiet channels reconnect. Servers of the
// Streaming API tell their own time.
func WithKeepaliveTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("%w: WithKeepaliveTimeout: %v is not positive", ErrInvalidOption, d)
		}
		c.keepaliveTimeout = d
		return nil
	}
}

// WithBackOff sets the waits between attempts to reconnect, before [Client.Do] repeats a request, and
// before [Client.Publish] sends events again. Each connection calls policy for a policy of its own and resets that when events flow;
// so does each request that is repeated. The default draws uniformly from (0, d], with d doubling
// from 500 ms to 60 s, and never stops. If the policy returns backoff.Stop the client ends with a
// *[TimeoutError], and a request with its last error. Waits of less than 50 ms, including zero and
// negative ones, last 50 ms, because without any wait the client would storm the server. A nil
// policy is refused.
func WithBackOff(policy func() backoff.BackOff) Option {
	return func(c *config) error {
		if policy == nil {
			return fmt.Errorf("%w: WithBackOff: nil", ErrInvalidOption)
		}
		first := policy()
		if first == nil {
			return fmt.Errorf("%w: WithBackOff: the function returns nil", ErrInvalidOption)
		}
		var once sync.Once
		c.newBackOff = func() backoff.BackOff {
			var p backoff.BackOff
			once.Do(func() { p = first })
			if p == nil {
				p = policy()
			}
			if p == nil {
				return defaultBackOff()
			}
			return floored{p}
		}
		return nil
	}
}

// leastWait is the shortest wait that a policy of the program's can have.
const leastWait = 50 * time.Millisecond

type floored struct{ backoff.BackOff }

func (f floored) NextBackOff() time.Duration {
	wait := f.BackOff.NextBackOff()
	if wait == backoff.Stop {
		return backoff.Stop
	}
	return max(wait, leastWait)
}

// WithTransport sets the API that serves /event and /data: [Auto] (default) and [PubSub] are the
// Pub/Sub API, [CometD] is the Streaming API. The Streaming API serves /topic and /u in any case.
// The markers of the two APIs are kept apart; see [Via] for one channel.
func WithTransport(t Transport) Option {
	return func(c *config) error { c.via = t; return t.validate("WithTransport") }
}

// WithAPIVersion sets the version of the Streaming API and of REST ([Client.Do]), such as "62.0".
// The default is the org's newest, for which the client asks when it needs one of them first.
// Versions up to 36.0 know no replay ids and are refused.
func WithAPIVersion(version string) Option {
	return func(c *config) error {
		c.apiVersion = strings.TrimPrefix(version, "v")
		return checkAPIVersion(c.apiVersion)
	}
}

// WithPubSubEndpoint sets the address of the Pub/Sub API: [EndpointGlobal] (default), [EndpointEU],
// a host:port that speaks TLS, also written https://host:port, or http://host:port for plaintext to
// a loopback address. It is not the org's My Domain.
func WithPubSubEndpoint(addr string) Option {
	return func(c *config) error {
		hostport, plaintext := strings.CutPrefix(strings.TrimSuffix(addr, "/"), "http://")
		hostport, secure := strings.CutPrefix(hostport, "https://")
		if secure && !strings.Contains(hostport, ":") {
			hostport += ":443"
		}
		host, port, err := net.SplitHostPort(hostport)
		if name := strings.ToLower(strings.Split(hostport, ":")[0]); isOrgHost(name) {
			return fmt.Errorf("%w: WithPubSubEndpoint: %q is a host of orgs or logins, which has no Pub/Sub API: use EndpointGlobal (%s) or EndpointEU", ErrInvalidOption, addr, EndpointGlobal)
		}
		switch {
		case err != nil || host == "" || !isPort(port):
			return fmt.Errorf("%w: WithPubSubEndpoint: %q is not host:port", ErrInvalidOption, addr)
		case plaintext && !loopback(host):
			return fmt.Errorf("%w: WithPubSubEndpoint: %q: plaintext is for loopback only", ErrInvalidOption, addr)
		}
		c.endpoint, c.plaintext = hostport, plaintext
		return nil
	}
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// isOrgHost reports whether a host is one at which Salesforce serves orgs or logins.
func isOrgHost(host string) bool {
	return strings.HasSuffix(host, ".force.com") ||
		strings.HasSuffix(host, ".salesforce.com") && !strings.Contains(host, ".pubsub.")
}

// WithPubSubDialOptions adds options to the gRPC connection, after those of the client.
func WithPubSubDialOptions(opts ...grpc.DialOption) Option {
	return func(c *config) error { c.dial = append(c.dial, opts...); return nil }
}

// WithHTTPClient sets the HTTP client for login, REST and the Streaming API. It is the place for a
// proxy or a certificate authority. gRPC honours HTTPS_PROXY by itself.
//
// The default is [http.DefaultClient], with what the program has set on [http.DefaultTransport],
// and with probes that notice a dead network within 60 seconds: TCP keep-alive, and HTTP/2 pings if
// the server speaks that. A client that the program sets is used as it is, without that promise: a
// poll of the Streaming API waits for up to two minutes, so that without probes a dead network is
// noticed only then.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return fmt.Errorf("%w: WithHTTPClient: nil", ErrInvalidOption)
		}
		c.httpClient = client
		return nil
	}
}

// WithLogger sets where the client logs. The default discards.
func WithLogger(log *slog.Logger) Option {
	return func(c *config) error {
		if log == nil {
			return fmt.Errorf("%w: WithLogger: nil", ErrInvalidOption)
		}
		c.log = log
		return nil
	}
}

// WithHooks sets functions that the client calls when something happens.
func WithHooks(h Hooks) Option {
	return func(c *config) error { c.hooks = h; return nil }
}

// WithJSON replaces encoding/json for payloads, in [Decode], Fields and MarshalJSON. Envelopes and
// replay ids never pass through it.
func WithJSON(marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) Option {
	return func(c *config) error {
		if marshal == nil || unmarshal == nil {
			return fmt.Errorf("%w: WithJSON: nil", ErrInvalidOption)
		}
		c.prefs.marshal, c.prefs.unmarshal = marshal, unmarshal
		return nil
	}
}

// WithOrg points the client at an org that is elsewhere: a server of package sfstreamtest
// implements org. It sets what [WithLoginURL], [WithPubSubEndpoint], [WithHTTPClient] and
// [WithPubSubDialOptions] set.
func WithOrg(org interface {
	LoginURL() string
	PubSubEndpoint() string
	HTTPClient() *http.Client
	DialOptions() []grpc.DialOption
}) Option {
	return func(c *config) error {
		if org == nil {
			return fmt.Errorf("%w: WithOrg: nil", ErrInvalidOption)
		}
		return oneline.Join(
			WithLoginURL(org.LoginURL())(c),
			WithPubSubEndpoint(org.PubSubEndpoint())(c),
			WithHTTPClient(org.HTTPClient())(c),
			WithPubSubDialOptions(org.DialOptions()...)(c),
		)
	}
}

type subscribeConfig struct {
	from    Replay
	fromSet bool
	via     Transport
}

// Via sets the API that serves this channel, whatever [WithTransport] says.
func Via(t Transport) SubscribeOption {
	return func(c *subscribeConfig) error { c.via = t; return t.validate("Via") }
}

// From sets where the subscription starts, whatever the store says. It applies to this first start
// only, never to reconnects. With a store that may come to belong to another process, such as that
// of package cluster, it is [ErrInvalidOption], because it would act again at every takeover.
func From(r Replay) SubscribeOption {
	return func(c *subscribeConfig) error {
		c.from, c.fromSet = r, true
		return r.validate("From")
	}
}

// secureURL reports whether secrets may be sent to a URL.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

// withoutPassword returns a URL without the parts that may be a secret.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "…"
	}
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	return u.Redacted()
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
