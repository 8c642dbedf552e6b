package sfstream

import (
	"errors"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/oneline"
)

const closeTimeout = 5 * time.Second // of Close in all

// Close ends all subscriptions and loops, saves markers, and returns when nothing that the client
// started is running: within 5 seconds, whatever the network and the store do. It works inside a
// loop body and does not wait for one: the message in it is saved when that loop ends, if the store
// is still open then, else it comes again. Close may be called more than once.
//
// The error is the terminal error of the client, if there was one, joined with what Close could not
// do.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Client) close() error {
	deadline := time.Now().Add(closeTimeout)
	// 1. Nothing new starts. Consumers, links and feeders end.
	terminal := c.life.stop()
	stopped := make(chan struct{})
	go func() { c.life.running.Wait(); close(stopped) }() // ends with what it waits for
	var errs []error
	timer := time.NewTimer(closeTimeout - time.Second)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		errs = append(errs, errors.New("sfstream: close: a hook, a login or a store does not return"))
	}

	// 2. The last save, then the connections.
	var channels []*inbox.Channel[Message]
	for _, ch := range c.roster.snapshot() {
		if ch.isAccepted() {
			channels = append(channels, ch.sub)
		}
	}
	if err := c.inbox.Close(time.Until(deadline), channels...); err != nil {
		errs = append(errs, notSaved(err))
	}
	c.roster.pubsub.close()
	c.roster.cometd.close()
	if len(errs) == 0 {
		return terminal
	}
	return oneline.Join(append([]error{terminal}, errs...)...)
}
