package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// life is the program from a start to its end.
type life struct {
	*chaos
	number int
	client *sfstream.Client
	store  *lifeStore
	net    *lifeNet
	ack    sfstream.AckPolicy
	random *rand.Rand // of the consumer

	ctx    context.Context // of consumers
	cancel context.CancelFunc
	done   chan struct{} // closed when the consumer has ended
	ended  chan error    // the client has ended by itself
}

// start begins a life. It returns false if that takes too long.
func (c *chaos) start(cause string) bool {
	c.lives++
	r := c.random
	prefetch := 1 + r.IntN(200)
	if r.IntN(2) == 0 {
		prefetch = 1 + r.IntN(8)
	}
	l := &life{
		chaos: c, number: c.lives, ack: sfstream.AckPolicy(r.IntN(3)),
		random: rand.New(rand.NewPCG(c.seed, uint64(100+c.lives))),
		done:   make(chan struct{}), ended: make(chan error, 1),
	}
	l.store = &lifeStore{c: c, life: l.number, memory: c.memory, slow: &c.slow}
	l.net = newLifeNet(c.net)
	l.ctx, l.cancel = context.WithCancel(c.lasting)
	c.model.born(l.number, l.ack, cause)
	c.trace.add("life %d begins after %s: ack %d, prefetch %d", l.number, cause, l.ack, prefetch)
	client, err := sfstream.New(c.Authenticator(),
		sfstream.WithOrg(l.net), sfstream.WithReplayStore(l.store), sfstream.WithAck(l.ack), sfstream.WithPrefetch(prefetch),
		sfstream.WithReplay(c.replay()), sfstream.WithReplayFallback(c.fallback),
		sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { c.model.gap(l.number, g, c.fallback) }}),
		sfstream.WithLogger(slog.New(traceLog{c.trace, l.number})),
	)
	lab.Must(c.t, err)
	l.client, c.live = client, l
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(c.over, time.Minute)
		err := client.Open(ctx)
		cancel()
		if err == nil {
			break
		}
		c.trace.add("life %d cannot open: %v", l.number, err)
		if attempt == 30 {
			c.model.deviate("Open fails for %d attempts: %v", attempt, err)
		}
		if c.hasFailed() || c.over.Err() != nil {
			close(l.done)
			return false
		}
		if attempt%4 == 0 {
			c.ClearFaults() // nobody starts a program forever
		}
		_ = wait(c.over, 20*time.Second)
	}
	c.wg.Go(l.consume)
	for _, name := range c.names {
		l.subscribe(name)
	}
	return true
}

func (c *chaos) replay() sfstream.Replay {
	if c.replayAll {
		return sfstream.ReplayAll
	}
	return sfstream.ReplayNew
}

// subscribe follows a channel, if that is possible now.
func (l *life) subscribe(name string) bool {
	m := l.model
	m.mu.Lock()
	ch := m.channels[name]
	followed := ch.subscribed
	m.mu.Unlock()
	if followed {
		return true
	}
	l.beginManaged(name)
	var opts []sfstream.SubscribeOption
	if via := l.via[name]; via != sfstream.Auto {
		opts = append(opts, sfstream.Via(via))
	}
	err := l.follow(name, opts)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		l.trace.add("life %d cannot subscribe %s: %v", l.number, name, err)
		ch.end()
		return false
	}
	l.trace.add("life %d subscribed %s", l.number, name)
	if ch.loaded == loadedNone && !l.replayAll { // new means: from now on
		ch.missable(ch.published())
		ch.newUntil = time.Now()
	}
	ch.started = true
	return true
}

// unsubscribe stops following a channel.
func (l *life) unsubscribe(name string) {
	m := l.model
	m.mu.Lock()
	ch := m.channels[name]
	if !ch.subscribed {
		m.mu.Unlock()
		return
	}
	ch.leaving = true
	if m.putBack != nil && m.putBack.channel == ch {
		m.putBack = nil
	}
	m.mu.Unlock()
	err := l.client.Unsubscribe(l.ctx, l.given(name))
	l.letArrive(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	l.trace.add("life %d unsubscribed %s: %v", l.number, name, err)
	if l.client.Err() != nil {
		return // a client that has ended hands out what waits
	}
	if err != nil {
		m.deviateLocked("%s: Unsubscribe: %v", name, err)
	}
	ch.end()
}

// close ends the client in the time that Close may take.
func (l *life) close() {
	start := time.Now()
	err := l.client.Close()
	took := time.Since(start)
	l.trace.add("life %d closed in %s: %v", l.number, took, err)
	if took > 5*time.Second {
		l.model.deviate("Close took %s", took)
	}
	var store *sfstream.StoreError
	if errors.As(err, &store) {
		l.model.deviate("Close: %v", err)
	}
}

// beBusy makes the end of a life, which is next, one with messages that are just being handled, and
// often with a store that has not answered yet.
func (c *chaos) beBusy() {
	c.slow.Store(int64(c.random.IntN(3)) * int64(300*time.Millisecond))
	for range c.random.IntN(4) {
		for _, name := range c.names {
			c.publish(name)
		}
		_ = wait(c.over, time.Duration(c.random.Int64N(int64(50*time.Millisecond))))
	}
}

// quit ends a life politely.
func (c *chaos) quit() {
	l := c.live
	want := c.model.savable()
	l.close()
	l.cancel()
	<-l.done
	c.letArrive(c.names...)
	for name, n := range want {
		if isManaged(name) {
			continue // its stream may be broken
		}
		if isGrouped(name) && c.apiOf(name) == "cometd" {
			continue // what came before its turn is not saved: it comes again
		}
		c.model.mu.Lock()
		if at := l.store.at(c.key(name), c.model.channels[name]); at < n {
			c.model.deviateLocked("%s: up to number %d all is handled, and a polite end has saved %d", name, n, at)
		}
		c.model.mu.Unlock()
	}
	c.model.died()
	l.store.kill()
}

// kill ends a life as SIGKILL does. What is left of it goes on for a while.
func (c *chaos) kill() {
	l := c.live
	l.net.cut()
	c.letArrive(c.names...)
	c.model.died()
	l.store.kill()
	c.trace.add("life %d is killed", l.number)
	c.wg.Go(func() { // the scenario's end waits for it
		l.cancel()
		l.close()
		<-l.done
	})
}

// born begins a life: from now on only what it does counts.
func (m *chaosModel) born(life int, ack sfstream.AckPolicy, cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.ack, m.cause, m.putBack, m.perhaps = life, ack, cause, nil, nil
}

// died ends the present life.
func (m *chaosModel) died() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.putBack, m.perhaps = 0, nil, nil
	for _, ch := range m.channels {
		if ch.subscribed {
			ch.end()
		}
	}
}

// savable is what a polite end must have saved, by channel.
func (m *chaosModel) savable() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := make(map[string]int)
	for name, ch := range m.channels {
		if n := ch.savable(); n > 0 {
			want[name] = n
		}
	}
	return want
}

// expectedEnds are the errors that faults were meant to end a client with.
type expectedEnds struct{ auth, denied, replay, invalid bool }

func (e expectedEnds) has(err error) bool {
	var auth *sfstream.AuthError
	var replay *sfstream.ReplayError
	var server *sfstream.ServerError
	switch {
	case errors.As(err, &auth):
		return e.auth
	case errors.As(err, &replay):
		return e.replay
	case errors.As(err, &server):
		return e.invalid && server.Code == sfstream.Invalid || e.denied && (server.Code == sfstream.PermissionDenied || server.Code == sfstream.NotFound)
	}
	return false
}

func (l *life) String() string { return fmt.Sprintf("life %d", l.number) }
