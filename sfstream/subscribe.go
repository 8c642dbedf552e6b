package sfstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sfstream/sfstream-go/replaystore"
)

// subscribeTimeout is how long Subscribe retries what may pass.
const subscribeTimeout = 30 * time.Second

// Subscribe follows a channel, and returns when Salesforce has accepted that:
// on the Pub/Sub API, when the channel is known, the user may subscribe to it,
// and the first request is sent; on the Streaming API, when the subscribe is
// answered. What can pass is retried until ctx ends, at most 30 seconds. An error
// leaves no subscription and ends nothing: it is a *ServerError, *AuthError,
// *StoreError, *ReplayError (Streaming API: a stale marker is the answer),
// ErrAlreadySubscribed, ErrUnsubscribed, ErrNotOpen, ErrClosed or ErrInvalidOption.
//
// A PushTopic may have a filter, /topic/Accounts?Industry='Energy'; its marker is
// that of the bare channel, which can be followed once.
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
	api, err := c.cfg.apiOf(channel, cfg.via)
	if err != nil {
		return err
	}
	if err := c.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)() // Close does not wait for a login or a store
	f, err := c.newFeed(channel, api)
	if err != nil {
		return err
	}
	if err := f.start(ctx, cfg); err != nil {
		c.endFeed(f, nil)
		if ended := c.usable(); ended != nil {
			return ended
		}
		return err
	}
	return f.awaitAccepted(ctx)
}

// apiOf says which of Salesforce's APIs serves a channel, and refuses names that
// no channel has.
func (c *config) apiOf(channel string, via Transport) (string, error) {
	bare := bareName(channel)
	if strings.ContainsFunc(bare, unicode.IsSpace) || strings.ContainsFunc(channel, unicode.IsControl) {
		return "", fmt.Errorf("%w: channel %q: white space or a control character in the name", ErrInvalidOption, channel)
	}
	streaming := strings.HasPrefix(bare, "/topic/") || strings.HasPrefix(bare, "/u/")
	switch {
	case !streaming && !strings.HasPrefix(bare, "/event/") && !strings.HasPrefix(bare, "/data/"),
		strings.HasSuffix(bare, "/"), strings.Contains(bare, "*"):
		return "", fmt.Errorf("%w: channel %q: want /event/Name__e, /data/NameChangeEvent, /topic/Name or /u/Name", ErrInvalidOption, channel)
	case streaming && via == PubSub:
		return "", fmt.Errorf("%w: Via: channel %q is served by the Streaming API only", ErrInvalidOption, channel)
	}
	if via == Auto {
		via = c.via
	}
	if streaming || via == CometD {
		return apiCometD, nil
	}
	return apiPubSub, nil
}

// newFeed reserves a channel and starts nothing yet.
func (c *Client) newFeed(channel, api string) (*feed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := replaystore.Key{OrgID: c.orgID, API: api, Channel: channel}.Canonical()
	switch {
	case c.state == clientClosed:
		return nil, ErrClosed
	case c.err != nil:
		return nil, c.err
	case c.feeds[key.Channel] != nil:
		return nil, fmt.Errorf("%w: %s", ErrAlreadySubscribed, channel)
	}
	f := &feed{
		client: c, sub: c.inbox.Channel(channel, key), done: make(chan struct{}),
		downSince: time.Now(),
	}
	c.feeds[key.Channel] = f
	return f, nil
}

// join gives a feed to the link that follows it, a new one if need be.
func (c *Client) join(f *feed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == clientClosed:
		return ErrClosed
	case c.err != nil:
		return c.err
	case f.ended:
		return errUnsubscribed(f.sub.Name) // while its marker was loaded
	}
	l := c.streaming
	if f.sub.Key.API == apiPubSub {
		l = newLink(c, c.pubsub)
	} else if l == nil {
		l = newLink(c, c.cometd)
		c.streaming = l
	}
	f.link = l
	f.sub.Notify(l.changed)
	l.feeds = append(l.feeds, f)
	if len(l.feeds) > 1 {
		notify(l.changed)
		return nil
	}
	c.running.Add(1)
	go l.run() // ends with l.life; Close and Unsubscribe wait for it
	return nil
}

// retire takes a link out of service and returns what it still followed.
func (c *Client) retire(l *link) []*feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streaming == l {
		c.streaming = nil
	}
	return slices.Clone(l.feeds)
}

// endFeed ends the following of a channel, once. An error of one that was
// accepted ends the client, unless a hook says that the channel alone is
// dropped. It reports whether this was the last one of its link, which ends then.
func (c *Client) endFeed(f *feed, err error) (last bool) {
	c.mu.Lock()
	if f.ended {
		c.mu.Unlock()
		return false
	}
	f.ended = true
	f.status.end(err)
	l := f.link
	if l != nil {
		l.feeds = slices.DeleteFunc(slices.Clone(l.feeds), func(other *feed) bool { return other == f })
		if last = len(l.feeds) == 0; last && c.streaming == l {
			c.streaming = nil
		}
	}
	c.mu.Unlock()

	f.set(StateEnded)
	if err != nil && f.isAccepted() && !isClosed(f.sub.Removed()) {
		hook := c.cfg.hooks.OnSubscriptionError
		var login *AuthError // is about the client: others would repeat it
		if hook != nil && !errors.As(err, &login) && hook(f.sub.Name, err) {
			c.log.Warn("subscription dropped", "channel", f.sub.Name, "error", err)
			f.sub.Remove()
		} else {
			c.fail(err)
		}
	}
	if !f.isAccepted() || isClosed(f.sub.Removed()) {
		c.mu.Lock()
		delete(c.feeds, f.sub.Key.Channel)
		c.mu.Unlock()
	}
	close(f.done)
	if last {
		l.cancel()
	} else if l != nil {
		notify(l.changed)
	}
	return last
}

func errUnsubscribed(channel string) error {
	return fmt.Errorf("%w: %s", ErrUnsubscribed, channel)
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
	f := c.feeds[name]
	c.mu.Unlock()
	if f == nil || isClosed(f.sub.Removed()) {
		return fmt.Errorf("%w: %s", ErrNotSubscribed, channel)
	}
	f.sub.Remove()
	c.inbox.MarkQuiet(f.sub) // before another Subscribe can have its place
	if c.endFeed(f, nil) {
		select {
		case <-f.link.done:
		case <-ctx.Done():
			return ctx.Err() // the link ends by itself
		}
	}
	f.sub.AwaitOffers() // feeders let go as soon as they see the removal
	if !f.isAccepted() {
		return nil // its Subscribe fails, and the marker is as it was
	}
	return notSaved(c.inbox.Flush(context.Background(), lastSaves))
}

// Subscriptions returns the followed channels, sorted.
func (c *Client) Subscriptions() []string {
	var channels []string
	for _, f := range c.snapshot() {
		if f.isAccepted() && !isClosed(f.sub.Removed()) {
			channels = append(channels, f.sub.Name)
		}
	}
	slices.Sort(channels)
	return channels
}
