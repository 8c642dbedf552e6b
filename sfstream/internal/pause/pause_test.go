package pause

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestATimerCountsTheTimeThatTheProcessRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given atomic.Bool
		timer := AfterFunc(5*time.Minute, func() { given.Store(true) })
		<-time.After(time.Minute + time.Second)
		timer.mu.Lock()
		timer.timer.Stop()
		timer.mu.Unlock()
		<-time.After(time.Hour)      // a pause: the step of 90 s comes late
		timer.step(30 * time.Second) // and counts once
		<-time.After(3 * time.Minute)
		if given.Load() {
			t.Error("given up too early")
		}
		<-time.After(time.Minute)
		if !given.Load() {
			t.Error("not given up")
		}
		if paused := timer.Stop(); paused < 59*time.Minute || paused > time.Hour {
			t.Errorf("paused for %v", paused)
		}
	})
}

func TestOnlyALateTimerTellsOfAPause(t *testing.T) {
	due := time.Now()
	for late, want := range map[time.Duration]time.Duration{-time.Hour: 0, 0: 0, 10 * time.Second: 0, 5 * time.Minute: 5 * time.Minute} {
		if got := Since(due, due.Add(late)); got != want {
			t.Errorf("%v late: %v", late, got)
		}
	}
}
