package cluster

import (
	"slices"
	"time"
)

// later does something after at most d.
func (s *simulation) later(d time.Duration, do func()) {
	s.mu.Lock()
	s.faults++
	s.mu.Unlock()
	time.AfterFunc(s.random.upTo(d), func() {
		do()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults--
	})
}

// pending is how many faults are under way.
func (s *simulation) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (s *simulation) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// fault lets something go wrong.
func (s *simulation) fault() {
	p := s.processes[s.random.n(len(s.processes))]
	if leader := s.lastLeader(); leader != nil && s.random.chance(60) {
		p = leader
	}
	switch s.random.n(12) {
	case 0, 1, 2:
		s.count("pauses")
		p.pause()
		s.later(3*s.lease, p.resume)
	case 3, 4:
		s.count("cuts")
		p.setCut(true, s.random.chance(50))
		s.later(3*s.lease, func() { p.setCut(false, false) })
	case 5:
		s.count("outages of the engine")
		s.engine.setAway(true)
		s.later(3*s.lease, func() { s.engine.setAway(false) })
	case 6, 7:
		s.replace(p, "kills", p.kill)
	case 8:
		s.replace(p, "polite restarts", p.stop)
	case 9:
		s.count("outages of Salesforce")
		s.Refuse(true)
		s.DropConnections()
		s.later(s.lease, func() { s.Refuse(false) })
	case 10:
		s.count("lost connections")
		s.DropConnections()
	default: // all is well for once
	}
}

// replace ends a process and starts one of its name some time later.
func (s *simulation) replace(p *process, how string, end func()) {
	if len(s.processes) < 2 {
		return
	}
	s.count(how)
	s.processes = slices.DeleteFunc(s.processes, func(other *process) bool { return other == p })
	end()
	time.Sleep(s.random.upTo(s.lease))
	s.start(p.name)
}

// lastLeader is the process that got the last message, nil if it runs no more.
func (s *simulation) lastLeader() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.deliveries) == 0 {
		return nil
	}
	p := s.deliveries[len(s.deliveries)-1].process
	if !slices.Contains(s.processes, p) {
		return nil
	}
	return p
}

func (s *simulation) newLeadership() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaderships++
	return s.leaderships
}

func (s *simulation) note(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, d)
}

func (s *simulation) ended(d *delivery, handled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ended, d.handled = time.Now(), handled
}

// complete reports whether every event was handled.
func (s *simulation) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	handled := make(map[string]bool)
	for _, d := range s.deliveries {
		if d.handled {
			handled[d.channel+d.id] = true
		}
	}
	want := 0
	for _, channel := range s.all {
		want += s.Published(channel)
	}
	return len(handled) == want
}
