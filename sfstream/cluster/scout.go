package cluster

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// scout reads the keys and the members of the cluster, and decides what this replica takes and what
// it hands over. It runs on the goroutine that called Lead, which alone uses its fields; leaderships
// tell it their end through over.
type scout struct {
	*Replica
	lead    Lead
	seats   []*seat // in the order in which this replica takes them
	members *members
	ready   []*spare    // clients with which to lead: mostly one
	over    chan ending // of leaderships; there is room for one of each seat
	running sync.WaitGroup
	failure error // of the last look; nil: the register has answered

	moving  *seat     // was handed over for a fair share, and nobody has taken it yet; nil: there is none
	moved   time.Time // when it was
	noMoves time.Time // until then none is, if nobody joins: nobody who has room wants any
	taken   time.Time // when this replica began to take a channel last
}

// An ending is the end of a leadership, or of an attempt to take a channel.
type ending struct {
	seat   *seat
	unused *spare // nil: the client has led, and is closed
	over   bool   // the program's function has returned by itself: Lead ends
	err    error  // what it has returned
}

// run runs until ctx ends, or the program's function returns by itself.
func (s *scout) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for looks, takes := time.Now(), never(); ; takes = s.decide(ctx) {
		timer.Reset(time.Until(earlier(looks, takes)))
		select {
		case <-ctx.Done():
			return nil
		case e := <-s.over:
			s.end(e)
			if e.over {
				return e.err
			}
			looks = earlier(looks, time.Now().Add(s.cfg.pause())) // no sooner: the attempt may have failed at once
			continue
		case spare := <-s.wanted():
			s.ready = append(s.ready, spare)
		case <-timer.C:
		}
		if now := time.Now(); !now.Before(looks) {
			if looks = now.Add(s.cfg.poll()); !s.look(ctx) {
				looks = time.Now().Add(s.cfg.pause())
			}
		}
	}
}

