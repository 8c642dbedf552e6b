package chaos

import (
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// change changes what the model knows of a channel.
func (m *chaosModel) change(channel string, do func(ch *channelModel)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do(m.channels[channel])
}

// forget makes a channel forget its events: those that have not come may be missed, and positions
// become stale.
func (c *chaos) forget(channel string, do func(ch *channelModel) error) {
	c.model.change(channel, func(ch *channelModel) {
		ch.missable(ch.published())
		ch.stale++
		lab.Must(c.t, do(ch))
	})
}

// revoke takes the permission for a channel away for a while.
func (c *chaos) revoke(channel string, d time.Duration) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.revoked[channel] = true
	c.Revoke(channel)
	c.later(d, func() { c.grant(channel) })
}

func (c *chaos) grant(channel string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	if c.revoked[channel] {
		c.Grant(channel)
		delete(c.revoked, channel)
	}
}

// remove removes a channel for a while. What it had is gone.
func (c *chaos) remove(channel string, d time.Duration) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	if c.gone[channel] {
		return
	}
	c.gone[channel] = true
	c.forget(channel, func(*channelModel) error { return c.Remove(channel) })
	c.later(d, func() { c.bringBack(channel) })
}

func (c *chaos) isGone(channel string) bool {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	return c.gone[channel]
}

func (c *chaos) bringBack(channel string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	if !c.gone[channel] {
		return
	}
	c.define(channel)
	c.model.change(channel, c.beginEra)
	delete(c.gone, channel)
	c.trace.add("%s is back", channel)
}

// restore ends the faults that last and that ClearFaults does not know.
func (c *chaos) restore() {
	for _, name := range slices.Sorted(slices.Values(c.names)) {
		c.grant(name)
		c.bringBack(name)
	}
}
