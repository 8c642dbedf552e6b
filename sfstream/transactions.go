package sfstream

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

// A Transaction is the change events of one Salesforce transaction that came one after the other on
// one channel. A message that is no change event, that cannot be read, or that reports a gap is a
// Transaction of its own.
type Transaction struct {
	Channel  string
	Key      string     // TransactionKey; empty where the message is no change event or cannot be read
	Messages []*Message // in the order of the channel
	// Changes has what Message.Change returns for each message, nil where that is an error.
	Changes []*ChangeEvent
	End     TransactionEnd

	sub  *inbox.Channel[Message]
	last time.Time // when the last message was added
}

// TransactionEnd says why nothing more was added to a transaction. Salesforce does not say which
// change of one is the last.
type TransactionEnd int

const (
	// EndNext: the channel went on with something else.
	EndNext TransactionEnd = iota
	// EndGap: the message is a gap or an overflow; or the channel went on with one, or with a
	// message that cannot be read, which may be a part of this transaction.
	EndGap
	// EndQuiet: nothing came on the channel for the given time, perhaps because the connection was
	// lost.
	EndQuiet
	// EndFull: there is no room for more (see WithPrefetch). The rest of the transaction comes as a
	// further one.
	EndFull
)

// String returns the name of the end, as in "EndNext".
func (e TransactionEnd) String() string {
	names := [...]string{"EndNext", "EndGap", "EndQuiet", "EndFull"}
	if e < 0 || int(e) >= len(names) {
		return "TransactionEnd(?)"
	}
	return names[e]
}

// Contiguous reports whether the sequence numbers run from 1 without a hole. They do not on the
// channel of one object where a transaction changed others too: /data/ChangeEvents and custom
// channels have them all, if all objects are selected.
func (t *Transaction) Contiguous() bool {
	numbers := make([]int, 0, len(t.Changes))
	for _, c := range t.Changes {
		if c == nil || c.IsGap() {
			return false
		}
		numbers = append(numbers, c.SequenceNumber)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers) // a reconnect may repeat one
	n := len(numbers)
	return n > 0 && numbers[0] == 1 && numbers[n-1] == n
}

// Complete reports whether this is all of the transaction, as far as anybody can know: it is
// [Transaction.Contiguous], and the channel went on with something else. After [EndQuiet] more may
// follow.
func (t *Transaction) Complete() bool { return t.Key != "" && t.End == EndNext && t.Contiguous() }

// Ack settles all messages of the transaction: see [Message.Ack].
func (t *Transaction) Ack() {
	for _, m := range t.Messages {
		m.Ack()
	}
}

// Transactions is [Client.Messages] by transaction:
//
//	for tx := range client.Transactions(ctx, time.Second) {
//
// A transaction is handed out when its channel goes on with another one or with a gap, when the
// channel has been quiet that long while the loop waited (0: however long it is quiet, which holds
// back the last one until the next), or when it takes all room of its channel: one of more messages
// than [WithPrefetch] comes in parts, of which none is [Transaction.Complete]. The parts of one
// transaction that come on several channels stay apart.
//
// What Messages says of a message holds for a transaction. Under [AckAuto] all of its messages are
// handled when the loop asks for the next one, none of them before: break, return, a panic and a
// crash leave it unhandled as a whole, and so they do with those that are still being put together.
// It comes again from its first message. tx.Ack() before leaving settles it. Under [AckManual] each
// message waits for its [Message.Ack], and another consumer at the same time would tear
// transactions apart.
func (c *Client) Transactions(ctx context.Context, quiet time.Duration) iter.Seq[*Transaction] {
	return func(yield func(*Transaction) bool) {
		if !c.enter(ctx) {
			return
		}
		defer c.leave()
		c.inbox.SettleCurrent() // as asking for the next message does
		g := grouper{client: c, quiet: quiet}
		defer g.end()
		for tx := g.next(ctx); tx != nil && yield(tx); tx = g.next(ctx) {
		}
	}
}

// grouper is the state of one loop over transactions. Like a Run it takes messages from the queue
// and holds them; they count as waiting until their transaction is handed out.
type grouper struct {
	client *Client
	quiet  time.Duration  // how long a channel must be silent to end its transaction; 0: silence ends none
	open   []*Transaction // those that may still grow: one per channel, the one that has waited longest first
	ended  []*Transaction // those to be handed out, in order
	out    *Transaction   // the one handed out last; it is handled when the loop asks for the next one
}

