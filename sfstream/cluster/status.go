package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// Status is a snapshot of a replica.
type Status struct {
	At      time.Time // when it was taken
	Name    string    // of the replica
	Members []string  // the names of all replicas that are there, sorted; empty: not known yet

	Channels []ChannelStatus // sorted by channel

	// Err is why the register cannot be used, since FailingSince; nil: it can.
	Err          error
	FailingSince time.Time
}

// ChannelStatus is a snapshot of a channel of a replica.
type ChannelStatus struct {
	Channel string
	State   State
	Since   time.Time // when State began

	// Leader names who leads the channel, as far as this replica knows; empty: nobody, or not known.
	Leader string

	// RevisionAge is for how long a standby has seen the same revision of the channel's key, or how
	// long ago a leader's last successful put was sent. Beyond the lease the channel is free.
	RevisionAge time.Duration

	// Err is why the channel's key cannot be read or put, since FailingSince; nil: it can.
	Err          error
	FailingSince time.Time
}

// channelView is what Status knows of a channel. Replica.mu guards it.
type channelView struct {
	state State
	since time.Time
	// A standby's.
	leader  string
	seen    time.Time
	trouble trouble
	// A leader's.
	client *sfstream.Client // nil: there is none
	store  *store
}

// Status returns a snapshot of the replica: which channels it leads, and who leads the others.
func (r *Replica) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := Status{At: time.Now(), Name: r.cfg.name, Members: slices.Clone(r.names), Err: r.trouble.err, FailingSince: r.trouble.since}
	for channel, v := range r.views {
		report := ChannelStatus{
			Channel: channel, State: v.state, Since: v.since,
			Leader: v.leader, Err: v.trouble.err, FailingSince: v.trouble.since,
		}
		if !v.seen.IsZero() {
			report.RevisionAge = status.At.Sub(v.seen)
		}
		if v.client != nil {
			report.Leader = r.cfg.name
			report.RevisionAge = 0
			if sent := v.store.claim.Sent(); !sent.IsZero() {
				report.RevisionAge = status.At.Sub(sent)
			}
			trouble := v.store.failing()
			report.Err, report.FailingSince = trouble.err, trouble.since
		}
		status.Channels = append(status.Channels, report)
	}
	slices.SortFunc(status.Channels, func(a, b ChannelStatus) int { return strings.Compare(a.Channel, b.Channel) })
	return status
}

// ClientStatus returns the status of the clients that lead, as of one client: it has the channels
// that this replica leads, and a register that fails is its StoreError. It is made for
// [sfstream.Status.Check] and package health; a replica that only stands by is well.
func (r *Replica) ClientStatus() sfstream.Status {
	own := r.Status()
	merged := sfstream.Status{At: own.At, StoreError: own.Err, StoreFailingSince: own.FailingSince}
	r.mu.Lock()
	merged.Err, merged.EndedAt = r.ended, r.endedAt
	var clients []*sfstream.Client
	for _, v := range r.views {
		if v.client != nil {
			clients = append(clients, v.client)
		}
	}
	r.mu.Unlock()
	for _, ch := range own.Channels {
		if ch.Err != nil && (merged.StoreError == nil || ch.FailingSince.Before(merged.StoreFailingSince)) {
			merged.StoreError, merged.StoreFailingSince = ch.Err, ch.FailingSince
		}
	}
	for _, client := range clients {
		status := client.Status()
		merged.Channels = append(merged.Channels, status.Channels...)
		if client.Pending() > 0 { // a consumer that waits beside messages of another client is well
			merged.Waiting += status.Waiting
		}
	}
	slices.SortFunc(merged.Channels, func(a, b sfstream.ChannelStatus) int { return strings.Compare(a.Channel, b.Channel) })
	return merged
}

// state notes the state of a channel.
func (r *Replica) state(channel string, state State, err error) {
	r.mu.Lock()
	v := r.views[channel]
	v.state, v.since = state, time.Now()
	r.mu.Unlock()
	if r.cfg.hooks.OnState != nil {
		r.cfg.hooks.OnState(channel, state, err)
	}
}

// leads notes the client that leads a channel, nil for none.
func (r *Replica) leads(channel string, client *sfstream.Client, store *store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.views[channel]
	v.client, v.store = client, store
	v.leader, v.seen, v.trouble = "", time.Time{}, trouble{}
}

// engine notes whether the list of members can be had.
func (r *Replica) engine(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble.note(err)
}

// joined notes who is there.
func (r *Replica) joined(names []string) {
	r.mu.Lock()
	r.names = names
	r.mu.Unlock()
	r.log.Info("cluster: members", "names", names)
	if r.cfg.hooks.OnMembers != nil {
		r.cfg.hooks.OnMembers(slices.Clone(names))
	}
}

// publish notes what the scout has seen of the channels on which it stands by.
func (s *scout) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seat := range s.seats {
		if seat.led == nil {
			v := s.views[seat.channel]
			v.leader, v.seen, v.trouble = seat.owner(), seat.seen.since, seat.seen.trouble
		}
	}
}
