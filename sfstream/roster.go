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
	pubsub transport
	cometd transport

	mu        sync.Mutex       // life.mu may be taken under it
	feeds     map[string]*feed // by bare channel name
	links     map[*feed]*link  // of the channels that have joined one and have not ended
	streaming *link            // follows all channels of the Streaming API; nil: there are none
}

func newRoster(s *services, pubsub, cometd transport) *roster {
	return &roster{services: s, pubsub: pubsub, cometd: cometd, feeds: make(map[string]*feed), links: make(map[*feed]*link)}
}

// add reserves a channel. Nothing follows it before join.
func (r *roster) add(channel, api string) (*feed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.life.usable(); err != nil {
		return nil, err
	}
	key := replaystore.Key{OrgID: r.life.org(), API: api, Channel: channel}.Canonical()
	if r.feeds[key.Channel] != nil {
		return nil, fmt.Errorf("%w: %s", ErrAlreadySubscribed, channel)
	}
	f := &feed{
		services: r.services, sub: r.inbox.Channel(channel, key), done: make(chan struct{}),
		refusal: refusal{since: time.Now()},
	}
	r.feeds[key.Channel] = f
	return f, nil
}

// join gives a channel to the link that is to follow it. Channels of the Streaming API share one
// link; each channel of the Pub/Sub API has its own.
func (r *roster) join(f *feed) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.life.usable(); err != nil {
		return err
	}
	if f.ended {
		return errUnsubscribed(f.sub.Name) // while its marker was loaded
	}
	l := r.streaming
	if f.sub.Key.API == apiPubSub {
		l = newLink(r, r.pubsub)
	} else if l == nil {
		l = newLink(r, r.cometd)
	}
	isNew := len(l.feeds) == 0
	if isNew {
		if err := r.life.start(); err != nil {
			return err
		}
	}
	if f.sub.Key.API == apiCometD {
		r.streaming = l
	}
	r.links[f] = l
	f.sub.Notify(l.changed)
	l.feeds = append(l.feeds, f)
	if isNew {
		go l.run() // ends with l.life; Close and Unsubscribe wait for it
	} else {
		notify(l.changed)
	}
	return nil
}

// retire takes a link out of service, so that no further channel joins it, and returns the channels
// that it still follows.
func (r *roster) retire(l *link) []*feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streaming == l {
		r.streaming = nil
	}
	return slices.Clone(l.feeds)
}

// end ends the following of a channel, once. An error of a channel that was accepted ends the
// client, unless a hook says that the channel alone is dropped. If the channel was the last one of its
// link, the link ends and end returns it.
func (r *roster) end(f *feed, err error) (ending *link) {
	r.mu.Lock()
	if f.ended {
		r.mu.Unlock()
		return nil
	}
	f.ended = true
	f.status.end(err)
	l := r.links[f]
	if delete(r.links, f); l != nil {
		l.feeds = slices.DeleteFunc(slices.Clone(l.feeds), func(other *feed) bool { return other == f })
		if len(l.feeds) == 0 {
			ending = l
			if r.streaming == l {
				r.streaming = nil
			}
		}
	}
	r.mu.Unlock()

	f.set(StateEnded)
	if err != nil && f.isAccepted() && !isClosed(f.sub.Removed()) {
		hook := r.cfg.hooks.OnSubscriptionError
		var login *AuthError // concerns all channels: each of them would fail with it
		if hook != nil && !errors.As(err, &login) && hook(f.sub.Name, err) {
			r.log.Warn("subscription dropped", "channel", f.sub.Name, "error", err)
			f.sub.Remove()
		} else {
			r.life.fail(err)
		}
	}
	// A channel that has failed stays in the roster, so that Status shows it.
	if !f.isAccepted() || isClosed(f.sub.Removed()) {
		r.mu.Lock()
		delete(r.feeds, f.sub.Key.Channel)
		r.mu.Unlock()
	}
	close(f.done)
	if ending != nil {
		ending.cancel()
	} else if l != nil {
		notify(l.changed)
	}
	return ending
}

// find returns the channel of a name, nil if there is none.
func (r *roster) find(channel string) *feed {
	name := replaystore.Key{Channel: channel}.Canonical().Channel
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.feeds[name]
}

// snapshot returns all channels.
func (r *roster) snapshot() []*feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.feeds))
}

// following returns the channels that a link follows.
func (r *roster) following(l *link) []*feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(l.feeds)
}

func errUnsubscribed(channel string) error {
	return fmt.Errorf("%w: %s", ErrUnsubscribed, channel)
}
