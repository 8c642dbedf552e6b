package sfstreamtest

import (
	"errors"
	"fmt"
	"time"
)

// Option changes what [NewServer] and [Start] start.
type Option func(*config)

type config struct {
	inMemory         bool
	tls              bool
	caPath, logPath  string
	rotate, overflow bool
	clockSkew        time.Duration
	seed             *uint64 // nil: nothing is reproducible

	keepalive, idleClose, publishIdle    time.Duration
	publishKeepalive                     time.Duration
	currentSchemaOnly, missingFailsCall  bool
	retention, routingDelay              time.Duration
	sessionTimeout, minPing              time.Duration
	creditCap, batchEvents, batchBytes   int
	eventBytes, requestBytes, maxStreams int

	addressConfig
	loginConfig
	sharedEventID bool
	sandbox       bool
	edition       string
	quietDelete   bool
	queryPage     int
	instanceHosts bool
	groupCut      int
	managed       managedConfig

	cometd cometdConfig
}

func defaults() config {
	return config{
		addressConfig: addressConfig{httpAddr: "127.0.0.1:0", pubsubAddr: "127.0.0.1:0"},
		keepalive:     time.Minute, idleClose: time.Minute, publishIdle: 70 * time.Second, retention: 72 * time.Hour,
		sessionTimeout: 2 * time.Hour, minPing: 20 * time.Second,
		creditCap: 100, batchEvents: 100, batchBytes: 3 << 20, queryPage: 2000, edition: "developer",
		eventBytes: 1 << 20, requestBytes: 4 << 20, maxStreams: 1000,
		cometd: cometdDefaults(), managed: managedDefaults(),
	}
}

func (c config) validate() error {
	for name, d := range map[string]time.Duration{
		"WithKeepalive": c.keepalive, "WithIdleClose": c.idleClose, "WithRetention": c.retention,
		"WithSessionTimeout": c.sessionTimeout, "WithPublishIdle": c.publishIdle, "WithMinPing": c.minPing,
	} {
		if d <= 0 {
			return fmt.Errorf("sfstreamtest: %s(%v): must be positive", name, d)
		}
	}
	for name, n := range map[string]int{
		"WithCreditCap": c.creditCap, "WithBatchEvents": c.batchEvents, "WithBatchBytes": c.batchBytes,
		"WithEventBytes": c.eventBytes, "WithRequestBytes": c.requestBytes, "WithMaxStreams": c.maxStreams,
		"WithQueryPage": c.queryPage,
	} {
		if n <= 0 {
			return fmt.Errorf("sfstreamtest: %s(%d): must be positive", name, n)
		}
	}
	for name, d := range map[string]time.Duration{"WithRoutingDelay": c.routingDelay, "WithPublishKeepalive": c.publishKeepalive} {
		if d < 0 {
			return fmt.Errorf("sfstreamtest: %s(%v): must not be negative", name, d)
		}
	}
	_, err := c.places("0", "0")
	return errors.Join(err, validEdition(c.edition), c.loginConfig.validate(), c.cometd.validate(), c.managed.validate())
}

// InMemory keeps the network inside the process: no sockets, nothing that a testing/synctest bubble
// cannot see. LoginURL and PubSubEndpoint are addresses that only HTTPClient and DialOptions reach.
func InMemory() Option { return func(c *config) { c.inMemory = true } }

// WithTLS serves both addresses with TLS. The certificate is made for this run, for 127.0.0.1, ::1,
// localhost, the hosts that the org tells ([WithURL], [WithPubSubURL]) and those of [WithNames].
// HTTPClient and DialOptions trust its certificate authority; others get that from CertPEM, or keep
// it with [WithCA].
func WithTLS() Option { return func(c *config) { c.tls = true } }

// WithCA keeps the certificate authority of [WithTLS] in a file, so that clients that trust it once
// trust each run: its certificate and private key, in PEM. They are made where there is no file,
// with mode 0600, and are good for ten years. Default: one for this run.
func WithCA(path string) Option { return func(c *config) { c.caPath = path } }

