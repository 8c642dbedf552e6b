// Package sfstream receives Salesforce events and loses none of them.
//
// A [Client] logs in, follows channels of one org, and hands their events to a loop:
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
// Channels are platform events (/event/Order__e) and change events (/data/AccountChangeEvent,
// /data/ChangeEvents, /data/Orders__chn) over Salesforce's Pub/Sub API, and PushTopics
// (/topic/Accounts, with a filter /topic/Accounts?Industry='Energy') and generic channels
// (/u/notices) over its Streaming API. [WithTransport] and [Via] move platform and change events to
// the Streaming API too.
//
// # Delivery
//
// Every event of a followed channel that Salesforce still retains (72 hours; 24 for /topic and /u)
// reaches the loop at least once, in the order of its channel, whatever happens to connections,
// tokens, servers and this process. What no client can know is said below.
//
//   - A message is handled when the loop asks for the next one (see AckPolicy). A
//     channel's replay marker never passes a message that is not handled.
//   - Markers are saved beside the loop, at most 100 ms after handling, and before a
//     loop, Unsubscribe or Close ends.
//   - A reconnect resumes after the last event received; a restart after the last
//     marker saved. Events that were handled after that marker come again: deduplicate on
//     Message.Key.
//   - A slow loop costs nothing but time. The client asks Salesforce for no more events than
//     WithPrefetch allows, and drops none. Over the Streaming API one reply may bring more
//     than that, and a channel that is full holds up the others of its session for half a
//     minute at most.
//   - A position that Salesforce refuses is a decision of yours, not a silent jump:
//     WithReplayFallback.
//   - On channels with enriched fields or filters several change events may share a replay
//     id. The position and the marker move past such an id when all of its events are known
//     to be received, and handled. Until then they stay before it, and the marker remembers
//     which of its first 4,096 events were handled. On any other channel the client learns
//     this from the first id that repeats, and warns: if a connection ends right there, the
//     other events of that id may be lost.
//   - Over the Streaming API a server that sends nothing may be seeking through a backlog. So a
//     channel counts as complete only since a subscription at "new", or since an event that
//     Salesforce dated at most ten minutes before. Where events may be missing and nobody can
//     know, the client reports a Gap that is Possible, and goes on. A server that stops
//     between two events of one replay id without saying so (at the daily limit, perhaps)
//     looks as if there were no more of them: they are delivered when they come, but not
//     after a restart before that.
//
// [Client.Run] hands messages to several handlers at once, in order per key: per record of change
// events, per channel of others, or by [OrderBy]. [Client.Serve] does so with handlers that are
// declared by channel, in a [Mux]. [Client.Transactions] hands out change events by transaction.
//
// # Decoding
//
// [Decode] puts a payload into a struct of the program's own. Fields that the struct does not have
// are not decoded:
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
// Fields gives the whole payload as a map, Change the header of a change event. [Message.Decode]
// says what goes where. An error names the field, as in BillingAddress.City.
//
// # REST
//
// [Client.Do] sends requests of the program's own to the org with the client's login, and
// [Client.Query] reads records. [Client.Refetch] reads those of which a change event says too
// little: a gap event, an overflow, or a diff that does not fit. [Record.Decode] puts them into the
// structs that take events.
//
// # Publishing
//
// [Client.Publish] publishes structs and maps as platform events, and texts on generic channels.
// Its results say of each event whether it is there, is not, or may be ([Outcome]); [WithInDoubt]
// says what becomes of the last.
//
// # Errors
//
// The client retries with backoff what passes by itself (networks, server faults, expired tokens,
// limits); such errors show in [Status] and the log only. An error that no retry cures ends the
// client: loops end and [Client.Err] tells why, as an *[AuthError], *[ServerError], *[ReplayError],
// *[StoreError] or *[TimeoutError]. Where Salesforce refuses something in words that the client
// does not know, the client tries again slowly, and believes the refusal after ten minutes. A
// payload that cannot be decoded is the error of that message's Decode, and the stream goes on.
//
// # Caveats
//
// A payload is decoded when the program asks for it. A message that is kept keeps its batch of up
// to a hundred messages in memory; [Message.Clone] makes a copy that does not.
//
// A replay store file is for one process at a time, and a channel's marker for one client.
//
// With [ReplayNew], Salesforce may miss what is published in the first seconds after
// [Client.Subscribe]; From(ReplaySince(time.Now())) closes that.
//
// # For contributors
//
// ARCHITECTURE.md, beside this file, has the map of the source files and the invariants behind it.
package sfstream
