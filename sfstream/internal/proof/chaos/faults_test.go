package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// refusals are the endings that say nothing about a position, however often.
var refusals = slices.DeleteFunc(slices.Clone(lab.Endings), func(code string) bool { return strings.Contains(code, "replay.repeated") })

func itoa(n int) string { return strconv.Itoa(n) }

// chaosFault is something that goes wrong. do returns what it was, "" for nothing.
type chaosFault struct {
	name string
	do   func(c *chaos, channel string) string
}

// hurt makes something go wrong, mostly on one channel.
func (c *chaos) hurt() {
	faults := chaosFaultsNow()
	f := faults[c.random.IntN(len(faults))]
	channel := c.names[c.random.IntN(len(c.names))]
	what := f.do(c, channel)
	if what == "" {
		return
	}
	c.faults[f.name]++
	c.trace.add("FAULT  %s: %s", f.name, what)
}

// later does something at the end of a fault, unless the scenario ends before.
func (c *chaos) later(d time.Duration, do func()) {
	c.wg.Go(func() { // the scenario's end waits for it
		if wait(c.over, d) == nil {
			do()
		}
	})
}

// some is a random time up to a limit.
func (c *chaos) some(limit time.Duration) time.Duration {
	return 1 + time.Duration(c.random.Int64N(int64(limit)))
}

func pick(c *chaos, from []string) string { return from[c.random.IntN(len(from))] }

// loginFault says whether one more fault that asks for a login may happen. Too many within the
// login budget's ten minutes end a client, as they should.
func (c *chaos) loginFault() bool {
	if time.Since(c.tokenAt) < 4*time.Minute {
		return false
	}
	c.tokenAt = time.Now()
	c.tokens++
	return true
}

// denial says whether a channel may be denied now: what is denied for ten minutes ends a client,
// and so do denials without a success between them.
func (c *chaos) denial(channel string) bool {
	if at, before := c.pardoned[channel]; before && time.Since(at) < 30*time.Minute {
		return false
	}
	c.pardoned[channel] = time.Now()
	c.tokens++ // it asks for one login
	return true
}

