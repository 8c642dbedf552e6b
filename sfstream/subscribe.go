package sfstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// subscribeTimeout is how long Subscribe retries what may pass.
const subscribeTimeout = 30 * time.Second

// Subscribe follows a channel, and returns when Salesforce has accepted that:
// on the Pub/Sub API, when the channel is known, the user may subscribe to it,
// and the first request is sent. What can pass is retried until ctx ends, at
// most 30 seconds. An error leaves no subscription and ends nothing: it is a
// *ServerError, *AuthError, *StoreError, ErrAlreadySubscribed, ErrNotOpen,
// ErrClosed or ErrInvalidOption.
//
// It starts at From; else at the stored marker; else at WithReplay. One loss is
// Salesforce's own: with ReplayNew the Pub/Sub API may miss what is published
// in the first seconds. From(ReplaySince(time.Now())) closes that.
func (c *Client) Subscribe(ctx context.Context, channel string, opts ...SubscribeOption) error {
	var cfg subscribeConfig
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return err
		}
	}
	if err := checkChannel(channel); err != nil {
		return err
	}
	if err := c.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)() // Close does not wait for a login or a store
	l, err := c.newLink(channel)
	if err != nil {
		return err
	}
	if err := l.start(ctx, cfg); err != nil {
		l.cancel()
		l.end(nil)
		if ended := c.usable(); ended != nil {
			return ended
		}
		return err
	}
	return l.awaitAccepted(ctx)
}

// checkChannel refuses names that no channel has.
func checkChannel(channel string) error {
	switch {
	case strings.HasPrefix(channel, "/topic/"), strings.HasPrefix(channel, "/u/"):
		return fmt.Errorf("%w: channel %q is served by the Streaming API, which this version does not speak", ErrInvalidOption, channel)
	case !strings.HasPrefix(channel, "/event/") && !strings.HasPrefix(channel, "/data/"),
		strings.HasSuffix(channel, "/"):
		return fmt.Errorf("%w: channel %q: want /event/Name__e or /data/NameChangeEvent", ErrInvalidOption, channel)
	}
	return nil
}

// newLink reserves a channel and starts nothing yet.
func (c *Client) newLink(channel string) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := replaystore.Key{OrgID: c.orgID, API: apiPubSub, Channel: channel}.Canonical()
	switch {
	case c.state == clientClosed:
		return nil, ErrClosed
	case c.err != nil:
		return nil, c.err
	case c.links[key.Channel] != nil:
		return nil, fmt.Errorf("%w: %s", ErrAlreadySubscribed, channel)
	}
	l := &link{
		client: c, sub: newSubscription(c.delivery, channel, key),
		accepted: make(chan struct{}), done: make(chan struct{}),
		backOff: c.cfg.newBackOff(),
	}
	l.life, l.cancel = context.WithCancel(c.life)
	c.links[key.Channel] = l
	c.running.Add(1)
	return l, nil
}

// linkEnded takes the end of a link in: that of a followed channel ends the
// client, unless a hook says that the channel alone is dropped.
func (c *Client) linkEnded(l *link, err error) {
	if err != nil && l.isAccepted() && !c.delivery.isRemoved(l.sub) {
		hook := c.cfg.hooks.OnSubscriptionError
		if hook != nil && hook(l.sub.channel, err) {
			c.log.Warn("subscription dropped", "channel", l.sub.channel, "error", err)
			c.delivery.remove(l.sub)
		} else {
			c.fail(err)
		}
	}
	c.mu.Lock()
	if !l.isAccepted() || c.delivery.isRemoved(l.sub) {
		delete(c.links, l.sub.key.Channel)
	}
	c.mu.Unlock()
	c.running.Done()
}

// Unsubscribe stops following a channel. When it has returned, the channel hands
// out nothing more; what was waiting counts as never received, and the next
// Subscribe resumes after the last message that was handled. The error is
// ErrNotSubscribed, a *StoreError where the marker could not be saved, or ctx's.
func (c *Client) Unsubscribe(ctx context.Context, channel string) error {
	if err := c.usable(); err != nil {
		return err
	}
	name := replaystore.Key{Channel: channel}.Canonical().Channel
	c.mu.Lock()
	l := c.links[name]
	c.mu.Unlock()
	if l == nil || c.delivery.isRemoved(l.sub) {
		return fmt.Errorf("%w: %s", ErrNotSubscribed, channel)
	}
	c.delivery.remove(l.sub)
	l.cancel()
	select {
	case <-l.done:
	case <-ctx.Done():
		return ctx.Err() // the link ends by itself
	}
	l.sub.offers.Wait() // feeders let go as soon as they see the removal
	if !l.isAccepted() {
		return nil // its Subscribe fails, and the marker is as it was
	}
	return c.delivery.saver.flush(lastSaves, l.sub)
}

// Subscriptions returns the followed channels, sorted.
func (c *Client) Subscriptions() []string {
	var channels []string
	for _, l := range c.snapshot() {
		if l.isAccepted() && !c.delivery.isRemoved(l.sub) {
			channels = append(channels, l.sub.channel)
		}
	}
	slices.Sort(channels)
	return channels
}
