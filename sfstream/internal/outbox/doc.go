// Package outbox is to the sending half of a client what inbox is to its receiving half: the events
// on their way out, what is known of each, and which of them go into the next request.
//
//   - event.go: one event, from its encoding to its outcome.
//   - box.go: the events that wait, in their order; requests are cut off their head, and what failed
//     goes back there.
//   - match.go: which result of an answer is that of which event.
//   - id.go: ids of events.
//   - room.go: how many events and bytes there may be at once, and who waits for room.
//
// Nothing here sends, waits, logs or takes a lock: the goroutine that sends owns its Box.
//
// The invariant that all of this is for: an event that may have been published is never told as one
// that was not, and only a result of Salesforce makes an event published.
package outbox
