package cluster

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

// An Option configures a replica; see [New].
type Option func(*config) error

type config struct {
	name   string
	prefix string
	lease  time.Duration
	save   time.Duration // the least time between two puts; 0: the default
	hooks  Hooks

	register replaystore.Register
}

func newConfig(opts []Option) (config, error) {
	cfg := config{lease: 10 * time.Second}
	var mistakes []error
	for _, opt := range opts {
		mistakes = append(mistakes, opt(&cfg))
	}
	if cfg.name == "" {
		host, _ := os.Hostname()
		cfg.name = cmp.Or(host, "replica")
	}
	if cfg.save > cfg.lease/3 {
		mistakes = append(mistakes, fmt.Errorf("%w: cluster.WithSaveInterval: %s is more than a third of the lease, %s",
			sfstream.ErrInvalidOption, cfg.save, cfg.lease))
	}
	if cfg.save == 0 {
		cfg.save = min(time.Second, cfg.lease/3)
	}
	return cfg, oneline.Join(mistakes...)
}

const (
	shortestLease, longestLease = time.Second, 5 * time.Minute
	shortestSave                = 10 * time.Millisecond
	longestName                 = 128
)

// WithName sets the replica's name, of at most 128 bytes. The default is the name of the host,
// which is the pod's in Kubernetes. Two replicas should not share one, because the order in which a
// replica takes channels follows from its name; a restarted replica keeps its name.
func WithName(name string) Option {
	return func(c *config) error {
		c.name = name
		if name == "" || len(name) > longestName {
			return fmt.Errorf("%w: cluster.WithName: %d bytes are not between 1 and %d", sfstream.ErrInvalidOption, len(name), longestName)
		}
		return nil
	}
}

// WithPrefix sets what all keys of the cluster in the register begin with. The default is nothing.
// Clusters that follow the same channel of the same org for different purposes need different
// prefixes: else one of them gets its events.
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		c.prefix = prefix
		if len(prefix) > longestName {
			return fmt.Errorf("%w: cluster.WithPrefix: %d bytes are more than %d", sfstream.ErrInvalidOption, len(prefix), longestName)
		}
		return nil
	}
}

// WithLease sets for how long a channel belongs to its leader without another put, from one second
// to 5 minutes. The default is 10 seconds. A shorter lease makes takeovers faster, and an engine or
// a garbage collector that stands still for so long makes one more often. Replicas may have
// different leases, as while they are deployed anew: a standby goes by the longer one.
func WithLease(d time.Duration) Option {
	return func(c *config) error {
		c.lease = d
		if d < shortestLease || d > longestLease {
			return fmt.Errorf("%w: cluster.WithLease: %s is not between %s and %s", sfstream.ErrInvalidOption, d, shortestLease, longestLease)
		}
		return nil
	}
}

// WithSaveInterval sets the least time between two puts of a leader, from 10 milliseconds to a
// third of the lease. The default is one second, or a third of the lease if that is less. What is
// handled in that time comes again after a crash.
func WithSaveInterval(d time.Duration) Option {
	return func(c *config) error {
		c.save = d
		if d < shortestSave {
			return fmt.Errorf("%w: cluster.WithSaveInterval: %s is less than %s", sfstream.ErrInvalidOption, d, shortestSave)
		}
		return nil
	}
}

// WithHooks sets functions that the replica calls when something happens.
func WithHooks(h Hooks) Option {
	return func(c *config) error { c.hooks = h; return nil }
}

// keyText is the register's key of a channel.
func (c *config) keyText(key replaystore.Key) string {
	text, _ := key.Canonical().MarshalText() // the error is always nil
	return c.prefix + string(text)
}

// membersKey is the register's key of the members.
func (c *config) membersKey(org string) string {
	return c.keyText(replaystore.Key{OrgID: org, API: "members"})
}

// The times that follow from the lease.

// hold is for how long a leader relies on its lease: clocks may differ in their rate by a tenth.
func (c *config) hold() time.Duration { return c.lease - c.lease/10 }

// beat is how often a leader puts and a member moves its counter, without need.
func (c *config) beat() time.Duration { return c.lease / 3 }

// poll is how often a standby reads.
func (c *config) poll() time.Duration { return c.lease / 5 }

// patience is how long a read may take. The engine is asked again soon after an outage, so a read
// that hangs must not hang for long.
func (c *config) patience() time.Duration {
	return min(max(c.lease/10, 500*time.Millisecond), 10*time.Second)
}

// pause is between two attempts while the engine fails.
func (c *config) pause() time.Duration {
	return min(max(c.lease/20, 100*time.Millisecond), 500*time.Millisecond)
}

const (
	// sessionless is how long a leader may be without a session if there are others.
	sessionless = time.Minute
	// avoidance is how long a channel that was handed over for that, or that nobody else has taken,
	// is left alone.
	avoidance = 5 * time.Minute
)
