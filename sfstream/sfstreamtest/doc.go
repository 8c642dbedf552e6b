// Package sfstreamtest is a simulated Salesforce org in the process of a test: its logins, and the
// Pub/Sub API and the Streaming API (CometD) over one event log per channel. It is for tests of
// programs that receive and publish Salesforce events.
//
//	org := sfstreamtest.NewServer(t)
//	org.DefineEvent("/event/Order__e", schema)
//	client, _ := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
//	org.Publish("/event/Order__e", map[string]any{"Number__c": "1"})
//
// It is written from what Salesforce does on the wire and knows nothing of package sfstream: any
// client of these APIs works against it.
//
// The facts that it is written from, with their sources, are in the repository: in
// sfstream/internal/eventbus/PROTOCOL.md, sfstream/internal/bayeux/PROTOCOL.md and the
// documentation of package authenticator.
//
// # Logins
//
// The token endpoint knows the flows password, refresh token, client credentials, JWT bearer
// ([Server.PrivateKeyPEM], [WithPublicKeys]: it verifies signature, audience and expiry) and
// authorization code with PKCE, whose page sends a browser on at once to one of the app's callback
// URLs ([WithCallbackURLs], [Server.FailAuthorize]); /services/Soap/u knows login(), in the
// versions that have it. The identity URL and userinfo tell which user a token belongs to, and
// /services/oauth2/revoke ends a token. An org can refuse flows ([WithoutLoginFlow]), serve logins
// at a host that is not its My Domain ([WithLoginHost]), rotate refresh tokens
// ([WithRefreshRotation]) and issue tokens that only REST accepts ([WithJWTAccessTokens]).
//
// # Two APIs
//
// /event and /data are on the Pub/Sub API and on CometD, with the same replay ids: those of CometD
// are the numbers in the first 8 bytes of those of the Pub/Sub API ([Event].Number). /topic
// ([Server.DefinePushTopic], [Server.Change], [Server.PublishTopic]) and /u
// ([Server.DefineGenericChannel], [Server.Push]) are on CometD only. CometD is served beside the
// logins, under /cometd/37.0 and later.
//
// The Pub/Sub API also answers gRPC's health service and its server reflection, without a login.
// The reflection describes eventbus.v1.PubSub as Salesforce's .proto does.
//
// # Publishing
//
// Clients publish platform events by Publish and PublishStream of the Pub/Sub API. An event that is
// too large, is not of a schema of its channel, or has no CreatedDate or CreatedById has an error
// in its result, and its siblings are published. What is published is on the channel like what
// [Server.Publish] puts there ([Server.Retained]), with the id that the client gave it.
// [Server.FailPublish] fails requests, [Server.FailEvents] refuses events, [Server.LosePublish]
// leaves the client in doubt, and [Server.PublishCalls] tells what has come:
//
//	org.LosePublish("/event/Order__e", 1)                                       // published, and no answer
//	org.FailEvents("/event/Order__e", sfstreamtest.EveryNth(10, "not this one")) // 1 of 10
//
// # REST
//
// The records of objects ([Server.DefineObject]) are what changes have made of them
// ([Server.Change]) and what [Server.SetRecord] says without an event. REST shows them, with
// deleted ones, under query, queryAll and sobjects, with describe, deleted and updated; a query
// knows SELECT with fields, FIELDS() or COUNT(), FROM one object, WHERE, ORDER BY, LIMIT and
// OFFSET, and its result comes in pages ([WithQueryPage]). /limits counts what the org does
// ([Server.SetLimit]).
//
// Requests create, change and delete records, one under sobjects, also by a field's value, or up to
// 200 under composite/sobjects: one request is one transaction. Its change events name the client
// (Sforce-Call-Options) and the user, one event tells of all records with the same change, and
// PushTopics are notified. Account, Case, Contact and Opportunity are there without a
// definition, but [Server.DefineObject] makes their changes events. [Server.DefineRecordType] makes
// record types, which records name in RecordTypeId. In the same way requests publish platform
// events; allOrNone does not concern these. [Server.RequireFields] says which fields are required.
// Requests fail by [Server.FailREST] and [Server.FailRESTRequest].
//
// PushTopic and StreamingChannel are records, too: what a request makes of them acts at once, with
// the errors that Salesforce has for doubles, names, queries and limits ([WithEdition]).
//
// The Tooling API has custom channels and the members of all channels (PlatformEventChannel,
// PlatformEventChannelMember). They are the same that [Server.DefineMembers] makes: a channel
// carries the events of a member from the request on, and a standard object that a member selects
// is captured.
//
// # Groups
//
// If a member of a channel has enriched fields, or a filter (the fields that a filter names are
// enriched too), a change of several records becomes several events with one replay id on that
// channel, see [Server.DefineMembers]:
//
//	org.DefineMembers("/data/Sales__chn", sfstreamtest.Member{
//		Channel: "/data/AccountChangeEvent", Enriched: []string{"Industry"},
//	})
//	org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, Set: set})
//
// Such a group can be parted between responses ([Server.CutGroups]), streams can end inside of it
// ([Server.BreakGroups]), and [Server.RepeatReplayID] makes a group on any other channel.
// [Server.Retained] returns the replay ids of a channel.
//
// # Time
//
// An org with a seed ([WithSeed]) gives the same ids, tokens and dates to the same calls, at any
// time and in any process. The server takes the time from package time only. With [InMemory] it
// opens no socket, so that it runs in a testing/synctest bubble, where a day of silence takes no
// time at all.
//
// # Faults
//
// A fault is named after what happens in the world ([Server.ExpireToken], [Server.DropConnections],
// [Server.TruncateReplay]) and happens once, or as often as the test says: n times, until
// [Server.ClearFaults] if n < 0; n == 0 takes back what is still to happen. If a fault takes a
// code, it is what Salesforce would put into the error-code trailer, without its prefix:
//
//	org.Reject("/event/Order__e", 1, "subscription.limit.exceeded")
//	org.Reject("/event/Order__e", 2, "UNAVAILABLE")                 // infrastructure: no trailers
//	org.EndStreams("", "UNAVAILABLE: This application is down for maintenance")
//	org.EndStreams("", "INTERNAL made.up.code: text of your choice")
//
// The full form is "STATUS error.code: text"; parts that are left out get the value that Salesforce
// uses. "OK" or nothing ends a stream without an error. An error code that this package does not
// know has the status UNKNOWN.
//
// On CometD the same faults happen to sessions and their subscriptions, with the error that means
// the same there: "UNAVAILABLE" fails a subscribe with 503 and ends a session with 403::Unknown
// client. A code that is a CometD error ("403::Restricted channel") is sent as it is. Faults that
// happen on CometD only have methods of their own ([Server.UnknownClient], [Server.LoseResponse]),
// or are a [CometDFault].
//
// Some faults happen in the world around the org: its replay ids begin anew ([Server.ResetReplay]),
// it seeks through a backlog ([Server.SeekBacklog]), its instance moves and leaves a redirect, a
// page or no host behind ([Server.LeaveInstance]), a proxy answers gRPC with a page
// ([Server.ProxyPage]). On CometD the org ends sessions by itself ([Server.DisconnectSessions]),
// fails with errors that pass although the advice is never to come back ([Server.PassingError]),
// and answers as the REST API does ([Server.RESTError]).
//
// # Caveats
//
// Of SOAP only the Partner API's login() is here, and of REST only what clients of events need: it
// joins no records, undeletes none (Salesforce does that by SOAP and Apex) and knows no other
// composite resource. Sessions live in memory, also with [WithLog], and so do records: after a
// restart clients log in again, requests find no record of before, and a replay has the values that
// came with the event first. A Pub/Sub subscriber gets no answer before its first event, so a test
// that publishes for a subscriber of new events waits with [Server.AwaitStreams].
//
// CometD forgets events when it writes a response, whether that arrives or not, and a held connect
// does not notice that its client has gone. The session of a client that left without a disconnect
// lives until its window has passed.
package sfstreamtest
