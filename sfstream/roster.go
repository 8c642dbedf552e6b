package sfstream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// A roster knows which channels a client follows, and by which links.
type roster struct {
	*services
	pubsub *pubsub
	cometd transport

	mu        sync.Mutex          // life.mu, channelStatus.mu and Inbox.mu may be taken under it
	channels  map[string]*channel // by bare channel name
	links     map[*channel]*link  // of the channels that have joined one and have not ended
	streaming *link               // follows all channels of the Streaming API; nil: there are none
}

func newRoster(s *services, bus *pubsub, cometd transport) *roster {
	return &roster{services: s, pubsub: bus, cometd: cometd, channels: make(map[string]*channel), links: make(map[*channel]*link)}
}

// add reserves a channel. Nothing follows it before join.
func (r *roster) add(name, api string) (*channel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.life.usable(); err != nil {
		return nil, err
	}
	key := replaystore.Key{OrgID: r.life.org(), API: api, Channel: name}.Canonical()
	if r.channels[key.Channel] != nil {
		return nil, fmt.Errorf("%w: %s", ErrAlreadySubscribed, name)
	}
	ch := &channel{
		services: r.services, sub: r.inbox.Channel(name, key), done: make(chan struct{}),
		refusal: refusal{since: time.Now()},
	}
	r.channels[key.Channel] = ch
	return ch, nil
}

// join gives a channel to the link that is to follow it. Channels of the Streaming API share one
// link; each channel of the Pub/Sub API has its own.
func (r *roster) join(ch *channel) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.life.usable(); err != nil {
		return err
	}
	if ch.ended {
		return errUnsubscribed(ch.sub.Name) // while its marker was loaded
	}
	l := r.streaming
	if ch.sub.Key.API != apiCometD {
		l = newLink(r, r.pubsub)
	} else if l == nil {
		l = newLink(r, r.cometd)
	}
	isNew := len(l.channels) == 0
	if isNew {
		if err := r.life.start(); err != nil {
			return err
		}
	}
	if ch.sub.Key.API == apiCometD {
		r.streaming = l
	}
	r.links[ch] = l
	ch.sub.Notify(l.changed)
	l.channels = append(l.channels, ch)
	if isNew {
		go l.run() // ends with l.ctx; Close and Unsubscribe wait for it
	} else {
		notify(l.changed)
	}
	return nil
}

// retire takes a link out of service, so that no further channel joins it, and returns the channels
// that it still follows.
func (r *roster) retire(l *link) []*channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streaming == l {
		r.streaming = nil
	}
	return slices.Clone(l.channels)
}

// end ends the following of a channel, once. An error of a channel that was accepted ends the
// client, unless a hook says that the channel alone is dropped. If the channel was the last one of
// its link, the link ends and end returns it.
func (r *roster) end(ch *channel, err error) (ending *link) {
	r.mu.Lock()
	if ch.ended {
		r.mu.Unlock()
		return nil
	}
	ch.ended = true
	ch.status.end(err)
	l := r.links[ch]
	if delete(r.links, ch); l != nil {
		l.channels = slices.DeleteFunc(slices.Clone(l.channels), func(other *channel) bool { return other == ch })
		if len(l.channels) == 0 {
			ending = l
			if r.streaming == l {
				r.streaming = nil
			}
		}
	}
	r.mu.Unlock()

	ch.set(StateEnded)
	if err != nil && ch.isAccepted() && !isClosed(ch.sub.Removed()) {
		hook := r.cfg.hooks.OnSubscriptionError
		var login *AuthError // concerns all channels: each of them would fail with it
		if hook != nil && !errors.As(err, &login) && hook(ch.sub.Name, err) {
			r.log.Warn("subscription dropped", "channel", ch.sub.Name, "error", err)
			ch.sub.Remove()
		} else {
			r.life.fail(err)
		}
	}
	// A channel that has failed stays in the roster, so that Status shows it.
	if !ch.isAccepted() || isClosed(ch.sub.Removed()) {
		r.mu.Lock()
		delete(r.channels, ch.sub.Key.Channel)
		r.mu.Unlock()
	}
	close(ch.done)
	if ending != nil {
		ending.cancel()
	} else if l != nil {
		notify(l.changed)
	}
	return ending
}

// find returns the channel of a name, nil if there is none.
func (r *roster) find(channel string) *channel {
	name := replaystore.Key{Channel: channel}.Canonical().Channel
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.channels[name]
}

// snapshot returns all channels.
func (r *roster) snapshot() []*channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.channels))
}

// A followed is a channel with the link that follows it, nil where it has not joined one or has
// ended.
type followed struct {
	*channel
	link *link
}

// overview returns all channels with their links.
func (r *roster) overview() (all []followed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ch := range r.channels {
		all = append(all, followed{ch, r.links[ch]})
	}
	return all
}

// following returns the channels that a link follows.
func (r *roster) following(l *link) []*channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(l.channels)
}

func errUnsubscribed(channel string) error {
	return fmt.Errorf("%w: %s", ErrUnsubscribed, channel)
}
