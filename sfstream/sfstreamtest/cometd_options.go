package sfstreamtest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// cometdConfig has the options of the Streaming API.
type cometdConfig struct {
	hold, window, lbLife, topicRetention time.Duration

	requestBytes, replyEvents, replyBytes int
	maxSessions                           int // 0: no limit
	duplicateStatus                       int
	httpStatus, bareChannel               bool
	adviceOnUnknown, resubscribeError     bool
	createDenied, refuseRetired           bool
	nameSince                             string // the first API version with EventApiName; "": no version has it
	versions                              []string
	users                                 map[string]string // user id by username, besides the account's
}

func cometdDefaults() cometdConfig {
	c := cometdConfig{
		hold: 110 * time.Second, window: 40 * time.Second, lbLife: 3 * time.Hour, topicRetention: 24 * time.Hour,
		requestBytes: 32768, replyEvents: 100_000, replyBytes: 12 << 20,
		duplicateStatus: http.StatusRequestTimeout,
	}
	for v := durableVersion; v <= 68; v++ {
		c.versions = append(c.versions, strconv.Itoa(v)+".0")
	}
	return c
}

func (c cometdConfig) validate() error {
	for name, d := range map[string]time.Duration{
		"WithHold": c.hold, "WithReconnectWindow": c.window, "WithLBCookieLife": c.lbLife, "WithTopicRetention": c.topicRetention,
	} {
		if d <= 0 {
			return fmt.Errorf("sfstreamtest: %s(%v): must be positive", name, d)
		}
	}
	for name, n := range map[string]int{
		"WithCometDRequestBytes": c.requestBytes, "WithReplyEvents": c.replyEvents, "WithReplyBytes": c.replyBytes,
	} {
		if n <= 0 {
			return fmt.Errorf("sfstreamtest: %s(%d): must be positive", name, n)
		}
	}
	if c.maxSessions < 0 {
		return fmt.Errorf("sfstreamtest: WithMaxSessions(%d): must not be negative", c.maxSessions)
	}
	if c.duplicateStatus < 400 || c.duplicateStatus > 599 {
		return fmt.Errorf("sfstreamtest: WithDuplicateConnectStatus(%d): is no error", c.duplicateStatus)
	}
	if _, err := strconv.ParseFloat(c.nameSince, 64); err != nil && c.nameSince != "" {
		return fmt.Errorf("sfstreamtest: WithEventAPIName(%q): is no number", c.nameSince)
	}
	if len(c.versions) == 0 {
		return fmt.Errorf("sfstreamtest: WithAPIVersions(): no version")
	}
	for _, v := range c.versions {
		if _, err := strconv.ParseFloat(v, 64); err != nil {
			return fmt.Errorf("sfstreamtest: WithAPIVersions(%q): is no number", v)
		}
	}
	return nil
}

// WithAPIVersions sets the versions that GET /services/data/ lists, the newest one last. Default
// 37.0 to 68.0. CometD accepts all from 37.0 to the newest.
func WithAPIVersions(versions ...string) Option {
	return func(c *config) { c.cometd.versions = versions }
}

// WithHold sets how long a /meta/connect without events is held. Default 110 s.
func WithHold(d time.Duration) Option { return func(c *config) { c.cometd.hold = d } }

// WithReconnectWindow sets how long after a response a Bayeux session waits for the next connect.
// Default 40 s.
func WithReconnectWindow(d time.Duration) Option { return func(c *config) { c.cometd.window = d } }

// WithLBCookieLife sets how long the load balancer's cookie leads to the same node. Another node
// does not know the session. Default 3 h.
func WithLBCookieLife(d time.Duration) Option { return func(c *config) { c.cometd.lbLife = d } }

// WithTopicRetention sets how long events of /topic and /u can be replayed. Default 24 h.
func WithTopicRetention(d time.Duration) Option {
	return func(c *config) { c.cometd.topicRetention = d }
}

// WithCometDRequestBytes sets the largest request on CometD. Default 32,768.
func WithCometDRequestBytes(n int) Option { return func(c *config) { c.cometd.requestBytes = n } }

// WithReplyEvents sets the most events in one response on CometD. Default 100,000.
func WithReplyEvents(n int) Option { return func(c *config) { c.cometd.replyEvents = n } }

// WithReplyBytes sets the size at which a response on CometD ends; the rest comes with the next
// one. Default 12 MiB.
func WithReplyBytes(n int) Option { return func(c *config) { c.cometd.replyBytes = n } }

// WithMaxSessions sets the org's limit of concurrent Bayeux sessions, beyond which a handshake is
// denied. Default 0, no limit.
func WithMaxSessions(n int) Option { return func(c *config) { c.cometd.maxSessions = n } }

// WithDuplicateConnectStatus sets the HTTP status that ends a /meta/connect when a second one of
// the same session comes in. Default 408, that of CometD 3; older servers use 500.
func WithDuplicateConnectStatus(code int) Option {
	return func(c *config) { c.cometd.duplicateStatus = code }
}

// WithCometDHTTPStatus sends the Bayeux errors about the API version, the request size and the
// login with the HTTP status of the same number. Default: with 200.
func WithCometDHTTPStatus() Option { return func(c *config) { c.cometd.httpStatus = true } }

// WithBareFilteredChannel sends events of /topic/X?A='1' with the channel /topic/X. Default: with
// the whole name, as it was subscribed to.
func WithBareFilteredChannel() Option { return func(c *config) { c.cometd.bareChannel = true } }

// WithUnknownClientAdvice adds the handshake advice, which a 403::Unknown client on a connect has,
// to that error on other messages. Default: there it has no advice.
func WithUnknownClientAdvice() Option { return func(c *config) { c.cometd.adviceOnUnknown = true } }

// WithResubscribeError makes the org refuse a channel that the session has already. Default:
// success, from the position that the new request names.
func WithResubscribeError() Option { return func(c *config) { c.cometd.resubscribeError = true } }

// WithUser adds a user to the org, who logs in with the account's password and security token.
// Default: only the account's user.
func WithUser(username, userID string) Option {
	return func(c *config) {
		if c.cometd.users == nil {
			c.cometd.users = make(map[string]string)
		}
		c.cometd.users[username] = userID
	}
}
