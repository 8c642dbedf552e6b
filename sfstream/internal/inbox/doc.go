// Package inbox is everything between the connections of a client and its consumers: the queue of
// messages, who has handled which, how much room is left, and the markers that say so in a store.
//
//   - inbox.go: the queue, and consumers that take one message at a time.
//   - hold.go: consumers that take several (Run, Transactions).
//   - slab.go: the messages that came at once, and what happens to each.
//   - channel.go: one followed channel, from its beginning to its end.
//   - credit.go: what a transport sees of a channel, which is how many events to ask for.
//   - watermark.go: up to where a channel is handled. mark.go and group.go: such a place.
//   - step.go: the step from such a place to the one behind messages that come next.
//   - saver.go: writes these places to the store, beside delivery and never in its way.
//
// One mutex, Inbox.mu, guards all of it. Functions whose names end in Locked need it held. No
// function of the program (a hook, a store, a handler) is called under it, and nothing that blocks:
// unlock wakes those who wait after it has let go. Config.ID and Config.Date are called under it;
// they read a message and nothing else.
//
// The invariant that all of this is for: the marker of a channel never passes a message that is not
// handled, so a restart repeats messages and loses none.
//
// The package is generic over the message, because the messages of a batch lie in one slice that
// belongs to the queue, and the public type has methods and fields that the queue needs not know.
package inbox
