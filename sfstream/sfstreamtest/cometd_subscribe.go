package sfstreamtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subscription is a session's place in a channel.
type subscription struct {
	session *bayeuxSession
	topic   *topic
	name    string // the name that the client subscribed to
	channel []byte // the name in its events, as JSON
	filter  filter

	// The session's mutex guards these.
	cursor int   // index of the next record
	began  int   // index of the first record that came after the subscribe: those before are replayed
	place  place // how far the subscription is in a group
	seek   seek
}

// leave takes the subscription out of its channel.
func (sub *subscription) leave() {
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	delete(sub.topic.subs, sub)
	sub.topic.notifyLocked()
}

func (x *exchange) subscribe(m *bayeuxMessage) {
	ses := x.find(m)
	if ses == nil {
		return
	}
	r := bayeuxReply{message: m, clientID: ses.id}
	sub, start, text := x.resolve(m)
	if text == "" {
		sub.session = ses
		r.error, r.failureReason = x.place(sub, start)
	} else {
		r.error = text
	}
	switch {
	case r.error == unknownClient:
		x.session = nil
		x.server.endSession(ses, farewell{error: unknownClient, advice: adviceHandshake})
		x.unknown(m)
		return
	case strings.HasPrefix(r.error, "401:"):
		r.advice = adviceNone
		x.badStatus(http.StatusUnauthorized)
	}
	x.reply(r)
}

// start is where a subscription begins.
type start struct {
	preset string // LATEST, EARLIEST or CUSTOM
	id     uint64
	text   string // the id's text
	keep   bool   // the message has no replay map: a subscription that exists keeps its place
}

// resolve reads a subscribe message. text is what is wrong with it, "" if nothing is.
func (x *exchange) resolve(m *bayeuxMessage) (sub *subscription, at start, text string) {
	s := x.server
	name, bare := m.name(), m.bare()
	switch {
	case len(m.Subscription) > 0 && m.Subscription[0] == '[':
		return nil, at, "400::Subscription must be a single channel name"
	case name == "":
		return nil, at, "400::Channel name not specified"
	case name[0] != '/':
		return nil, at, "400::Channel subscriptions must start with a leading '/'"
	case strings.HasSuffix(bare, "/*") || strings.HasSuffix(bare, "/**"):
		return nil, at, "400::Wildcard subscriptions are not supported {" + name + "}"
	case strings.HasPrefix(name, "/meta/"):
		return nil, at, "403::Restricted channel"
	}
	t, ok := s.find(bare)
	if !ok || name != bare && !strings.HasPrefix(bare, "/topic/") {
		return nil, at, s.noChannel(name, bare)
	}
	sub = &subscription{topic: t, name: name, channel: appendJSONString(nil, name)}
	if s.config.cometd.bareChannel {
		sub.channel = appendJSONString(nil, bare)
	}
	if name != bare {
		sub.filter = parseFilter(name[len(bare)+1:])
		if missing := t.missingFields(sub.filter); missing != "" {
			return nil, at, "400::Query fields {" + missing + "} do not exist on the topic entity"
		}
	}
	at, text = replayOf(m.Ext.Replay, bare)
	return sub, at, text
}

// noChannel returns the error for a channel that does not exist.
func (s *Server) noChannel(name, bare string) string {
	for _, prefix := range []string{"/topic/", "/event/", "/data/"} {
		if strings.HasPrefix(bare, prefix) {
			return "400::The channel you requested to subscribe to does not exist {" + name + "}"
		}
	}
	if !strings.HasPrefix(bare, "/u/") {
		return createDenied
	}
	if slices.ContainsFunc(s.channels(), func(known string) bool { return strings.EqualFold(known, bare) }) {
		return "404::channel names may not vary only by case"
	}
	return "404::Unknown channel"
}

// replayOf reads ext.replay, a map from bare names to replay ids.
func replayOf(raw json.RawMessage, bare string) (at start, text string) {
	at = start{preset: "LATEST", keep: true}
	if len(raw) == 0 || raw[0] != '{' {
		return at, ""
	}
	at.keep = false
	var ids map[string]json.RawMessage
	if err := json.Unmarshal(raw, &ids); err != nil {
		return at, invalidReplay(string(raw))
	}
	value, ok := ids[bare]
	if !ok {
		return at, "400::The replayId for channel {" + bare + "} wasn't found using the provided replay ID map {" + javaMap(raw) +
			"}. Ensure that the channel name you provided in the replay map is valid and matches the channel name used for subscribing."
	}
	at.text = strings.Trim(string(value), `"`)
	switch at.text {
	case "-1":
	case "-2":
		at.preset = "EARLIEST"
	default:
		var err error
		at.preset = "CUSTOM"
		if at.id, err = strconv.ParseUint(at.text, 10, 64); err != nil {
			return at, invalidReplay(at.text)
		}
	}
	return at, ""
}