// WithLog keeps definitions and events in a file of JSON lines, so that replay ids stay good across
// runs. The file is read at the start and appended to.
func WithLog(path string) Option { return func(c *config) { c.logPath = path } }

// WithKeepalive sets how long a stream with credit stays quiet before it gets an empty response.
// Default 60 s.
func WithKeepalive(d time.Duration) Option { return func(c *config) { c.keepalive = d } }

// WithIdleClose sets how long a stream without credit lives. Default 60 s.
func WithIdleClose(d time.Duration) Option { return func(c *config) { c.idleClose = d } }

// WithRetention sets how long events can be replayed. Default 72 h.
func WithRetention(d time.Duration) Option { return func(c *config) { c.retention = d } }

// WithRoutingDelay sets how long after a subscribe with LATEST the stream still misses new events.
// Default 0; Salesforce was seen to take 3 s.
func WithRoutingDelay(d time.Duration) Option { return func(c *config) { c.routingDelay = d } }

// WithSessionTimeout sets how long an unused access token lives. Default 2 h. Each call and each
// response on a stream counts as use.
func WithSessionTimeout(d time.Duration) Option { return func(c *config) { c.sessionTimeout = d } }

// WithMinPing sets how often a connection with open streams may be pinged over HTTP/2. The third
// ping that is too early, with no data in between, ends the connection with too_many_pings. Default
// 20 s: pings every 30 s are tolerated, as they are by Salesforce. See also [WithPingsPunished].
func WithMinPing(d time.Duration) Option { return func(c *config) { c.minPing = d } }

// WithClockSkew sets the org's clock ahead of ours, or behind it if d is negative: it shows in Date
// headers, issued_at and the dates of events.
func WithClockSkew(d time.Duration) Option { return func(c *config) { c.clockSkew = d } }

// WithSeed makes the org reproducible: with the same seed, the same calls in the same order get the
// same ids of events, replay ids, tokens, session ids and dates. Its clock begins at 2026-01-01
// 00:00 UTC and stands still, but for a second with each event, so events age out only as others
// come; sessions, cookies and assertions of the JWT bearer flow are judged by our clock. A
// keepalive takes a replay id, so what comes after one depends on how long clients wait. Default: a
// new org each time, whose clock is ours.
func WithSeed(seed uint64) Option { return func(c *config) { c.seed = &seed } }

// WithCreditCap sets how many events a stream can have asked for. Requests for more are not
// counted, without an error. Default 100.
func WithCreditCap(n int) Option { return func(c *config) { c.creditCap = n } }

// WithOverflowError answers a request beyond the credit cap with subscription.fetch.overflow:
// Salesforce's table of errors has it, while its guide says that what is beyond the cap does not
// count.
func WithOverflowError() Option { return func(c *config) { c.overflow = true } }

// WithBatchEvents sets the most events in one response. Default 100.
func WithBatchEvents(n int) Option { return func(c *config) { c.batchEvents = n } }

// WithBatchBytes sets the size at which a response is split. Default 3 MiB.
func WithBatchBytes(n int) Option { return func(c *config) { c.batchBytes = n } }

// WithEventBytes sets the largest payload that [Server.Publish] and [Server.Change] accept. Default
// 1 MiB.
func WithEventBytes(n int) Option { return func(c *config) { c.eventBytes = n } }

// WithRequestBytes sets the largest gRPC request. Default 4 MiB.
func WithRequestBytes(n int) Option { return func(c *config) { c.requestBytes = n } }

// WithMaxStreams sets how many RPCs a connection carries at once. Default 1000.
func WithMaxStreams(n int) Option { return func(c *config) { c.maxStreams = n } }

// WithRefreshRotation makes each refresh return a new refresh token. Using an old one again revokes
// the current one and all access tokens.
func WithRefreshRotation() Option { return func(c *config) { c.rotate = true } }
