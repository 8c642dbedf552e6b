package sfstream

import (
	"context"
	"iter"
)

// Messages returns a loop over the client's messages:
//
//	for msg := range client.Messages(ctx) {
//
// Under [AckAuto] a message is handled when the loop asks for the next one. break, return and panic
// leave it unhandled: it comes first in the next loop, [Client.Receive] or C, and again in a
// restarted program; msg.Ack() before leaving settles it. The loop ends when ctx does, with
// [Client.Close], and when the client stops for good, which [Client.Err] then explains; the client
// lives on after a ctx has ended. Before it ends the markers of what was handled are saved.
//
// But for [AckManual] there is one consumer at a time: another loop, Receive or C waits its turn.
func (c *Client) Messages(ctx context.Context) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		if !c.enter(ctx) {
			return
		}
		defer c.leave()
		for {
			m := c.take(ctx)
			if m == nil || !yield(m) {
				return
			}
		}
	}
}

// MessagesErr is [Client.Messages] with the terminal error of the client as the last value, once,
// with a nil message. A ctx that ends and a [Client.Close] yield none.
func (c *Client) MessagesErr(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for m := range c.Messages(ctx) {
			if !yield(m, nil) {
				return
			}
		}
		if err := c.Err(); err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// Receive returns the next message. Under [AckAuto] the one before it is handled then; the last one
// that a program takes needs [Message.Ack]. The error is ctx's, [ErrNotOpen], [ErrClosed] or the
// terminal error of the client.
func (c *Client) Receive(ctx context.Context) (*Message, error) {
	if c.enter(ctx) {
		m := c.take(ctx)
		c.exit()
		if m != nil {
			return m, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, c.stopped()
}

// C returns a channel of the client's messages, for select. Under [AckAuto] a message is handled
// when the next one is taken; the last one taken needs [Message.Ack]. The channel closes when ctx
// ends, with [Client.Close], and when the client stops for good; a message that nobody took goes
// back to the head of the queue, and so does one that was taken and is unhandled. [Client.Messages]
// is the cheaper way.
func (c *Client) C(ctx context.Context) <-chan *Message {
	messages := make(chan *Message)
	if c.life.start() != nil {
		close(messages)
		return messages
	}
	go c.feedC(ctx, messages) // ends with ctx or the client; Close waits for it
	return messages
}

// feedC sends messages to the channel of a C until ctx or the client ends.
func (c *Client) feedC(ctx context.Context, messages chan<- *Message) {
	defer c.life.running.Done()
	defer close(messages)
	if !c.enter(ctx) {
		return
	}
	defer c.leave()
	for {
		m := c.next(ctx, c.inbox.Offer)
		if m == nil {
			return
		}
		select {
		case messages <- m:
			m.slot.Taken()
		case <-m.slot.Channel().Removed():
			m.slot.Withdraw()
		case <-ctx.Done():
			m.slot.Withdraw()
			return
		case <-c.life.closed:
			m.slot.Withdraw()
			return
		}
	}
}

// take hands out the next message, after it has settled the one before. It returns nil when ctx has
// ended or there will be no more messages.
func (c *Client) take(ctx context.Context) *Message {
	m := c.next(ctx, c.inbox.Next)
	if m == nil {
		c.inbox.SettleCurrent() // asked for the next one, whatever came of it
	}
	return m
}

// next waits until poll has a message.
func (c *Client) next(ctx context.Context, poll func() *Message) *Message {
	for {
		if c.ends(ctx) {
			c.inbox.PassOn() // if this one was woken, another should be
			return nil
		}
		// Read first: what waits when the client ends is still handed out.
		ended := isClosed(c.life.ended)
		if m := poll(); m != nil {
			return m
		}
		if ended {
			return nil
		}
		c.waiting.Add(1)
		select {
		case <-c.inbox.Ready():
		case <-c.life.ended:
		case <-c.life.closed:
		case <-ctx.Done():
		}
		c.waiting.Add(-1)
	}
}

// ends reports whether a consumer takes no further message.
func (c *Client) ends(ctx context.Context) bool {
	return ctx.Err() != nil || isClosed(c.life.closed) || !c.life.holds()
}

// notify wakes the one receiver of a channel of capacity 1. It never blocks.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// enter waits for this consumer's turn. It reports whether there is anything to consume from.
func (c *Client) enter(ctx context.Context) bool {
	if c.life.now() == clientNew {
		return false
	}
	if c.cfg.ack == AckManual {
		return true
	}
	select {
	case c.turn <- struct{}{}:
		return true
	default:
	}
	c.crowded.Do(func() {
		c.log.Warn("another loop, Receive or C is consuming: waiting for its end; use AckManual to have several")
	})
	select {
	case c.turn <- struct{}{}:
		return true
	case <-ctx.Done():
	case <-c.life.closed:
	}
	return false
}

// exit ends this consumer's turn.
func (c *Client) exit() {
	if c.cfg.ack != AckManual {
		<-c.turn
	}
}

// leave ends a loop: its unhandled message goes back, what it handled is saved.
func (c *Client) leave() {
	c.inbox.Leave()
	c.exit()
	if err := notSaved(c.inbox.Flush(context.Background(), lastSaves)); err != nil && !isClosed(c.life.closed) {
		c.log.Warn("markers not saved at the end of a loop", "error", err)
	}
}
