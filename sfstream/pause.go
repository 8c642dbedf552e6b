package sfstream

import (
	"sync"
	"time"
)

// pauseNoticed is how late a timer must fire before we take the delay for a pause of the
// process or of its machine (SIGSTOP, a suspended VM) and not for a busy machine. A server
// or a store that we waited for must not be blamed for the time of a pause.
const pauseNoticed = 10 * time.Second

// pausedSince returns for how long the process was paused, judged by a timer that should
// have fired at due and has fired now; zero if it was not.
func pausedSince(due, now time.Time) time.Duration {
	if late := now.Sub(due); late > pauseNoticed {
		return late
	}
	return 0
}

// vigil calls a function when something has lasted for a given time, in which pauses of the
// process do not count.
type vigil struct {
	mu     sync.Mutex
	timer  *time.Timer
	due    time.Time
	left   int           // how many of the vigilSteps are to come
	paused time.Duration // all pauses so far
	ended  bool
	give   func() // called when the time is over
}

// vigilSteps is the number of timer steps into which the time is divided. Each step counts
// once, however late it comes, so a pause costs at most one of them.
const vigilSteps = 10

func newVigil(d time.Duration, give func()) *vigil {
	step := d / vigilSteps
	v := &vigil{left: vigilSteps, due: time.Now().Add(step), give: give}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timer = time.AfterFunc(step, func() { v.step(step) })
	return v
}

func (v *vigil) step(step time.Duration) {
	v.mu.Lock()
	now := time.Now()
	v.paused += pausedSince(v.due, now)
	v.left--
	over := v.left == 0 && !v.ended
	if !over && !v.ended {
		v.due = now.Add(step)
		v.timer.Reset(step)
	}
	v.mu.Unlock()
	if over {
		v.give()
	}
}

// end stops the vigil and returns for how long the process was paused in it.
func (v *vigil) end() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.timer.Stop()
	if v.left > 0 {
		v.paused += pausedSince(v.due, time.Now())
	}
	return v.paused
}
