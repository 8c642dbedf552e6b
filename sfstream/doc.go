// Package sfstream receives Salesforce events and loses none of them.
//
// A Client logs in, follows channels of one org, and hands what they carry to a
// loop:
//
//	store, err := replaystore.OpenBolt("replay.db")
//	…
//	client, err := sfstream.New(auth, sfstream.WithReplayStore(store), sfstream.WithSandbox())
//	…
//	if err := client.Open(ctx); err != nil { … }
//	defer client.Close()
//	if err := client.Subscribe(ctx, "/data/AccountChangeEvent"); err != nil { … }
//	for msg := range client.Messages(ctx) {
//		fields, err := msg.Fields()
//		…
//	}
//	return client.Err()
//
// Channels are platform events (/event/Order__e) and change events
// (/data/AccountChangeEvent, /data/ChangeEvents, /data/Orders__chn) over
// Salesforce's Pub/Sub API, and PushTopics (/topic/Accounts, with a filter
// /topic/Accounts?Industry='Energy') and generic channels (/u/notices) over its
// Streaming API. WithTransport and Via move the former to the Streaming API too.
//
// # Delivery
//
// Within what Salesforce retains (72 hours; 24 of /topic and /u) every event of a followed channel
// reaches the loop at least once, in the order of its channel, whatever happens
// to connections, tokens, servers and this process; what no client can know is said
// below:
//
//   - A message is handled when the loop asks for the next one (see AckPolicy). A
//     channel's replay marker never passes a message that is not handled.
//   - Markers are saved beside the loop, at most 100 ms after handling, and before a
//     loop, Unsubscribe or Close ends.
//   - A reconnect resumes after the last event received; a restart after the last
//     marker saved. What was handled since then comes again: deduplicate on
//     Message.Key.
//   - A slow loop costs nothing but time. Salesforce is asked for no more than
//     WithPrefetch allows, and nothing is dropped. Over the Streaming API one reply
//     may pass that, and a channel that is full holds up the others of its session
//     for half a minute at most.
//   - A position that Salesforce refuses is a decision of yours, not a silent jump:
//     WithReplayFallback.
//   - Several change events may share a replay id, on channels with enriched fields or
//     filters. Position and marker reach it when all of them are known to be there and
//     handled; until then they are before it, and remember what was handled, of the
//     first 4,096. On any other channel that begins with the first id that repeats, with
//     a warning: if a connection ended right there, the rest of that id may be lost.
//   - Over the Streaming API a quiet server may be one that seeks through a backlog. A
//     channel counts as complete since a subscription at "new" or an event that
//     Salesforce dated at most ten minutes ago; what cannot be known otherwise is a Gap
//     that is Possible, and ends nothing. A server that stops without a word between two
//     events of one replay id (the daily limit, perhaps) looks as if there were no more:
//     the rest is delivered when it comes, but not after a restart before that.
//
// Run hands messages to several handlers at once, in order per key: per record of
// change events, per channel of others, or by OrderBy. Transactions hands out change
// events by transaction.
//
// # Decoding
//
// Decode puts a payload into a struct of the program's own; what the struct does not
// want is not decoded:
//
//	type Account struct {
//		Name           string
//		Phone          sfstream.Optional[string] // unchanged, null or set
//		Employees      int       `sf:"NumberOfEmployees"`
//		Modified       time.Time `sf:"LastModifiedDate"`
//		Skills         []string  `sf:"Skills__c"` // a multi-picklist
//		BillingAddress struct{ City *string }
//	}
//
//	account, err := sfstream.Decode[Account](msg)
//
// Fields gives all of it as a map, Change the header of a change event. Message.Decode
// says what goes where. The error names the field, as BillingAddress.City.
//
// # Errors
//
// What passes by itself (networks, server faults, dead tokens, limits) is retried
// with backoff and shows in Status and the log only. What no retry cures ends the
// client: loops end and Err tells why, as an *AuthError, *ServerError,
// *ReplayError, *StoreError or *TimeoutError. An answer that nobody knows is asked for
// again slowly, and believed after ten minutes of it. A payload that cannot be decoded is
// the error of that message's Decode, and the stream goes on.
//
// # Caveats
//
// A payload is decoded when it is asked for. A kept message keeps its batch of up
// to a hundred; Clone makes one that does not.
//
// One process uses a replay store file, and one client a channel's marker.
//
// With ReplayNew, Salesforce may miss what is published in the first seconds after
// Subscribe; From(ReplaySince(time.Now())) closes that.
//
// # Where things are
//
// What programs call: client.go, subscribe.go, close.go; consume.go has the loops,
// transactions.go the one by transaction, run.go and order.go the handlers of Run;
// status.go and hooks.go tell of it all.
//
// What a message gives: message.go, identity.go (its key), eventname.go, decode.go and
// optional.go, changeevent.go with changeevent_json.go and enriched_json.go, diff.go. text.go has the names
// of constants.
//
// The way of a message: link.go is the loop that reconnects, receive.go
// a session of it, failure.go and carryout.go what it does about failures, pause.go how it knows a pause of the process,
// login.go its tokens, feed.go one channel of
// it, start.go where that begins, group.go events that share a replay id, gap.go what
// is done about a position that is of no use, clock.go whose time counts; transport.go is the seam to the two APIs below,
// transport_*.go and translate_*.go. internal/inbox holds what waits, knows what is
// handled and writes that to the store of store.go.
package sfstream
