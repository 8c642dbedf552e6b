package sfstream

import "strings"

// bareName is a channel's name without a filter: /topic/Accounts of /topic/Accounts?Region=EU. The
// server names the events of a filtered subscription by it, and a replay id belongs to it.
func bareName(channel string) string {
	bare, _, _ := strings.Cut(channel, "?")
	return bare
}

// almostLocked returns the channel that the session follows under almost the bare name of events
// that it does not follow: the names differ by case or by a slash. It is empty where there is none.
func (s *cometdSession) almostLocked(bare string) string {
	for name, c := range s.merger.channels {
		if !c.dropped() && strings.EqualFold(strings.Trim(name, "/"), strings.Trim(bare, "/")) {
			return c.sub.Name
		}
	}
	return ""
}

// warnStrange warns, once, that events of a followed channel come under another name: the session
// cannot tell that they belong to it.
func (t *cometd) warnStrange(subscribed, named string) {
	t.strange.Do(func() {
		t.log.Warn("events come under another name than the one that was subscribed, and are nobody's: subscribe by the name of the events",
			"channel", subscribed, "events", named)
	})
}
