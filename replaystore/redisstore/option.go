package redisstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const defaultPrefix = "sfstream:"

// Retention is the shortest time to live that [WithTTL] takes, 72 hours: that long Salesforce keeps
// events. A marker that expires earlier means a silent start at new events.
const Retention = 72 * time.Hour

// Option is an option of [New] and [NewStore].
type Option interface {
	StoreOption
	applyRegister(r *Register)
}

// StoreOption is an option of [NewStore].
type StoreOption interface {
	applyStore(s *Store) error
}

// WithPrefix says what all keys begin with, "sfstream:" by default. What follows is the text of a
// [replaystore.Key] for a [Store], and the key of the caller for a [Register]. A Store and a
// Register need different prefixes, as do programs that follow the same channels independently.
func WithPrefix(prefix string) Option { return withPrefix(prefix) }

type withPrefix string

func (p withPrefix) applyRegister(r *Register) { r.prefix = string(p) }

func (p withPrefix) applyStore(s *Store) error {
	s.prefix = string(p)
	return nil
}

// WithTTL lets a marker expire when it was not saved for that long, which is at least [Retention].
// By default it never does. A client that follows a quiet channel saves its marker at most hourly.
func WithTTL(ttl time.Duration) StoreOption { return withTTL(ttl) }

type withTTL time.Duration

func (t withTTL) applyStore(s *Store) error {
	if time.Duration(t) < Retention {
		return fmt.Errorf("redisstore: WithTTL(%v) is shorter than the %v for which Salesforce keeps events: "+
			"a marker that expires means a start at new events, without those before", time.Duration(t), Retention)
	}
	s.ttl = time.Duration(t)
	return nil
}

func usable(client redis.UniversalClient) error {
	switch client.(type) {
	case nil:
		return errors.New("redisstore: the client is nil")
	case *redis.Ring:
		return errors.New("redisstore: a redis.Ring asks another server while one is away, and finds no marker there: " +
			"use a redis.Client or a redis.ClusterClient")
	}
	return nil
}
