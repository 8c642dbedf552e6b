// Package pause tells the time in which the process ran from the time in which it did not: a
// process may be stopped (SIGSTOP), and its machine suspended.
package pause

import (
	"sync"
	"time"
)

// noticed is how late a timer must fire before we take the delay for a pause and not for a busy
// machine. A server or a store that we waited for must not be blamed for the time of a pause.
const noticed = 10 * time.Second

// Since returns for how long the process was paused, judged by a timer that should have fired at
// due and fires now; zero if it was not.
func Since(due, now time.Time) time.Duration {
	if late := now.Sub(due); late > noticed {
		return late
	}
	return 0
}

// A Timer calls a function when something has lasted for a given time, in which pauses of the
// process do not count.
type Timer struct {
	mu     sync.Mutex
	timer  *time.Timer
	due    time.Time
	left   int           // how many of the steps are to come
	paused time.Duration // all pauses so far
	ended  bool
	expire func()
}

// steps is the number of timer steps into which the time is divided. Each step counts once, however
// late it comes, so a pause costs at most one of them.
const steps = 10

// AfterFunc calls expire, on a goroutine of its own, when the process has run for d.
func AfterFunc(d time.Duration, expire func()) *Timer {
	step := d / steps
	t := &Timer{left: steps, due: time.Now().Add(step), expire: expire}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(step, func() { t.step(step) })
	return t
}

func (t *Timer) step(step time.Duration) {
	t.mu.Lock()
	now := time.Now()
	t.paused += Since(t.due, now)
	t.left--
	over := t.left == 0 && !t.ended
	if !over && !t.ended {
		t.due = now.Add(step)
		t.timer.Reset(step)
	}
	t.mu.Unlock()
	if over {
		t.expire()
	}
}

// Stop stops the Timer and returns for how long the process was paused since it began.
func (t *Timer) Stop() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
	if t.left > 0 {
		t.paused += Since(t.due, time.Now())
	}
	return t.paused
}
