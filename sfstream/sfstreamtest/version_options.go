package sfstreamtest

import (
	"math"
	"strconv"
	"time"
)

// firstVersion is the oldest API version that CometD ever had. durableVersion is the oldest one
// that is supported today; the versions before it are retired.
const (
	firstVersion   = 23
	durableVersion = 37
)

// WithRetiredVersionsRefused makes the org answer the retired versions 23.0 to 36.0 of CometD with
// 400::Unsupported API version. Default: it routes them to the newest version, as Salesforce does.
func WithRetiredVersionsRefused() Option { return func(c *config) { c.cometd.refuseRetired = true } }

// WithEventAPIName puts EventApiName into the event part of platform events over CometD, from the
// given API version on, such as "63.0". Default: never; then only the schema id tells the events of
// a custom channel apart.
func WithEventAPIName(since string) Option { return func(c *config) { c.cometd.nameSince = since } }

// WithPingsPunished makes the Pub/Sub API end connections that are pinged over HTTP/2 more often
// than every 5 minutes, as some servers, or proxies before them, do: it is [WithMinPing](5
// minutes), with a keepalive only every 4 minutes, because data between two pings makes up for
// them.
func WithPingsPunished() Option {
	return func(c *config) { c.minPing, c.keepalive = 5*time.Minute, 4*time.Minute }
}

// atLeast reports whether version is than or a newer one.
func atLeast(version, than string) bool {
	v, err := strconv.ParseFloat(version, 64)
	least, errLeast := strconv.ParseFloat(than, 64)
	return err == nil && errLeast == nil && !math.IsNaN(v) && v >= least
}

// eventName returns the EventApiName of a record for the API version of the request, "" if the
// event has none there.
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
