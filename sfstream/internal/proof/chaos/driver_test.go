package chaos

import "time"

// Limits of a scenario. Not one of them is a promise of the contract; each is far below what a
// storm would be, and above what chance brings.
const (
	chaosDrain    = 3 * time.Hour // within which all must come once the faults are over
	perLifeLogins = 3
	perLoginFault = 4
)

// run plays the scenario.
func (c *chaos) run() {
	defer c.report()
	defer c.end()
	if !c.start("the first start") {
		return
	}
	published := make(chan struct{})
	c.wg.Go(func() { c.publisher(published) })
	r := c.random
	for {
		pause := time.Duration(r.Int64N(int64(3 * time.Second)))
		switch n := r.IntN(10); {
		case n < 3:
			pause = 0
		case n > 7:
			pause = time.Duration(r.Int64N(int64(5 * time.Minute)))
		}
		select {
		case <-published:
			c.finish()
			return
		case <-c.model.failed:
			return
		case err := <-c.live.ended:
			if !c.revive(err) {
				return
			}
			continue
		case <-time.After(pause):
		}
		if !c.step() {
			return
		}
	}
}

// step does one random thing.
func (c *chaos) step() bool {
	r := c.random
	name := c.names[r.IntN(len(c.names))]
	switch n := r.IntN(100); {
	case n < 70:
		c.hurt()
	case n < 78:
		c.live.unsubscribe(name)
		_ = wait(c.over, time.Second+time.Duration(r.Int64N(int64(time.Minute))))
		if c.live.subscribe(name) {
			c.resumes++
		}
	case n < 86:
		for _, name := range c.names { // those that could not be
			c.live.subscribe(name)
		}
	case n < 90:
		c.restarts++
		c.beBusy()
		c.quit()
		_ = wait(c.over, time.Duration(r.Int64N(int64(10*time.Second))))
		return c.start("a polite end")
	case n < 95:
		c.kills++
		c.kill()
		_ = wait(c.over, time.Duration(r.Int64N(int64(10*time.Second))))
		return c.start("a kill")
	default:
		c.slow.Store(int64(r.IntN(3)) * int64(300*time.Millisecond))
	}
	return true
}

// revive starts the program again after a client has ended by itself.
func (c *chaos) revive(err error) bool {
	if !c.expect.has(err) {
		c.model.deviate("the client has ended: %v", err)
		return false
	}
	c.ends++
	c.trace.add("the client has ended, as was to be expected: %v", err)
	c.heal()
	c.quit()
	return c.start("an end by a fault")
}

// heal takes all faults back.
func (c *chaos) heal() {
	c.ClearFaults()
	c.net.heal()
	c.restore()
	c.DropConnections() // those that are dead: a kernel would tell in the end
}

// finish takes all faults back, waits until everything has come, and compares.
func (c *chaos) finish() {
	c.trace.add("the faults are over")
	c.calm.Store(true)
	c.slow.Store(0)
	c.heal()
	c.stop()
	deadline := time.Now().Add(chaosDrain)
	for first, waited := true, false; ; first = false {
		all := true
		for _, name := range c.names {
			all = c.live.subscribe(name) && all
		}
		if all && first {
			for _, name := range c.names { // the client is used once more
				c.publish(name)
			}
		}
		c.model.mu.Lock()
		changed, missing := c.model.changed, c.model.missingLocked()
		c.model.mu.Unlock()
		if all && missing == "" {
			if waited {
				break
			}
			waited = true
			select {
			case <-c.model.failed:
				return
			case <-time.After(time.Minute): // nothing more comes, or what may be missed, which is to be handled too
			}
			continue
		}
		if time.Now().After(deadline) {
			c.model.deviate("does not come: %s; status %+v", missing, c.live.client.Status())
			return
		}
		select {
		case <-changed:
		case <-c.model.failed:
			return
		case err := <-c.live.ended:
			if !c.revive(err) {
				return
			}
		case <-time.After(time.Minute):
		}
	}
	c.compare()
}

func (m *chaosModel) missingLocked() string {
	for name, ch := range m.channels {
		if n := ch.missing(); n > 0 {
			return name + " " + itoa(n)
		}
	}
	return ""
}

// compare judges what is left when all has come.
func (c *chaos) compare() {
	if c.hasFailed() {
		return
	}
	m := c.model
	lost := make(map[string]bool) // the newest events, in a gap
	m.mu.Lock()
	for name, ch := range m.channels {
		gone := ch.gapped && len(c.Retained(name)) == 0 // what came since was queued before: its id was refused
		// The org may refuse a commit of what an earlier stream delivered, and begin at new events
		// again.
		behind := c.beginsAtNew(name) && ch.mayMiss[ch.published()]
		lost[name] = gone || behind || ch.gapped && ch.since == 0 || (ch.gapped || ch.mayMiss[ch.published()]) && ch.gotIn[ch.published()] != ch.epoch
	}
	m.mu.Unlock()
	known := c.live.knownTopics()
	c.quit()
	m.mu.Lock()
	for name, ch := range m.channels {
		if lost[name] || isGrouped(name) && c.apiOf(name) == "cometd" {
			continue
		}
		if at := c.savedAt(ch); at < ch.savedAtLeast(known) && ch.repeats == 0 {
			m.deviateLocked("%s: all %d events are handled, the marker of a polite end is at %d", name, ch.published(), at)
		}
	}
	m.mu.Unlock()
	c.wg.Wait()
	if n := c.DuplicateConnects(); n > 0 {
		c.model.deviate("%d connects beside another one of the session", n)
	}
	c.worst["logins per life and login fault, in tenths"] = c.Logins() * 10 / (c.lives + c.tokens)
	if limit := perLifeLogins*c.lives + perLoginFault*c.tokens; c.Logins() > limit {
		c.model.deviate("%d logins in %d lives with %d faults that ask for one", c.Logins(), c.lives, c.tokens)
	}
	faults := 0
	for _, n := range c.faults {
		faults += n
	}
	// A fault that lasts costs one handshake per backoff.
	attempts := c.lives + faults + int(c.trace.elapsed()/time.Minute)
	c.worst["writes"] = int(c.net.writes.Load())
	c.worst["handshakes per life, fault and minute, in tenths"] = c.Handshakes() * 10 / attempts
	if limit := 4 * attempts; c.Handshakes() > limit {
		c.model.deviate("%d handshakes in %d lives with %d faults within %s", c.Handshakes(), c.lives, faults, c.trace.elapsed())
	}
}

func (c *chaos) hasFailed() bool {
	select {
	case <-c.model.failed:
		return true
	default:
		return false
	}
}

// end ends everything, whatever has happened.
func (c *chaos) end() {
	c.stop()
	defer c.halt()
	if l := c.live; l != nil {
		l.cancel()
		_ = l.client.Close()
		<-l.done
	}
	c.wg.Wait()
	c.net.close()
}

// report fails the test with the first deviation.
func (c *chaos) report() {
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	problem := c.model.problem
	if problem == "" && !c.t.Failed() {
		return
	}
	c.t.Errorf("seed %d: %s\n\nto repeat it:\ngo test ./sfstream/internal/proof/chaos -run TestChaos -chaos.seed=%d -chaos.events=%d",
		c.seed, problem, c.seed, c.events)
}