func invalidReplay(id string) string {
	return "400::The replayId {" + id + "} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
}

// javaMap formats a JSON object as Java prints a map: {/topic/A=-1, /topic/B=7}.
func javaMap(raw []byte) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var pairs []string
	if _, err := dec.Token(); err != nil {
		return "{}"
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			break
		}
		name, _ := key.(string)
		pairs = append(pairs, name+"="+strings.Trim(string(value), `"`))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// place gives a subscription its place in its channel, or returns the error why it gets none.
func (x *exchange) place(sub *subscription, at start) (text, reason string) {
	s, t, ses := x.server, sub.topic, sub.session
	call := SubscribeCall{Preset: at.preset, At: time.Now()}
	if at.preset == "CUSTOM" {
		call.ReplayID = []byte(at.text)
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscribes = append(t.subscribes, call)
	if f, ok := s.faults.take(atSubscribe, t.name); ok {
		return cometdError(f.code, sub.name, at)
	}
	switch {
	case ses.gone:
		return unknownClient, ""
	case !t.existsLocked(): // the channel was removed a moment ago
		return s.noChannel(sub.name, t.name), ""
	case t.revoked:
		return noPermission(t.name), ""
	case s.limited():
		return dailyLimit, ""
	}
	i := slices.IndexFunc(ses.subs, func(old *subscription) bool { return old.topic == t })
	if i >= 0 && s.config.cometd.resubscribeError {
		return "403::Subscription already exists {" + sub.name + "}", ""
	}
	t.log.expire(s.now(), s.retention(t))
	sub.began = t.log.next
	switch at.preset {
	case "EARLIEST":
		sub.cursor = t.log.first
	case "CUSTOM":
		// A mark is a position on the Pub/Sub API only.
		next, ok := t.afterLocked(replayBytes(at.id))
		if !ok || next > t.log.first && t.log.at(next-1).kind == mark && t.log.at(next-1).replay == at.id {
			return invalidReplay(string(call.ReplayID)), ""
		}
		sub.cursor = next
		if f, ok := s.faults.take(atReplay, t.name); ok {
			sub.cursor = t.log.back(sub.cursor, f.events)
		}
	default:
		sub.cursor = t.log.next
	}
	if at.preset != "LATEST" {
		sub.beginSeekLocked(s)
	}
	if i >= 0 {
		if at.keep {
			sub.cursor, sub.began, sub.place = ses.subs[i].cursor, ses.subs[i].began, ses.subs[i].place
		}
		delete(t.subs, ses.subs[i])
		ses.subs[i] = sub
	} else {
		ses.subs = append(ses.subs, sub)
	}
	t.subs[sub] = struct{}{}
	t.notifyLocked()
	return "", ""
}

// noPermission returns the error for a channel that the user may not have.
func noPermission(channel string) string {
	switch {
	case strings.HasPrefix(channel, "/data/"):
		return "403::User not allowed to subscribe CDC without View All Data permissions"
	case strings.HasPrefix(channel, "/topic/"):
		return "403::Subscriber does not have access to the entity in this topic"
	case strings.HasPrefix(channel, "/u/"):
		return "403::No access on channel"
	}
	return "403::Restricted channel"
}

// unsubscribe gives a channel up. It is no error if the session does not have the channel.
func (x *exchange) unsubscribe(m *bayeuxMessage) {
	ses := x.find(m)
	if ses == nil {
		return
	}
	r := bayeuxReply{message: m, clientID: ses.id}
	if _, ok := x.server.find(m.bare()); !ok {
		r.error = "400::channel_missing"
		x.reply(r)
		return
	}
	var left *subscription
	ses.mu.Lock()
	if i := slices.IndexFunc(ses.subs, func(sub *subscription) bool {
		return sub.name == m.name() || sub.topic.name == m.name()
	}); i >= 0 {
		left = ses.subs[i]
		ses.subs = slices.Delete(ses.subs, i, i+1)
	}
	ses.mu.Unlock()
	if left != nil {
		left.leave()
	}
	x.reply(r)
}
