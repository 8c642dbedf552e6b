package sfstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// cometd is the transport over the Streaming API. All channels share a session.
type cometd struct {
	client  *http.Client
	version *apiVersion
	raw     func(channel string, message []byte)
	log     *slog.Logger
	codec   *codec    // of all events
	strange sync.Once // of warnStrange
}

func newCometd(cfg *config, client *http.Client, version *apiVersion) transport {
	return &cometd{
		client:  client,
		version: version,
		raw:     cfg.hooks.OnRaw,
		log:     cfg.log,
		codec:   &codec{prefs: &cfg.prefs},
	}
}

func (t *cometd) close() {
	// A program may share its own http.Transport with others: they open new connections.
	t.client.CloseIdleConnections()
}

func (t *cometd) open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error) {
	instance := strings.TrimSuffix(creds.InstanceURL, "/")
	if !secureURL(instance) {
		return nil, fmt.Errorf("%w: instance URL %q is not an https URL (http is for loopback only)", ErrInvalidOption, instance)
	}
	version, err := t.version.get(ctx, instance)
	if err != nil {
		return nil, err
	}
	b := bayeux.NewSession(t.client, instance+"/cometd/"+version, creds.AccessToken)
	b.Raw = t.raw
	if err := b.Handshake(ctx); err != nil {
		return nil, translateCometD("", err)
	}
	s := &cometdSession{
		bayeux: b, life: ctx, merger: newMerger(t.codec),
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), strange: t.warnStrange,
	}
	// Requests outlive ctx, because close disconnects from the server before it ends them.
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() { s.poll(reqs) }) // close waits for it
	return s, nil
}

// warnStrange warns, once, that events of a followed channel come under another name: the session
// cannot tell that they belong to it.
func (t *cometd) warnStrange(subscribed, named string) {
	t.strange.Do(func() {
		t.log.Warn("events come under another name than the one that was subscribed, and are nobody's: subscribe by the name of the events",
			"channel", subscribed, "events", named)
	})
}
