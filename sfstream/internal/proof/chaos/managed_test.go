package chaos

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// isManaged reports whether a channel is followed by a managed subscription: the org is its store.
func isManaged(channel string) bool { return strings.Contains(channel, "Managed") }

// developerName is that of the managed subscription of a channel.
func developerName(channel string) string { return channel[strings.LastIndex(channel, "/")+1:] }

// topicOf is the channel of a developer name, which stands for it where the Tooling API did not
// tell the topic.
func topicOf(name string) string {
	for _, ch := range chaosChannels {
		if isManaged(ch.name) && developerName(ch.name) == name {
			return ch.name
		}
	}
	return name
}

// defineManaged defines the managed subscription of a channel.
func (c *chaos) defineManaged(channel string) {
	def := sfstreamtest.ManagedSubscription{DeveloperName: developerName(channel), TopicName: channel, DefaultReplay: "LATEST", ErrorRecoveryReplay: "LATEST"}
	if c.replayAll {
		def.DefaultReplay = "EARLIEST"
	}
	if c.seed%4 < 2 { // independent of replayAll, and the same after the channel was removed
		def.ErrorRecoveryReplay = "EARLIEST"
	}
	_, err := c.DefineManagedSubscription(def)
	lab.Must(c.t, err)
}

// committed is what the org has of a channel's subscription.
func (c *chaos) committed(channel string) []byte {
	for _, s := range c.ManagedSubscriptions() {
		if s.TopicName == channel {
			return s.Committed
		}
	}
	return nil
}

// judgeCommitLocked judges what the org has, as a marker that is saved.
func (c *chaos) judgeCommitLocked(ch *channelModel) {
	if !isManaged(ch.name) {
		return
	}
	if id := c.committed(ch.name); !bytes.Equal(id, ch.committed) {
		ch.committed = id
		c.model.saveLocked(ch, replaystore.Marker{ReplayID: id})
	}
}

// letArrive lets what is under way arrive, and judges what it has committed.
func (c *chaos) letArrive(names ...string) {
	time.Sleep(time.Nanosecond)
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	for _, name := range names {
		c.judgeCommitLocked(c.model.channels[name])
	}
}

// beginManaged begins an epoch where the org does: after what is committed.
func (c *chaos) beginManaged(name string) {
	if !isManaged(name) {
		return
	}
	c.letArrive(name)
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := m.channels[name]
	floor := 0
	if len(ch.committed) > 0 {
		floor = ch.upTo(ch.committed)
	}
	m.trace.add("subscribing %s, what is committed is at %d", name, floor)
	ch.begin(loadedNone, floor, floor, true)
}

// beginsAtNew reports whether the next stream of a channel's subscription misses what is published
// now.
func (c *chaos) beginsAtNew(channel string) bool {
	return isManaged(channel) && c.ManagedStart(developerName(channel)) == "LATEST"
}

// savedAt is the number that what is saved of a channel is at.
func (c *chaos) savedAt(ch *channelModel) int {
	if !isManaged(ch.name) {
		return c.live.store.at(c.key(ch.name), ch)
	}
	if len(ch.committed) == 0 {
		return 0
	}
	return ch.upTo(ch.committed)
}

// knownTopics are the topics of managed subscriptions that the client knows.
func (l *life) knownTopics() map[string]bool {
	known := make(map[string]bool)
	for _, s := range l.client.Status().Channels {
		if s.Managed != nil {
			known[s.Managed.Topic] = true
		}
	}
	return known
}

// savedAtLeast is the end of what a polite end has saved when all is handled. Of a group a commit
// says nothing before the next one comes, and where the topic is not known each event may be of a
// group. What has aged out before that cannot be committed any more.
func (ch *channelModel) savedAtLeast(known map[string]bool) int {
	n := ch.published()
	if !isManaged(ch.name) || known[ch.name] && !isGrouped(ch.name) {
		return n
	}
	for last := ch.replays[n]; n > 0 && ch.replays[n] == last; {
		n--
	}
	if ch.mayMiss[n] {
		return 0
	}
	return n
}

// managedOptions are what differs between orgs that serve managed subscriptions.
func managedOptions() []sfstreamtest.Option {
	return []sfstreamtest.Option{
		sfstreamtest.WithCommitPerStream(), sfstreamtest.WithCommitDelay(200 * time.Millisecond), sfstreamtest.WithManagedPrecondition(),
		sfstreamtest.WithCommitIdle(15 * time.Minute), sfstreamtest.WithAgedCommitRefused(),
	}
}

// given is the name that a channel is followed by.
func (l *life) given(name string) string {
	if isManaged(name) {
		return developerName(name)
	}
	return name
}

// follow follows a channel. The slot of a managed subscription can be taken for 15 minutes; the
// scenario goes on meanwhile.
func (l *life) follow(name string, opts []sfstream.SubscribeOption) error {
	if !isManaged(name) {
		return l.client.Subscribe(l.ctx, name, opts...)
	}
	ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
	defer cancel()
	return l.client.SubscribeManaged(ctx, developerName(name), opts...)
}

// judge judges what the org has committed before a message is handled.
func (l *life) judge(channel string) {
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	if ch := m.channels[topicOf(channel)]; ch != nil {
		l.judgeCommitLocked(ch)
	}
}
