package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Store is a [replaystore.Store] in Redis: one string for each key, in the encoding of
// [replaystore.Marker]. It serves one process per key, and does not notice a second one: for that
// there is [Register].
type Store struct {
	client redis.UniversalClient
	prefix string
	ttl    time.Duration // 0: markers do not expire
}

// NewStore returns a store that uses client, which stays the caller's to close. It fails if client
// is nil or a [redis.Ring], or an option is not legal. It does not ask the server anything.
func NewStore(client redis.UniversalClient, opts ...StoreOption) (*Store, error) {
	if err := usable(client); err != nil {
		return nil, err
	}
	s := &Store{client: client, prefix: defaultPrefix}
	for _, opt := range opts {
		if err := opt.applyStore(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// The script reads by the primary: a replica that is behind may not have the marker yet, and "there
// is none" would be a start at new events.
var loadScript = redis.NewScript(`return redis.call('GET', KEYS[1])`)

// Load implements [replaystore.Store].
func (s *Store) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	name := s.name(key)
	text, err := wait(ctx, func() (string, error) {
		return loadScript.Run(ctx, s.client, []string{name}).Text()
	})
	if errors.Is(err, redis.Nil) {
		return replaystore.Marker{}, replaystore.ErrNotFound
	}
	var marker replaystore.Marker
	if err == nil {
		err = marker.UnmarshalBinary([]byte(text))
	}
	if err != nil {
		return replaystore.Marker{}, fmt.Errorf("redisstore: reading %q: %w", name, err)
	}
	return marker, nil
}

// Save implements [replaystore.Store], in one pipeline. After an error some of the keys may have
// their new markers.
func (s *Store) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	values := make(map[string][]byte, len(markers))
	for key, marker := range markers {
		name := s.name(key)
		if _, twice := values[name]; twice {
			return fmt.Errorf("redisstore: two spellings of the key %+v in one Save", key.Canonical())
		}
		value, err := marker.MarshalBinary()
		if err != nil {
			return fmt.Errorf("redisstore: writing %q: %w", name, err)
		}
		values[name] = value
	}
	_, err := wait(ctx, func() ([]redis.Cmder, error) {
		return s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for name, value := range values {
				pipe.Set(ctx, name, value, s.ttl)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("redisstore: writing %d markers: %w", len(values), err)
	}
	return nil
}

// Delete deletes the marker of key. If there is none, that is no error.
func (s *Store) Delete(ctx context.Context, key replaystore.Key) error {
	name := s.name(key)
	if _, err := wait(ctx, func() (int64, error) { return s.client.Del(ctx, name).Result() }); err != nil {
		return fmt.Errorf("redisstore: deleting %q: %w", name, err)
	}
	return nil
}

func (s *Store) name(key replaystore.Key) string {
	text, _ := key.Canonical().MarshalText() // its error is always nil
	return s.prefix + string(text)
}
