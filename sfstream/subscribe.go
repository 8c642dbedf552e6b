package sfstream

import (
	"context"
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
// leaves no subscription and ends nothing: it is a *[ServerError], *[AuthError],
// *[StoreError], *[ReplayError] (Streaming API: a stale marker is the answer),
// [ErrAlreadySubscribed], [ErrUnsubscribed], [ErrNotOpen], [ErrClosed] or [ErrInvalidOption].
//
// A PushTopic may have a filter, /topic/Accounts?Industry='Energy'; its marker is that of the bare
// channel, which can be followed once.
//
// It starts at [From]; else at the stored marker; else at [WithReplay]. One loss is Salesforce's
// own: with [ReplayNew] the Pub/Sub API may miss what is published in the first seconds.
// From(ReplaySince(time.Now())) closes that.
func (c *Client) Subscribe(ctx context.Context, channel string, opts ...SubscribeOption) error {
	var cfg subscribeConfig
	for _, opt := range opts {
		if err := opt(&cfg); err != nil {
			return err
		}
	}
	if cfg.fromSet && c.life.fence != nil {
		return fmt.Errorf("%w: From: %s: it would act again whenever another process takes the channel over: WithReplay says where a channel without a marker starts", ErrInvalidOption, channel)
	}
	api, err := c.cfg.apiOf(channel, cfg.via)
	if err != nil {
		return err
	}
	if err := c.life.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	defer context.AfterFunc(c.life.ctx, cancel)() // Close does not wait for a login or a store
	ch, err := c.roster.add(channel, api)
	if err != nil {
		return err
	}
	if err = ch.start(ctx, cfg); err == nil {
		err = c.roster.join(ch)
	}
	if err != nil {
		c.roster.end(ch, nil)
		if ended := c.life.usable(); ended != nil {
			return ended
		}
		return err
	}
	return c.awaitAccepted(ctx, ch)
}

// apiOf says which of Salesforce's APIs serves a channel, and refuses names that no channel has.
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

// Key returns the key under which the client's store keeps the marker of a channel: the org, the API
// that serves the channel by [WithTransport], and the channel without its filter. The channel need
// not be followed. The error is [ErrNotOpen] before the first [Client.Open], because the org is not
// known then, or [ErrInvalidOption] for a name that no channel has.
func (c *Client) Key(channel string) (replaystore.Key, error) {
	api, err := c.cfg.apiOf(channel, Auto)
	if err != nil {
		return replaystore.Key{}, err
	}
	org := c.life.org()
	if org == "" {
		return replaystore.Key{}, ErrNotOpen
	}
	return replaystore.Key{OrgID: org, API: api, Channel: channel}.Canonical(), nil
}

// awaitAccepted waits for Salesforce's word on a new subscription.
func (c *Client) awaitAccepted(ctx context.Context, ch *channel) error {
	select {
	case <-ch.sub.Accepted():
	case <-ch.done:
	case <-ctx.Done():
		if !ch.sub.Abandon() {
			<-ch.sub.Accepted() // both at once
			break
		}
		c.roster.end(ch, nil)
		return c.notAccepted(ctx, ch)
	}
	if !ch.isAccepted() {
		return c.notAccepted(ctx, ch)
	}
	// So that a restart before the first event knows what "new" meant.
	if err := notSaved(c.inbox.Flush(ctx, lastSaves)); err != nil && c.life.usable() == nil {
		c.log.Warn("the start of a subscription is not saved yet", "channel", ch.sub.Name, "error", err)
	}
	return nil
}

// notAccepted says why Salesforce has not accepted a subscription.
func (c *Client) notAccepted(ctx context.Context, ch *channel) error {
	last, reason := ch.status.lastError(), ch.status.reason()
	switch {
	case reason != nil:
		return reason
	case c.life.usable() != nil:
		return c.life.usable()
	case ctx.Err() != nil && last != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w; the last failure: %w", ch.sub.Name, ctx.Err(), last)
	case ctx.Err() != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w", ch.sub.Name, ctx.Err())
	}
	return errUnsubscribed(ch.sub.Name)
}

// Unsubscribe stops following a channel. When it has returned, the channel hands out nothing more;
// what was waiting counts as never received, and the next [Client.Subscribe] resumes after the last
// message that was handled. The error is [ErrNotSubscribed], a *[StoreError] where the marker could
// not be saved, or ctx's.
func (c *Client) Unsubscribe(ctx context.Context, channel string) error {
	if err := c.life.usable(); err != nil {
		return err
	}
	ch := c.roster.find(channel)
	if ch == nil || isClosed(ch.sub.Removed()) {
		return fmt.Errorf("%w: %s", ErrNotSubscribed, channel)
	}
	ch.sub.Remove()
	c.inbox.MarkQuiet(ch.sub) // before another Subscribe can have its place
	if ch.managed.Load() != nil {
		c.inbox.FlushKept(ctx, lastSaves) // while its stream is open
	}
	if l := c.roster.end(ch, nil); l != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
			return ctx.Err() // the link ends by itself
		}
	}
	ch.sub.AwaitOffers() // feeders let go as soon as they see the removal
	if !ch.isAccepted() {
		return nil // its Subscribe fails, and the marker is as it was
	}
	return notSaved(c.inbox.Flush(context.Background(), lastSaves))
}

// Subscriptions returns the followed channels, sorted.
func (c *Client) Subscriptions() []string {
	var channels []string
	for _, ch := range c.roster.snapshot() {
		if ch.isAccepted() && !isClosed(ch.sub.Removed()) {
			channels = append(channels, ch.sub.Name)
		}
	}
	slices.Sort(channels)
	return channels
}
