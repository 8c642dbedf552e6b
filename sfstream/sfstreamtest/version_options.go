package sfstreamtest

import (
	"math"
	"strconv"
	"time"
)

// firstVersion is the oldest API version that there was on CometD, durable the first
// one that is supported today. Those between are retired.
const (
	firstVersion   = 23
	durableVersion = 37
)

// WithRetiredVersionsRefused answers the retired versions 23.0 to 36.0 of CometD with
// 400::Unsupported API version. Default: they are routed to the newest version, as
// Salesforce does.
func WithRetiredVersionsRefused() Option { return func(c *config) { c.cometd.refuseRetired = true } }

// WithEventAPIName puts EventApiName into the event part of platform events over
// CometD from an API version on, such as "63.0". Default: never; then only the schema
// id tells the events of a custom channel apart.
func WithEventAPIName(since string) Option { return func(c *config) { c.cometd.nameSince = since } }

// WithPingsPunished is a server, or a proxy before it, that sends connections away that
// are pinged over HTTP/2 more often than every 5 minutes: WithMinPing(5 minutes), and
// keepalives every 4 minutes only, as data in between forgives pings.
func WithPingsPunished() Option {
	return func(c *config) { c.minPing, c.keepalive = 5*time.Minute, 4*time.Minute }
}

// atLeast says whether a version is another one or newer.
func atLeast(version, than string) bool {
	v, err := strconv.ParseFloat(version, 64)
	least, errLeast := strconv.ParseFloat(than, 64)
	return err == nil && errLeast == nil && !math.IsNaN(v) && v >= least
}

// eventName is the EventApiName of a record, "" where there is none.
func (x *exchange) eventName(r *record) string {
	since := x.server.config.cometd.nameSince
	if since == "" || !atLeast(x.version, since) {
		return ""
	}
	s := x.server
	s.mu.Lock()
	sc := s.schemas[r.schema]
	s.mu.Unlock()
	if sc == nil {
		return ""
	}
	if change, _ := field(sc.avro, "ChangeEventHeader"); change != nil {
		return ""
	}
	return sc.avro.Name()
}
