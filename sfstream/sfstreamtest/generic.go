package sfstreamtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// PushResult is the result of a push to a generic channel.
type PushResult struct {
	Event Event
	// FanoutCount is how many of the addressed users are online; -1 if the payload was for all.
	FanoutCount int
	// UserOnline says which of the addressed users are online.
	UserOnline map[string]bool
}

// DefineGenericChannel makes a channel of generic streaming, such as /u/orders.
func (s *Server) DefineGenericChannel(channel string) error {
	if t, ok := s.find(channel); ok && t.streaming {
		return validGeneric(channel) // it keeps its description
	}
	return s.defineGeneric(channel, "", genericTold{}, author{s.account.UserID, s.now()}, true)
}

// genericTold is what is told of a channel of generic streaming. An owner "" is the one that it has,
// or else who makes it.
type genericTold struct{ description, owner string }

// defineGeneric makes a channel of generic streaming, or tells something else of one. from is the
// name that the channel has had, if it is renamed.
func (s *Server) defineGeneric(channel, from string, told genericTold, by author, keep bool) error {
	if err := validGeneric(channel); err != nil {
		return err
	}
	if keep {
		e := entry{Op: opGeneric, Channel: channel, Schema: told.description, Owner: told.owner, At: by.at.UnixNano(), ID: by.user}
		if from != "" {
			e.Members = []string{from}
		}
		if err := s.journal.write(e); err != nil {
			return err
		}
	}
	var moved *channelRecord
	if from != "" {
		moved, _ = s.topic(from).renamed()
	}
	t := s.topic(channel)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generic = true
	t.recordLocked(moved, told.description, by)
	t.record.owner = or(told.owner, t.record.owner)
	return nil
}

func validGeneric(channel string) error {
	name, ok := strings.CutPrefix(channel, "/u/")
	if !ok || name == "" || len(channel) > 80 {
		return fmt.Errorf("sfstreamtest: %q is not a generic channel: /u/name, at most 80 characters", channel)
	}
	bad := func(c rune) bool {
		return c != '_' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if strings.ContainsFunc(name, bad) {
		return fmt.Errorf("sfstreamtest: %q is not a generic channel: letters, digits, _ and / only", channel)
	}
	return nil
}

// maxPush is how many characters a payload can have.
const maxPush = 3000

// Push puts a payload on a generic channel, for all its subscribers or for some users only.
func (s *Server) Push(channel, payload string, userIDs ...string) (PushResult, error) {
	t, ok := s.find(channel)
	if !ok || !strings.HasPrefix(channel, "/u/") {
		return PushResult{}, fmt.Errorf("sfstreamtest: generic channel %s is not defined", channel)
	}
	if utf8.RuneCountInString(payload) > maxPush {
		return PushResult{}, errors.New("sfstreamtest: a generic payload has at most 3,000 characters")
	}
	result := PushResult{FanoutCount: -1, UserOnline: make(map[string]bool)}
	if len(userIDs) > 0 {
		result.FanoutCount = 0
	}
	online := s.online(t)
	var users []string // each once, however often it is given
	for _, user := range userIDs {
		id := longID(user)
		result.UserOnline[user] = slices.Contains(online, id)
		if slices.Contains(users, id) {
			continue
		}
		if users = append(users, id); result.UserOnline[user] {
			result.FanoutCount++
		}
	}
	ev, err := s.add(t, record{
		at: s.clock.date().UnixNano(), id: strings.Join(users, ","), payload: appendJSONString(nil, payload),
	})
	ev.ID = ""
	result.Event = ev
	return result, err
}

// online returns the users who have a session that has the channel.
func (s *Server) online(t *topic) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	users := []string{}
	for sub := range t.subs {
		if !slices.Contains(users, sub.session.user) {
			users = append(users, sub.session.user)
		}
	}
	slices.Sort(users)
	return users
}
