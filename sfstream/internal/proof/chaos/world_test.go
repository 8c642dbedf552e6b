package chaos

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var chaosWorld = flag.Bool("chaos.world", true, "TestChaos has what else real orgs do: server disconnects, moved instances, reset ids, …")

// chaosFaultsNow are the faults of this run. The switch is for who looks for the cause of a
// deviation.
func chaosFaultsNow() []chaosFault {
	if *chaosWorld {
		return slices.Concat(chaosFaults, worldFaults, groupFaults, groupFaults)
	}
	return chaosFaults
}

// worldOptions are what else differs between orgs and releases.
func (c *chaos) worldOptions() []sfstreamtest.Option {
	if !*chaosWorld {
		return nil
	}
	var opts []sfstreamtest.Option
	for _, o := range append(managedOptions(),
		sfstreamtest.WithEventAPIName("37.0"), sfstreamtest.WithPingsPunished(), sfstreamtest.WithCreateDenied(),
		sfstreamtest.WithMaxStreams(1+c.random.IntN(2)), sfstreamtest.WithInstanceHosts(),
	) {
		if c.random.IntN(4) == 0 {
			opts = append(opts, o)
		}
	}
	return opts
}

// resetReplay begins a channel's replay ids anew, maybe below those before.
func (c *chaos) resetReplay(channel string, accepted bool) {
	c.forget(channel, func(ch *channelModel) error {
		ch.accepts = accepted && !isManaged(channel) // who begins after an old one is the org
		c.beginEraBy(ch, func(name string, id uint64) error { return c.ResetReplay(name, id, accepted) })
		return nil
	})
}

var worldFaults = []chaosFault{
	{"server disconnects", func(c *chaos, channel string) string {
		alone := c.random.IntN(2) == 0
		if c.random.IntN(2) == 0 {
			c.DisconnectWithEvents(1+c.random.IntN(2), alone)
			return fmt.Sprintf("with events, alone %v", alone)
		}
		c.DisconnectSessions(pick(c, []string{channel, ""}), alone)
		return fmt.Sprintf("now, alone %v", alone)
	}},
	{"passing error", func(c *chaos, _ string) string {
		kind := pick(c, []string{"connect", "connect", "subscribe", "handshake"})
		text := pick(c, []string{"500::Internal error", "502::Bad gateway", "504::Gateway timeout", "409::Conflict", "408::Timeout", ""})
		n := 1 + c.random.IntN(4)
		c.PassingError(kind, n, text)
		return fmt.Sprintf("%s %d times: %q", kind, n, text)
	}},
	{"REST error", func(c *chaos, _ string) string {
		code := pick(c, []string{"REQUEST_LIMIT_EXCEEDED", "SERVER_UNAVAILABLE"})
		c.RESTError(1+c.random.IntN(3), code)
		return code
	}},
	{"dead token at handshake", func(c *chaos, _ string) string {
		if !c.loginFault() {
			return ""
		}
		c.CreateDenied(1)
		c.UnknownClient(1)
		return "once"
	}},
	{"disconnect without a reply", func(c *chaos, _ string) string {
		on := c.random.IntN(2) == 0
		c.SilenceDisconnect(on)
		return fmt.Sprint(on)
	}},
	{"leave instance", func(c *chaos, _ string) string {
		if !c.loginFault() {
			return ""
		}
		how := pick(c, []string{"301", "302", "307", "404", "gone"})
		if err := c.LeaveInstance(how); err != nil { // where the logins are too
			how = "404"
			lab.Must(c.t, c.LeaveInstance(how))
		}
		if c.random.IntN(2) == 0 {
			c.EndStreams("", "UNAVAILABLE")
		}
		return how
	}},
	{"redirect to the login page", func(c *chaos, _ string) string {
		if !c.loginFault() {
			return ""
		}
		c.RedirectToLogin(1)
		return "once"
	}},
	{"proxy page", func(c *chaos, _ string) string {
		status := []int{401, 403, 404, 407, 302, 451, 200}[c.random.IntN(7)]
		n, body := 1+c.random.IntN(4), pick(c, []string{"", "<html>blocked</html>", `{"error":"blocked"}`})
		c.ProxyPage(n, status, body)
		d := c.some(5 * time.Minute)
		c.later(d, func() { c.ProxyPage(0, 0, "") })
		return fmt.Sprintf("%d, %d times, %s at most", status, n, d)
	}},
	{"lagging keepalive", func(c *chaos, channel string) string {
		if c.seed%2 == 0 {
			return "" // together with repeated positions it would say that ids have begun anew
		}
		c.LagKeepalive(channel, 1+c.random.IntN(3))
		return channel
	}},
	{"keepalive with the event's id", func(c *chaos, _ string) string {
		on := c.random.IntN(2) == 0
		c.HoldKeepaliveID(on)
		return fmt.Sprint(on)
	}},
	{"seeking backlog", func(c *chaos, channel string) string {
		d := c.some(30 * time.Minute)
		if c.isGone(channel) {
			return ""
		}
		lab.Must(c.t, c.PassPositions(channel, c.random.IntN(30)))
		c.SeekBacklog(channel, 1+c.random.IntN(2), d)
		c.EndStreams(channel, "UNAVAILABLE")
		return fmt.Sprintf("%s for %s", channel, d)
	}},
	{"reset replay ids", func(c *chaos, channel string) string {
		if c.random.IntN(3) > 0 || c.isGone(channel) {
			return ""
		}
		accepted := c.random.IntN(2) == 0
		c.resetReplay(channel, accepted)
		if c.random.IntN(2) == 0 {
			c.EndStreams(channel, "UNAVAILABLE")
		}
		return fmt.Sprintf("%s, old ones accepted %v", channel, accepted)
	}},
	{"fail commits", func(c *chaos, channel string) string {
		if !isManaged(channel) {
			return ""
		}
		n := 1 + c.random.IntN(5)
		c.FailCommits(channel, n, "not now")
		return fmt.Sprintf("%s: %d", channel, n)
	}},
	{"position repeated", func(c *chaos, channel string) string {
		if strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") || c.seed%2 == 1 {
			return ""
		}
		c.EndStreams(channel, "subscription.fetch.replay.repeated")
		return channel
	}},
}
