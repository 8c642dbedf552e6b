package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Register is a [replaystore.Register] in Redis: one hash for each key, with the fields value and
// rev. The hash has no time to live.
type Register struct {
	client redis.UniversalClient
	prefix string
}

// New returns a register that uses client, which stays the caller's to close. It fails if client is
// nil or a [redis.Ring]. It does not ask the server anything.
func New(client redis.UniversalClient, opts ...Option) (*Register, error) {
	if err := usable(client); err != nil {
		return nil, err
	}
	r := &Register{client: client, prefix: defaultPrefix}
	for _, opt := range opts {
		opt.applyRegister(r)
	}
	return r, nil
}

// The script reads by the primary, as only scripts that may write do, and both fields at once.
var getScript = redis.NewScript(`return redis.call('HMGET', KEYS[1], 'value', 'rev')`)

// ARGV is the revision that is expected, the value, and its revision. That one is there already if
// the client repeats a put whose reply was lost.
var putScript = redis.NewScript(`
local rev = redis.call('HGET', KEYS[1], 'rev') or ''
if rev == ARGV[3] then return 1 end
if rev ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'rev', ARGV[3])
return 1`)

// Get implements [replaystore.Register].
func (r *Register) Get(ctx context.Context, key string) (value []byte, rev string, err error) {
	fields, err := wait(ctx, func() ([]any, error) {
		return getScript.Run(ctx, r.client, []string{r.prefix + key}).Slice()
	})
	if err != nil {
		return nil, "", fmt.Errorf("redisstore: reading %q: %w", r.prefix+key, err)
	}
	if len(fields) == 2 && fields[0] == nil && fields[1] == nil {
		return nil, "", replaystore.ErrNotFound
	}
	if len(fields) == 2 {
		text, isText := fields[0].(string)
		if rev, ok := fields[1].(string); ok && isText && rev != "" {
			return []byte(text), rev, nil
		}
	}
	return nil, "", fmt.Errorf("redisstore: %q is not a hash of a value and its revision: something else has written it", r.prefix+key)
}

// Put implements [replaystore.Register]. A revision is random text, new for each Put, so that none
// comes again, also where the key or all of them were deleted.
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	newRev, copied := rand.Text(), string(value) // the call below may outlive this one
	done, err := wait(ctx, func() (bool, error) {
		return putScript.Run(ctx, r.client, []string{r.prefix + key}, rev, copied, newRev).Bool()
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("redisstore: writing %q: %w", r.prefix+key, err)
	case !done:
		return "", replaystore.ErrConflict
	}
	return newRev, nil
}
