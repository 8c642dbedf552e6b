package sfstreamtest

import (
	"sync/atomic"
	"time"
)

// seedStart is when the clock of an org with a seed begins.
var seedStart = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// clock is the org's clock, which dates events and logins and says what has aged out. How long
// something takes is measured by ours.
type clock struct {
	skew  time.Duration
	still atomic.Int64 // the time in Unix nanoseconds of a clock that only events move; 0: it runs
}

// now returns the time.
func (c *clock) now() time.Time {
	at := time.Now()
	if still := c.still.Load(); still != 0 {
		at = time.Unix(0, still).UTC()
	}
	return at.Add(c.skew)
}

// date returns the date of what happens now. It moves a clock that stands still by a second.
func (c *clock) date() time.Time {
	if c.still.Load() != 0 {
		c.still.Add(int64(time.Second))
	}
	return c.now()
}

// pass makes sure that a clock that stands still is not behind a date that the org has given.
func (c *clock) pass(date int64) {
	if still := c.still.Load(); still != 0 {
		c.still.Store(max(still, date-int64(c.skew)))
	}
}