// chaosFaults are all faults. What a lasting one began, restore ends.
var chaosFaults = []chaosFault{
	{"drop connections", func(c *chaos, _ string) string { c.DropConnections(); return "now" }},
	{"blackhole", func(c *chaos, _ string) string {
		d := c.some(15 * time.Minute)
		c.Blackhole()
		c.later(d, c.DropConnections) // the kernel notices
		return fmt.Sprintf("for %s", d)
	}},
	{"outage", func(c *chaos, _ string) string {
		d := c.some(12 * time.Minute)
		c.Refuse(true)
		c.DropConnections()
		c.later(d, func() { c.Refuse(false) })
		return fmt.Sprintf("for %s", d)
	}},
	{"refused connections", func(c *chaos, _ string) string {
		d := c.some(5 * time.Minute)
		c.Refuse(true)
		c.later(d, func() { c.Refuse(false) })
		return fmt.Sprintf("for %s", d)
	}},
	{"goaway", func(c *chaos, _ string) string { c.GoAway(); return "now" }},
	{"cut open connections", func(c *chaos, _ string) string {
		at := cut{bytes: c.random.Int64N(1500), sent: c.random.IntN(3) == 0}
		c.net.cutOpen(at)
		return fmt.Sprintf("%+v", at)
	}},
	{"cut a new connection", func(c *chaos, _ string) string {
		at := cut{bytes: c.random.Int64N(4000), sent: c.random.IntN(3) == 0}
		c.net.cutNext(at)
		return fmt.Sprintf("%+v", at)
	}},
	{"end streams", func(c *chaos, channel string) string {
		code := pick(c, refusals)
		if c.random.IntN(3) == 0 {
			channel = ""
		}
		c.EndStreams(channel, code)
		return channel + " " + code
	}},
	{"reject", func(c *chaos, channel string) string {
		code, n := pick(c, refusals), 1+c.random.IntN(3)
		c.Reject(channel, n, code)
		c.EndStreams(channel, "UNAVAILABLE")
		return fmt.Sprintf("%s %d times: %s", channel, n, code)
	}},
	{"fail GetTopic", func(c *chaos, _ string) string {
		code, n := pick(c, refusals), 1+c.random.IntN(3)
		c.FailGetTopic(n, code)
		return fmt.Sprintf("%d times: %s", n, code)
	}},
	{"fail GetSchema", func(c *chaos, _ string) string {
		code, n := pick(c, []string{"UNAVAILABLE", "schema.api.unavailable", "INTERNAL", "UNKNOWN", "service.unavailable"}), 1+c.random.IntN(4)
		c.FailGetSchema(n, code)
		return fmt.Sprintf("%d times: %s", n, code)
	}},
	{"schema gone", func(c *chaos, _ string) string {
		if slices.ContainsFunc(c.names, isGrouped) {
			return "" // without its header an event of a group is another one: it comes again
		}
		code := pick(c, []string{"schema.not.found", "schema.meta.permission"})
		c.schemaGone.Store(true)
		c.FailGetSchema(1, code)
		return code
	}},
	{"fail login", func(c *chaos, _ string) string {
		kind := pick(c, []string{"html", "503", "empty", "timeout", "redirect", "rate_limit_exceeded", "unknown_error", "invalid_grant/login rate exceeded"})
		n := 1 + c.random.IntN(4)
		c.FailLogin(n, kind)
		c.tokens += n
		return fmt.Sprintf("%d times: %s", n, kind)
	}},
	{"lock user", func(c *chaos, _ string) string {
		if c.random.IntN(3) > 0 || !c.loginFault() {
			return ""
		}
		c.expect.auth = true
		c.LockUser()
		c.ExpireToken()
		c.EndStreams("", "UNAVAILABLE")
		return "until the client has ended"
	}},
	{"expire token", func(c *chaos, _ string) string {
		if !c.loginFault() {
			return ""
		}
		c.ExpireToken()
		if c.random.IntN(2) == 0 {
			c.EndStreams("", "service.auth.error")
			return "with the streams"
		}
		return "alone"
	}},
	{"refuse token", func(c *chaos, channel string) string {
		if !c.loginFault() {
			return ""
		}
		c.EndStreams(channel, pick(c, []string{"service.auth.error", "service.auth.refresh.invalid", "UNAUTHENTICATED"}))
		return channel
	}},
	{"move instance", func(c *chaos, _ string) string {
		if !c.loginFault() {
			return ""
		}
		c.MoveInstance()
		return "now"
	}},
	{"send again", func(c *chaos, channel string) string {
		n := 1 + c.random.IntN(20)
		c.model.change(channel, func(ch *channelModel) { ch.repeats = max(ch.repeats, n+1+groupMost) }) // from the beginning of a group
		c.Duplicate(channel, n)
		c.EndStreams(channel, "UNAVAILABLE")
		return fmt.Sprintf("%s: %d events", channel, n)
	}},
	{"silent keepalive", func(c *chaos, _ string) string {
		d := c.some(30 * time.Minute)
		c.SilenceKeepalive(true)
		c.later(d, func() { c.SilenceKeepalive(false) })
		return fmt.Sprintf("for %s", d)
	}},
	{"strip trailers", func(c *chaos, _ string) string {
		d := c.some(10 * time.Minute)
		c.StripTrailers(true)
		c.later(d, func() { c.StripTrailers(false) })
		return fmt.Sprintf("for %s", d)
	}},
	{"age out", func(c *chaos, channel string) string {
		if c.random.IntN(3) > 0 || c.isGone(channel) {
			return ""
		}
		c.forget(channel, func(*channelModel) error { return c.TruncateReplay(channel) })
		return channel
	}},
	{"move org", func(c *chaos, channel string) string {
		if c.random.IntN(3) > 0 || c.isGone(channel) {
			return ""
		}
		c.forget(channel, func(ch *channelModel) error { c.beginEra(ch); return nil })
		c.EndStreams(channel, "UNAVAILABLE")
		return channel
	}},
	{"call position stale", func(c *chaos, channel string) string {
		if c.random.IntN(4) > 0 {
			return ""
		}
		c.expect.replay = true // where there is no position
		c.model.change(channel, func(ch *channelModel) { ch.stale++; ch.lied = true })
		c.Reject(channel, 1, lab.StaleReplayID)
		c.EndStreams(channel, "UNAVAILABLE")
		return channel
	}},
	{"revoke", func(c *chaos, channel string) string {
		if !c.denial(channel) {
			return ""
		}
		d := c.some(5 * time.Minute)
		c.revoke(channel, d)
		return fmt.Sprintf("%s for %s", channel, d)
	}},
	{"remove channel", func(c *chaos, channel string) string {
		if !c.denial(channel) {
			return ""
		}
		d := c.some(3 * time.Minute)
		c.remove(channel, d)
		return fmt.Sprintf("%s for %s", channel, d)
	}},
	{"deny", func(c *chaos, channel string) string {
		if !c.denial(channel) {
			return ""
		}
		code := pick(c, []string{"topic.not.found", "subscription.topic.cannot.subscribe", "topic.meta.permission", "UNIMPLEMENTED"})
		c.Reject(channel, 1+c.random.IntN(3), code)
		c.EndStreams(channel, "UNAVAILABLE")
		return channel + " " + code
	}},
	{"unknown client", func(c *chaos, _ string) string { c.UnknownClient(1 + c.random.IntN(3)); return "on connect" }},
	{"legacy unknown client", func(c *chaos, _ string) string { c.LegacyUnknownClient(1 + c.random.IntN(2)); return "on connect" }},
	{"busy as 401", func(c *chaos, _ string) string { c.Busy503As401(1 + c.random.IntN(3)); return "on connect" }},
	{"html error", func(c *chaos, _ string) string {
		status := []int{500, 502, 503, 504, 408, 404, 429}[c.random.IntN(7)]
		c.HTMLError(1+c.random.IntN(3), status)
		return itoa(status)
	}},
	{"lose response", func(c *chaos, _ string) string {
		c.LoseResponse(1 + c.random.IntN(3))
		return "of a connect with events"
	}},
	{"truncate response", func(c *chaos, _ string) string {
		c.TruncateResponse(1 + c.random.IntN(3))
		return "of a connect with events"
	}},
	{"empty reply", func(c *chaos, _ string) string { c.EmptyReply(1 + c.random.IntN(3)); return "to a connect with events" }},
	{"omit connect reply", func(c *chaos, _ string) string { c.OmitConnectReply(1 + c.random.IntN(3)); return "with events" }},
	{"handshake advice loop", func(c *chaos, _ string) string { c.HandshakeAdviceLoop(1 + c.random.IntN(4)); return "on connect" }},
	{"concurrent limit", func(c *chaos, _ string) string { c.ConcurrentLimit(1 + c.random.IntN(3)); return "on handshake" }},
	{"connect reply first", func(c *chaos, _ string) string {
		on := c.random.IntN(2) == 0
		c.ConnectReplyFirst(on)
		return fmt.Sprint(on)
	}},
	{"daily limit", func(c *chaos, _ string) string {
		d := c.some(30 * time.Minute)
		c.DailyLimit(d)
		return fmt.Sprintf("for %s", d)
	}},
	{"bayeux", bayeuxFault},
	{"bayeux", bayeuxFault},
	{"bayeux", bayeuxFault},
	{"bayeux", bayeuxFault},
}
