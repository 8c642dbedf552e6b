package sfstream

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

const (
	loginTimeout = 30 * time.Second // of one login while reconnecting

	// At most loginBudget tokens may be refused within loginPeriod before the
	// client ends: logging in over and over locks accounts.
	loginBudget = 5
	loginPeriod = 10 * time.Minute
)

// credentials returns a token that has not been refused yet, after a login if
// need be. All links share one login.
func (c *Client) credentials(ctx context.Context, channel string) (*authenticator.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	creds, err := c.cache.Get(ctx, c.login)
	switch {
	case err != nil:
	case creds.OrgID == "" || creds.InstanceURL == "" || creds.AccessToken == "":
		err = fmt.Errorf("%w: the authenticator's credentials lack an access token, instance URL or org id", ErrInvalidOption)
	default:
		return creds, nil
	}
	return nil, &AuthError{LoginURL: c.login.URL, Channel: channel, err: err}
}

// refusal is a login whose token Salesforce refused.
type refusal struct {
	token  [sha256.Size]byte // its hash: what is printed of a client must hold no secret
	issued time.Time         // tells two logins that gave the same token apart; zero where the flow does not tell
	at     time.Time
}

func refusalOf(creds *authenticator.Credentials) refusal {
	return refusal{sha256.Sum256([]byte(creds.AccessToken)), creds.IssuedAt, time.Now()}
}

func (r refusal) same(other refusal) bool {
	return r.token == other.token && r.issued.Equal(other.issued)
}

// invalidate drops credentials that Salesforce refused. It reports whether the
// budget allows another login. Links that fail with one login count once; again
// says that the caller has logged in since and got no other token.
func (c *Client) invalidate(creds *authenticator.Credentials, again bool) bool {
	refused := refusalOf(creds)
	c.mu.Lock()
	c.refusals = slices.DeleteFunc(c.refusals, func(r refusal) bool { return refused.at.Sub(r.at) >= loginPeriod })
	if again || !slices.ContainsFunc(c.refusals, refused.same) {
		c.refusals = append(c.refusals, refused)
	}
	within := len(c.refusals) <= loginBudget
	c.mu.Unlock()
	c.cache.Invalidate(creds)
	return within
}

// renew drops credentials that were not refused, for a channel that is denied. It
// reports whether it did: once in a while, however many channels are denied.
func (c *Client) renew(creds *authenticator.Credentials) bool {
	now := time.Now()
	c.mu.Lock()
	recent := !c.renewed.IsZero() && now.Sub(c.renewed) < renewEvery
	if !recent {
		c.renewed = now
	}
	c.mu.Unlock()
	if !recent {
		c.cache.Invalidate(creds)
	}
	return !recent
}
