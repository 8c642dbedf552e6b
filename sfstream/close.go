package sfstream

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

const closeTimeout = 5 * time.Second // of Close in all

// fail ends the client with its terminal error. Consumers still get what waits.
func (c *Client) fail(err error) {
	c.mu.Lock()
	first := c.err == nil && c.state != clientClosed
	if first {
		c.err = err
		close(c.ended)
	}
	c.mu.Unlock()
	if first {
		c.log.Error("client ended", "error", err)
		c.cancel()
	}
}

// Close ends all subscriptions and loops, saves markers, and returns when
// nothing that the client started is running: within 5 seconds, whatever the
// network and the store do. It works inside a loop body and does not wait for
// one: the message in it is saved when that loop ends, if the store is still
// open then, else it comes again. Close may be called more than once.
//
// The error is the terminal error of the client, if there was one, joined with
// what Close could not do.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Client) close() error {
	deadline := time.Now().Add(closeTimeout)
	// 1. Nothing new starts, and consumers end.
	c.mu.Lock()
	terminal := c.err
	c.state = clientClosed
	feeds := slices.Collect(maps.Values(c.feeds))
	c.mu.Unlock()
	close(c.closed)

	// 2. Links and feeders end.
	c.cancel()
	stopped := make(chan struct{})
	go func() { c.running.Wait(); close(stopped) }() // ends with what it waits for
	var errs []error
	timer := time.NewTimer(closeTimeout - time.Second)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		errs = append(errs, errors.New("sfstream: close: a hook, a login or a store does not return"))
	}

	// 3. The last save, then the connections.
	var channels []*inbox.Channel[Message]
	for _, f := range feeds {
		if f.isAccepted() {
			channels = append(channels, f.sub)
		}
	}
	if err := c.inbox.Close(time.Until(deadline), channels...); err != nil {
		errs = append(errs, notSaved(err))
	}
	c.pubsub.close()
	c.cometd.close()
	if len(errs) == 0 {
		return terminal
	}
	return join(append([]error{terminal}, errs...)...)
}
