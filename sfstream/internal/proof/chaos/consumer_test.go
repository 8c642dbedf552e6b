package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// consume takes messages in every way that there is until the life ends.
func (l *life) consume() {
	defer close(l.done)
	var late sync.WaitGroup // those who ack later
	defer late.Wait()
	for l.ctx.Err() == nil {
		switch l.random.IntN(3) {
		case 0:
			l.loop(&late)
		case 1:
			l.receiveSome(&late)
		default:
			l.selectSome(&late)
		}
		if err := l.client.Err(); err != nil {
			l.ended <- err
			return
		}
		if errors.Is(l.closedErr(), sfstream.ErrClosed) {
			return
		}
	}
}

// closedErr tells whether the client is closed.
func (l *life) closedErr() error {
	return l.client.Unsubscribe(l.ctx, "/event/Nothing__e")
}

// take lets the model judge a message, and works on it.
func (l *life) take(m *sfstream.Message) *taken {
	n, err := chaosNumber(m)
	l.judge(m.Channel)
	tk := l.model.deliver(l.number, m.Channel, m.ReplayID, n)
	if tk == nil {
		return nil
	}
	if err == nil && n != tk.number {
		l.model.deviate("%s: number %d has the replay id of number %d", m.Channel, n, tk.number)
	}
	if err != nil && !l.schemaGone.Load() {
		l.model.deviate("%s: number %d cannot be decoded: %v", m.Channel, tk.number, err)
	}
	return tk
}

// work is what the body of a loop does: mostly nothing, sometimes for long.
func (l *life) work() {
	if l.calm.Load() {
		return
	}
	var d time.Duration
	switch n := l.random.IntN(200); {
	case n < 170:
	case n < 190:
		d = time.Duration(l.random.Int64N(int64(5 * time.Second)))
	case n < 198:
		d = time.Duration(l.random.Int64N(int64(90 * time.Second)))
	default:
		d = time.Duration(l.random.Int64N(int64(20 * time.Minute)))
	}
	_ = wait(l.ctx, d)
}

// handleLater acks from a goroutine of its own, in no order.
func (l *life) handleLater(late *sync.WaitGroup, m *sfstream.Message, tk *taken) {
	var d time.Duration
	switch n := l.random.IntN(100); {
	case n < 50:
	case n < 90:
		d = time.Duration(l.random.Int64N(int64(3 * time.Second)))
	case n < 98:
		d = time.Duration(l.random.Int64N(int64(time.Minute)))
	default:
		d = time.Duration(l.random.Int64N(int64(10 * time.Minute)))
	}
	if l.calm.Load() {
		d = 0
	}
	late.Go(func() { // its WaitGroup ends consume
		if wait(l.ctx, d) == nil {
			l.settle(m, tk)
		}
	})
}

func (l *life) settle(m *sfstream.Message, tk *taken) {
	l.judge(m.Channel)
	l.model.handle(tk) // before: the save may come at once
	m.Ack()
}

// loop takes some messages in a loop and leaves it in one of the ways there are.
func (l *life) loop(late *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	if l.random.IntN(4) == 0 {
		defer time.AfterFunc(time.Duration(1+l.random.Int64N(int64(time.Minute))), cancel).Stop()
	}
	defer func() { _ = recover() }() // of our own panic
	for m := range l.client.Messages(ctx) {
		tk := l.take(m)
		l.work()
		leave := l.random.IntN(12) == 0
		switch l.ack {
		case sfstream.AckManual:
			l.handleLater(late, m, tk)
		case sfstream.AckAuto:
			if leave && l.random.IntN(2) == 0 {
				l.model.back(l.number, tk)
			} else if leave {
				l.settle(m, tk)
			} else {
				l.judge(m.Channel)
				l.model.handle(tk) // asking for the next one
			}
		}
		if leave && l.random.IntN(4) == 0 {
			panic("a body that panics")
		}
		if leave {
			return
		}
	}
}

// receiveSome takes some messages with Receive. The last one is acked, as the documentation says.
func (l *life) receiveSome(late *sync.WaitGroup) {
	n := 1 + l.random.IntN(10)
	for i := 1; i <= n; i++ {
		ctx, cancel := context.WithTimeout(l.ctx, time.Duration(1+l.random.Int64N(int64(2*time.Minute))))
		m, err := l.client.Receive(ctx)
		cancel()
		if err != nil {
			return
		}
		tk := l.take(m)
		l.work()
		switch {
		case l.ack == sfstream.AckManual:
			l.handleLater(late, m, tk)
		case i == n:
			l.settle(m, tk)
		default:
			l.judge(m.Channel)
			l.model.handle(tk)
		}
	}
}

// selectSome takes some messages from C, and what is held out at the end.
func (l *life) selectSome(late *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	c := l.client.C(ctx)
	var last *taken
	for n := 1 + l.random.IntN(10); ; n-- {
		if n == 0 {
			cancel()
		}
		timeout := time.NewTimer(time.Duration(1 + l.random.Int64N(int64(2*time.Minute))))
		if l.ack == sfstream.AckAuto {
			l.model.mayHandle(last)
		}
		var m *sfstream.Message
		select {
		case m = <-c:
		case <-timeout.C:
			cancel()
			m = <-c
		}
		timeout.Stop()
		if m == nil {
			if l.ack == sfstream.AckAuto {
				l.model.cannotHandle(last)
				l.model.back(l.number, last)
			}
			return
		}
		tk := l.take(m)
		l.work()
		last = tk
		switch {
		case l.ack == sfstream.AckManual:
			l.handleLater(late, m, tk)
		case l.ack == sfstream.AckAuto && l.random.IntN(6) == 0:
			l.settle(m, tk)
			last = nil
		}
	}
}
