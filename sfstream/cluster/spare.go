package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// NewClient makes a client with the options that it is given after the program's own. It is called
// once for each takeover, and a time more. An error ends [Replica.Lead] at its beginning only. Later
// the replica leads on what it leads, and calls NewClient again: after a second, and then after twice
// as long each time, up to a minute. Where the login is refused that is two minutes, up to an hour,
// because Salesforce locks accounts that log in wrongly too often.
type NewClient func(...sfstream.Option) (*sfstream.Client, error)

// A spare is a client that is open, follows nothing, and has a store that belongs to no leadership
// yet.
type spare struct {
	*sfstream.Client
	store *store
}

// openSpare opens a client, and tries again after trouble that may pass.
func (r *Replica) openSpare(ctx context.Context) (*spare, error) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		s := &spare{store: newStore(&r.cfg)}
		var err error
		if s.Client, err = r.newClient(sfstream.WithReplayStore(s.store)); err != nil {
			return nil, err
		}
		if s.Client == nil {
			return nil, fmt.Errorf("%w: cluster: newClient has made no client", sfstream.ErrInvalidOption)
		}
		if err = s.Open(ctx); err == nil {
			return s, nil
		}
		_ = s.Close() // it has nothing to save
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if isRefused(err) {
			return nil, err
		}
		s.Logger().Warn("cluster: no login, and so no part in the cluster", "error", err, "again_in", wait)
		sleep(ctx, wait)
	}
}

// isRefused reports whether a login would be refused again.
func isRefused(err error) bool {
	var login *authenticator.Error
	return errors.As(err, &login) && authenticator.Permanent(err)
}

// keepSpare has one open client ready until ctx ends. It runs on a goroutine of its own.
func (r *Replica) keepSpare(ctx context.Context, first *spare) {
	for s := first; ; {
		select {
		case r.spares <- s:
		case <-ctx.Done():
			_ = s.Close()
			return
		}
		var err error
		var wait time.Duration
		for s, err = r.openSpare(ctx); err != nil; s, err = r.openSpare(ctx) {
			if ctx.Err() != nil {
				return
			}
			least, most := time.Second, time.Minute
			if isRefused(err) {
				least, most = 2*time.Minute, time.Hour // each client has a login budget of its own
			}
			wait = min(max(2*wait, least), most)
			r.log.Warn("cluster: no client for further channels", "error", err, "again_in", wait)
			sleep(ctx, wait)
		}
	}
}