func never() time.Time { return time.Now().Add(time.Hour) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// wanted is where the next client comes from, nil while there is one.
func (s *scout) wanted() <-chan *spare {
	if len(s.ready) > 0 {
		return nil
	}
	return s.spares
}

// look reads the list of members, and the key of each channel that is not led here. It reports
// whether the register has answered to all.
func (s *scout) look(ctx context.Context) bool {
	const atOnce = 8
	type reply struct {
		entry replaystore.Entry
		rev   string
		err   error
		at    time.Time
	}
	replies := make([]reply, len(s.seats))
	var reads sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i, seat := range s.seats {
		if seat.led != nil {
			continue
		}
		reads.Go(func() { // ends with its read, for which Wait waits
			turn <- struct{}{}
			defer func() { <-turn }()
			ctx, cancel := context.WithTimeout(ctx, s.cfg.patience())
			defer cancel()
			r := &replies[i]
			r.entry, r.rev, r.err = seat.claim.Read(ctx)
			r.at = time.Now()
		})
	}
	changed, failure := s.members.look(ctx)
	reads.Wait()
	if ctx.Err() != nil {
		return true // it is not the register's fault
	}
	s.engine(failure)
	for i, seat := range s.seats {
		if seat.led == nil {
			r := &replies[i]
			seat.observe(r.entry, r.rev, r.err, r.at)
			failure = cmp.Or(failure, seat.seen.trouble.err)
		}
	}
	switch {
	case failure != nil && s.failure == nil:
		s.log.Warn("cluster: the register cannot be read", "error", failure)
	case failure == nil && s.failure != nil:
		s.log.Info("cluster: the register can be read again")
	}
	s.failure = failure
	if changed {
		s.noMoves = time.Time{}
		s.joined(s.members.names(time.Now()))
	}
	if s.members.twin() {
		s.log.Warn("cluster: another replica has the same name: it takes channels in the same order; see WithName", "name", s.cfg.name)
	}
	return failure == nil
}

// decide takes what is to be taken and hands over what is to be handed over. It returns when it is
// to be called again at the latest, if nothing is read before.
func (s *scout) decide(ctx context.Context) (again time.Time) {
	again = never()
	now := time.Now()
	for _, seat := range s.seats {
		switch {
		case !s.members.read, len(s.ready) == 0, ctx.Err() != nil:
		case seat.led != nil, !seat.isKnown(now):
		default:
			hasRoom := s.leading() < s.members.share(len(s.seats), seat.owner(), now)
			at := seat.takeable(hasRoom)
			if at.After(now) {
				again = earlier(again, at)
				continue
			}
			if !hasRoom {
				s.noMoves = now.Add(avoidance) // those who have room have left it for a lease
			}
			s.take(ctx, seat)
		}
	}
	s.handOver(now)
	s.publish()
	return again
}

// leading is how many channels this replica leads, takes, or hands over.
func (s *scout) leading() (n int) {
	for _, seat := range s.seats {
		if seat.led != nil {
			n++
		}
	}
	return n
}

// take begins a leadership with a client that is ready.
func (s *scout) take(ctx context.Context, seat *seat) {
	last := len(s.ready) - 1
	client := s.ready[last]
	s.ready = s.ready[:last]
	seat.led = &leadership{
		Replica: s.Replica, channel: seat.channel, key: seat.key, claim: seat.claim, client: client, lead: s.lead,
		lastLive: time.Now(), handOver: make(chan struct{}),
	}
	s.taken = time.Now()
	s.log.Info("cluster: taking a channel", "channel", seat.channel, "last_owner", seat.seen.entry.Owner)
	s.running.Go(func() { // ends with the leadership; Lead waits for it
		e := seat.led.run(ctx)
		e.seat = seat
		s.over <- e
	})
}

// end takes notice of an ending.
func (s *scout) end(e ending) {
	seat := e.seat
	now := time.Now()
	if seat.led.why == forSession {
		seat.avoid = now.Add(avoidance)
	}
	if e.unused != nil {
		s.ready = append(s.ready, e.unused)
	}
	if seat == s.moving {
		s.moved = now
	}
	seat.renew(e.unused == nil)
}

// handOver hands over a channel that has no session, and one that is more than the fair share.
func (s *scout) handOver(now time.Time) {
	alone := len(s.members.present(now)) == 0
	for _, seat := range s.seats {
		if l := seat.led; l != nil && l.isSessionless(now) && !alone {
			s.log.Warn("cluster: handing over a channel that has had no session", "channel", seat.channel, "for", now.Sub(l.lastLive).Round(time.Second))
			l.end(forSession)
		}
	}
	if alone {
		s.moving = nil
		return
	}
	if !s.hasMoved(now) || !s.members.settled(now) || now.Before(s.noMoves) ||
		now.Sub(s.taken) < s.cfg.lease || // the member that had it may be gone, and not known to be
		s.leading() <= s.members.share(len(s.seats), "", now) {
		return
	}
	for i := len(s.seats) - 1; i >= 0; i-- {
		if seat := s.seats[i]; seat.led != nil && seat.led.why == staying {
			s.log.Info("cluster: handing over a channel for fair shares", "channel", seat.channel)
			s.moving = seat
			seat.led.end(forShare)
			return
		}
	}
}

// hasMoved reports whether the last hand-over for a fair share is done.
func (s *scout) hasMoved(now time.Time) bool {
	switch m := s.moving; {
	case m == nil:
		return true
	case m.led != nil && m.led.why != staying, m.led == nil && !m.seen.fresh:
		return false // still under way, or not looked at since
	case m.led != nil, m.owner() == "" && now.Sub(s.moved) >= 2*s.cfg.lease:
		s.noMoves = now.Add(avoidance) // nobody wanted it
	case m.owner() == "":
		return false
	}
	s.moving = nil
	return true
}

// finish ends all leaderships, leaves the cluster, and returns when nothing runs any more. The error
// is the first that the program's function has returned meanwhile.
func (s *scout) finish(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.lease)
	defer cancel()
	s.running.Go(func() { s.members.leave(ctx) }) // ends by its ctx; the next line waits
	s.running.Wait()
	for _, client := range s.ready {
		_ = client.Close() // it has nothing to save
	}
	for len(s.over) > 0 {
		e := <-s.over
		if e.unused != nil {
			_ = e.unused.Close()
		}
		if err == nil {
			err = e.err
		}
		e.seat.led = nil
	}
	s.publish()
	return err
}
