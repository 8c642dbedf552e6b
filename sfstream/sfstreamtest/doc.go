// Package sfstreamtest is a Salesforce org in a process: the token endpoint and
// the Pub/Sub API over one event log per channel, for tests of programs that
// receive Salesforce events.
//
//	org := sfstreamtest.NewServer(t)
//	org.DefineEvent("/event/Order__e", schema)
//	client, _ := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
//	org.Publish("/event/Order__e", map[string]any{"Number__c": "1"})
//
// It is written from what Salesforce does on the wire and knows nothing of
// package sfstream: any client of the Pub/Sub API works against it.
//
// # Time
//
// The server takes time only from package time. With [InMemory] it opens no
// socket, so that it runs in a testing/synctest bubble: a day of silence takes
// no time at all.
//
// # Faults
//
// A fault is named after what happens in the world ([Server.ExpireToken],
// [Server.DropConnections], [Server.TruncateReplay]) and happens once, or as
// often as said. Where a fault takes a code it is what Salesforce would put
// into the error-code trailer, without its prefix:
//
//	org.Reject("/event/Order__e", 1, "subscription.limit.exceeded")
//	org.Reject("/event/Order__e", 2, "UNAVAILABLE")                 // infrastructure: no trailers
//	org.EndStreams("", "UNAVAILABLE: This application is down for maintenance")
//	org.EndStreams("", "INTERNAL made.up.code: text of your choice")
//
// The full form is "STATUS error.code: text"; what is left out has the value
// that Salesforce uses. "OK" or nothing ends a stream without an error. An
// error code that this package does not know has the status UNKNOWN.
//
// # Caveats
//
// Publish over gRPC, managed subscriptions, CometD, REST and SOAP are not here.
// Sessions live in memory, also with [WithLog]: after a restart clients log in
// again. A subscriber gets no answer before its first event, so a test that
// publishes for a subscriber of new events waits with [Server.AwaitStreams].
package sfstreamtest
