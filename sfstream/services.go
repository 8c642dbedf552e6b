package sfstream

import (
	"log/slog"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/probe"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// services is what a client shares with its links and channels. It is complete before the first of
// them exists and does not change afterwards.
type services struct {
	cfg    *config
	log    *slog.Logger
	clock  *serverclock.Clock
	logins *logins
	inbox  *inbox.Inbox[Message]
	life   *lifetime
}

// newServices makes the services and the two transports of a client. It does no I/O.
func newServices(cfg *config, auth authenticator.Authenticator) (s *services, pubsub, cometd transport) {
	clock, life := new(serverclock.Clock), newLifetime(cfg.log)
	httpClient := clock.Watch(probe.Client(cfg.httpClient), cfg.loginURL)
	return &services{
		cfg: cfg, log: cfg.log, clock: clock, life: life,
		logins: newLogins(cfg, auth, authenticator.Login{URL: cfg.loginURL, HTTPClient: httpClient}, clock),
		inbox:  newInbox(cfg, life.fail),
	}, newPubsub(cfg), newCometd(cfg, httpClient)
}
