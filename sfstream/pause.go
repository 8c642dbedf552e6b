package sfstream

import (
	"sync"
	"time"
)

// pauseNoticed is how late a timer must be to tell of a pause of the process or its
// machine (SIGSTOP, a suspended VM) and not of a busy one. What was waited for had no
// more time than we had.
const pauseNoticed = 10 * time.Second

// pausedSince is how long nothing has run, by a timer that was due.
func pausedSince(due, now time.Time) time.Duration {
	if late := now.Sub(due); late > pauseNoticed {
		return late
	}
	return 0
}

// vigil calls a function when something has lasted for a time in which the process
// ran.
type vigil struct {
	mu     sync.Mutex
	timer  *time.Timer
	due    time.Time
	left   int // steps
	paused time.Duration
	ended  bool
	give   func()
}

// vigilSteps is in how many steps a vigil counts: each counts once, however late.
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

// end ends the vigil and returns for how long the process was paused meanwhile.
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