// next settles the transaction handed out before and hands out the next one. It returns nil when
// there will be no more.
func (g *grouper) next(ctx context.Context) *Transaction {
	c := g.client
	if g.out != nil {
		if c.cfg.ack != AckManual {
			g.out.Ack()
		}
		g.out = nil
		for _, tx := range g.open {
			tx.last = time.Now() // the loop has not waited: no quiet
		}
	}
	for {
		if c.ends(ctx) {
			return nil
		}
		if len(g.ended) > 0 {
			tx := g.ended[0]
			g.ended = g.ended[1:]
			if g.start(tx) {
				g.out = tx
				return tx
			}
			continue
		}
		clientEnded := isClosed(c.life.ended) // read before the queue: what waits when the client ends is still handed out
		if m := c.inbox.Hold(); m != nil {
			g.add(m)
			continue
		}
		if g.endFull() || g.endQuiet() {
			continue
		}
		if clientEnded {
			return nil // the open transactions are put back, and come again as a whole
		}
		c.inbox.Idle()
		g.wait(ctx)
	}
}

// start marks the messages of a transaction as handed out. It takes those out that were acked or
// unsubscribed meanwhile, and reports whether any are left.
func (g *grouper) start(tx *Transaction) bool {
	var messages []*Message
	var changes []*ChangeEvent
	for i, started := range g.client.inbox.StartAll(slots(tx.Messages)) {
		if started {
			messages, changes = append(messages, tx.Messages[i]), append(changes, tx.Changes[i])
		}
	}
	tx.Messages, tx.Changes = messages, changes
	return len(messages) > 0
}

// add adds a message to the open transaction of its channel, or ends that and begins another.
func (g *grouper) add(m *Message) {
	change, _ := m.Change() // the program gets the error from the message, if it asks
	tx := &Transaction{Channel: m.Channel, sub: m.slot.Channel()}
	end, before := EndNext, EndNext
	switch {
	case change == nil:
		before = EndGap
	case change.IsGap():
		end, before = EndGap, EndGap
		fallthrough
	default:
		tx.Key = change.TransactionKey
	}
	alone := end == EndGap || tx.Key == ""
	i := slices.IndexFunc(g.open, func(open *Transaction) bool { return open.sub == tx.sub })
	switch {
	case i < 0:
	case !alone && g.open[i].Key == tx.Key:
		tx = g.open[i]
		g.open = slices.Delete(g.open, i, i+1)
	default:
		g.finish(i, before)
	}
	tx.Messages, tx.Changes = append(tx.Messages, m), append(tx.Changes, change)
	tx.last = time.Now()
	g.open = append(g.open, tx)
	if alone {
		g.finish(len(g.open)-1, end)
	}
}

// finish ends an open transaction.
func (g *grouper) finish(i int, end TransactionEnd) {
	tx := g.open[i]
	tx.End = end
	g.open = slices.Delete(g.open, i, i+1)
	g.ended = append(g.ended, tx)
}

// endFull ends the transactions whose channel has no room left: the client would ask Salesforce for
// no more of it, and the loop would wait for ever. It reports whether any transaction is to be
// handed out.
func (g *grouper) endFull() bool {
	return g.endWhere(EndFull, func(tx *Transaction) bool { return tx.sub.Full() })
}

// endQuiet ends the transactions to which nothing was added for the quiet time. It reports whether
// any transaction is to be handed out.
func (g *grouper) endQuiet() bool {
	now := time.Now()
	return g.endWhere(EndQuiet, func(tx *Transaction) bool { return g.quiet > 0 && now.Sub(tx.last) >= g.quiet })
}

func (g *grouper) endWhere(end TransactionEnd, is func(*Transaction) bool) bool {
	for i := 0; i < len(g.open); {
		if is(g.open[i]) {
			g.finish(i, end)
			continue
		}
		i++
	}
	return len(g.ended) > 0
}

// wait returns when next may have something to do: a message, a quiet channel, or the end.
func (g *grouper) wait(ctx context.Context) {
	var quiet <-chan time.Time
	if len(g.open) > 0 && g.quiet > 0 {
		timer := time.NewTimer(time.Until(g.open[0].last.Add(g.quiet)))
		defer timer.Stop()
		quiet = timer.C
	}
	c := g.client
	select {
	case <-c.inbox.Ready():
	case <-quiet:
	case <-c.life.ended:
	case <-c.life.closed:
	case <-ctx.Done():
	}
}

// end puts the messages that are not handled back into the queue. Under AckManual those that were
// handed out stay with the program until it acks them.
func (g *grouper) end() {
	var messages []*Message
	for _, tx := range append(g.open, g.ended...) {
		messages = append(messages, tx.Messages...)
	}
	if g.out != nil && g.client.cfg.ack != AckManual {
		messages = append(messages, g.out.Messages...)
	}
	g.client.inbox.PutBack(slots(messages))
}

func slots(messages []*Message) []slot {
	slots := make([]slot, len(messages))
	for i, m := range messages {
		slots[i] = m.slot
	}
	return slots
}
