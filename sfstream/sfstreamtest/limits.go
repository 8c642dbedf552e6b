package sfstreamtest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// usage counts what the limits of the org are about.
type usage struct {
	mu     sync.Mutex
	limits map[string]*limit
}

// limit is a number of things that may happen, in each period if there is one.
type limit struct {
	max, used int
	period    time.Duration // 0: it is not used up with time
	since     time.Time     // when the period began that used is about
}

const (
	dailyRequests      = "DailyApiRequests"
	dailyDelivered     = "DailyDeliveredPlatformEvents"
	hourlyPublished    = "HourlyPublishedPlatformEvents"
	dailyPushTopics    = "DailyDurableStreamingApiEvents"
	dailyGenericEvents = "DailyDurableGenericStreamingApiEvents"
	concurrentClients  = "DurableStreamingApiConcurrentClients"
)

// defaultLimits are those of an org of middling size. An org that has bought no more platform
// events has a monthly entitlement of 0, which is not the same as one that is used up.
func defaultLimits() map[string]*limit {
	const hour, day = time.Hour, 24 * time.Hour
	return map[string]*limit{
		dailyRequests:                                 {max: 100_000, period: day},
		"DailyBulkApiBatches":                         {max: 15_000, period: day},
		dailyDelivered:                                {max: 50_000, period: day},
		hourlyPublished:                               {max: 250_000, period: hour},
		"MonthlyPlatformEventsUsageEntitlement":       {},
		"DailyStandardVolumePlatformEvents":           {max: 25_000, period: day},
		"HourlyPublishedStandardVolumePlatformEvents": {max: 1_000, period: hour},
		dailyPushTopics:                               {max: 200_000, period: day},
		dailyGenericEvents:                            {max: 200_000, period: day},
		concurrentClients:                             {max: 2_000},
		"DailyStreamingApiEvents":                     {max: 200_000, period: day},
		"DailyGenericStreamingApiEvents":              {max: 10_000, period: day},
		"StreamingApiConcurrentClients":               {max: 2_000},
		"DataStorageMB":                               {max: 1_024},
		"FileStorageMB":                               {max: 1_024},
	}
}

// limitLocked returns a limit by its name, with what of its present period is used.
func (u *usage) limitLocked(name string, now time.Time) (*limit, bool) {
	if u.limits == nil {
		u.limits = defaultLimits()
	}
	l, ok := u.limits[name]
	if ok && l.period > 0 {
		if began := now.UTC().Truncate(l.period); !l.since.Equal(began) {
			l.since, l.used = began, 0
		}
	}
	return l, ok
}

// take counts one thing against a limit, unless the limit is used up.
func (u *usage) take(name string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, ok := u.limitLocked(name, now)
	if ok && l.used >= l.max {
		return false
	}
	if ok {
		l.used++
	}
	return true
}

// use counts n things against a limit.
func (u *usage) use(name string, n int, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l, ok := u.limitLocked(name, now); ok {
		l.used += n
	}
}

// SetLimit sets a limit of the org, by its name in the REST API, and how much of it is left now.
// What happens from now on is taken from what is left, where the org counts it: REST requests,
// events delivered and published, and Bayeux sessions, of which remaining is always what max
// leaves. Where HourlyPublishedPlatformEvents is used up, events that clients publish have the
// error LIMIT_EXCEEDED. The other limits refuse nothing: [Server.FailREST] and [Server.DailyLimit]
// do.
func (s *Server) SetLimit(name string, max, remaining int) error {
	if max < 0 || remaining < 0 || remaining > max {
		return fmt.Errorf("sfstreamtest: SetLimit(%q, %d, %d): remaining is between 0 and max", name, max, remaining)
	}
	u := &s.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	l, ok := u.limitLocked(name, s.now())
	if !ok {
		l = new(limit)
		u.limits[name] = l
	}
	l.max, l.used = max, max-remaining
	return nil
}

// orgLimit is a limit as the REST API shows it.
type orgLimit struct {
	Max       int
	Remaining int
}

// listLimits answers with the limits of the org and what is left of each.
func (s *Server) listLimits(*http.Request) (int, any, error) {
	sessions := s.Sessions()
	u := &s.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	now := s.now()
	u.limitLocked("", now)
	list := make(map[string]orgLimit)
	for name := range u.limits {
		l, _ := u.limitLocked(name, now)
		if name == concurrentClients {
			l.used = sessions
		}
		list[name] = orgLimit{l.max, max(0, l.max-l.used)}
	}
	return http.StatusOK, list, nil
}

// countDelivered counts events that a client of a channel gets.
func (s *Server) countDelivered(t *topic, n int) {
	name := dailyDelivered
	switch {
	case strings.HasPrefix(t.name, "/topic/"):
		name = dailyPushTopics
	case strings.HasPrefix(t.name, "/u/"):
		name = dailyGenericEvents
	}
	s.usage.use(name, n, s.now())
}

// countPublished counts an event that is published, if it is a platform event.
func (s *Server) countPublished(t *topic) {
	if strings.HasPrefix(t.name, "/event/") {
		s.usage.use(hourlyPublished, 1, s.now())
	}
}

// limitInfo returns how much of the limit of requests is used, as replies of the REST API tell it.
func (s *Server) limitInfo() string {
	u := &s.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	l, _ := u.limitLocked(dailyRequests, s.now())
	return fmt.Sprintf("api-usage=%d/%d", l.used, l.max)
}
