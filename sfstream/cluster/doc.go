// Package cluster lets several replicas of a program share the channels of an org: one of them
// follows a channel, and the others stand by and take over within seconds.
//
//	newClient := func(opts ...sfstream.Option) (*sfstream.Client, error) {
//		return sfstream.New(login, append(opts, sfstream.WithLogger(log))...)
//	}
//	err := cluster.Run(ctx, newClient, []string{"/event/Order__e"}, register, handle)
//
// Salesforce has no consumer groups: each subscribed client gets every event, and is charged for
// it. So a standby logs in and holds no subscription. What the replicas share is a
// [replaystore.Register] in an engine of the program's own, such as those of the packages beside
// replaystore: it keeps one small value for each channel, with the marker and who leads the
// channel, and one with the members of the cluster. No clocks need to agree, and no time of a
// replica's clock is ever stored.
//
// # Delivery
//
// It is that of package sfstream, over the whole cluster: nothing is lost, the events of a channel
// come in order, and after a takeover those come again that were handled and not saved. A leader
// saves at most once a second ([WithSaveInterval]), so these are at least those of the last second.
//
// A leader hands out nothing once its lease may be over, by its own monotonic clock and with a
// margin of a tenth for clocks that run at different rates. That is asked before each message, not
// left to a timer: after a pause of the process the next message is not handed out. What no lease
// can prevent is a process that is paused after that question, or in the middle of a handler: it
// goes on with one message beside the new leader. CLOCK_MONOTONIC stands still while a virtual
// machine is suspended, so that such a leader may hand out until its next put is refused. Only
// [sfstream.Message.Key], on which the receiver deduplicates, or the program's rows and the marker
// in one transaction make that harmless.
//
// # Takeover
//
// With the default lease of 10 seconds ([WithLease]) a channel has a new leader
//
//   - after a clean stop, when its handlers have returned: with the next poll of a standby, at most
//     2 seconds later (a fifth of the lease);
//   - after a crash, a kill or a cut from the engine: at most a lease and a fifth of one after the
//     last put of the old leader, which was up to a third of a lease before it died;
//   - after an outage of the engine that was longer than the lease: within 2 seconds of its return;
//     where the leader has died in the outage, and no standby had read its last put, a lease later;
//   - at the very first start, where the register has no value yet: after a lease, because a value
//     that an engine has lost is put again by its leader meanwhile.
//
// To each of them the subscribing to the channel is added, mostly less than a second. One more
// lease may be added where no replica with room for the channel can take it: each replica takes
// channels up to its fair share, and what has been free for a lease is taken by any.
//
// # Fair shares
//
// The replicas of one prefix ([WithPrefix]) know each other by the list of members. A fair share is
// the number of channels by the number of members, rounded up; each replica takes channels in an
// order of its own. When a replica joins, those that have more than their share hand over one
// channel after the other, each in good order: the old leader's handlers have returned, and its
// last marker is saved, before the new one begins. A leader whose channel has had no session for a
// minute hands it over too, if there is another replica, and does not take it back for five
// minutes unless nobody else does.
//
// The list says how to share, and never who may lead. A replica that finds it damaged writes it anew;
// one that finds the list of a newer release leaves it alone, takes what is free, and hands nothing
// over.
//
// # How it works
//
// In each replica a channel is in one of these states:
//
//	standby ──► taking ──► leading ──► handing over ──► standby
//	   ▲          │           │              │
//	   └──────────┴───────────┴──────────────┘  another replica has the key, or the lease is over
//
// A standby polls the channel's key every fifth of the lease. A key without an owner is free, and
// so is one whose revision has not moved for the larger of its lease and the standby's own, counted
// from the reply in which the standby first saw it. The standby puts itself as the owner at that
// revision; the register lets one of several win. A key that an ended leadership of the same
// process has left is free at once: its handlers have returned. Neither is if the engine has gone back
// to it from a later value that the standby has seen: that one's owner may lead until its lease ends.
//
// The leader follows the channel with a client of its own, whose store is the key: each Save is a
// put, and where there is nothing to save the same is put again every third of the lease. The lease
// counts from the sending of the last put that has succeeded. It ends when nine tenths of it have
// passed, or when a put meets another owner: the client ends at once then, the contexts of its
// handlers are cancelled, and nothing is saved any more. Where the outcome of a put is unknown the
// leader reads what is there ([replaystore.Claim]).
//
// One client more is open and follows nothing, so that a takeover needs no login; several channels
// are taken as fast as clients can be opened. Give the clients one [authenticator.Cache] to share
// their login.
//
// Goroutines of a replica: the scout reads the keys and the members and decides what to take and
// what to hand over; the spare keeps the spare client; each leadership has one that begins and ends
// it, one that puts (the keeper), and one on which the program's function runs. All have ended when
// [Run] returns.
//
// # Caveats
//
// [sfstream.From] would act again at every takeover, and a managed subscription has its place and
// its one client from Salesforce: both are refused.
//
// A program that never ran can not know that the engine has lost a key. Each register's
// documentation says how to keep its keys from eviction.
package cluster
