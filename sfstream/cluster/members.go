package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// memberList is the value of the members' key.
type memberList struct {
	Version int      `json:"version"` // 1
	Members []member `json:"members"` // by name and incarnation
}

// A member is a replica that takes part.
type member struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	Counter     uint64 `json:"counter"`  // it moves while the replica lives
	LeaseMS     int64  `json:"lease_ms"` // by which the others judge that
}

const membersVersion = 1

// errNewer says that a list is not for this release: it is left as it is.
var errNewer = errors.New("written by a newer release?")

func decodeMembers(value []byte) (list memberList, err error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return list, err
	}
	switch v := head.Version; {
	case v > membersVersion:
		return list, fmt.Errorf("it has version %d, and this release reads version %d: %w", v, membersVersion, errNewer)
	case v < membersVersion:
		return list, errors.New("it has no version")
	}
	err = json.Unmarshal(value, &list)
	return list, err
}

// members is what a replica knows of the cluster. The scout alone uses it.
type members struct {
	cfg *config
	key string
	log *slog.Logger
	me  member

	others  map[string]*acquaintance // by incarnation
	read    bool                     // the list was read once, if only to find that it says nothing
	changed time.Time                // when others joined or went last, or this began
	beaten  time.Time                // when this replica's counter was put last
	told    bool                     // that another replica has the same name
}

// An acquaintance is another member as this replica sees it.
type acquaintance struct {
	member
	moved  time.Time // when its counter was first seen as it is
	alive  bool      // it was seen to move
	listed bool      // it is in the list
}

// lease is by which a replica judges another: the longer one of both.
func (a *acquaintance) lease(cfg *config) time.Duration {
	return max(time.Duration(a.LeaseMS)*time.Millisecond, cfg.lease)
}

// present returns the others that are there.
func (m *members) present(now time.Time) (all []*acquaintance) {
	for _, a := range m.others {
		if a.listed && now.Sub(a.moved) < a.lease(m.cfg) {
			all = append(all, a)
		}
	}
	return all
}

func newMembers(cfg *config, org, incarnation string, log *slog.Logger) *members {
	return &members{
		cfg: cfg, key: cfg.membersKey(org), log: log, others: make(map[string]*acquaintance), changed: time.Now(),
		me: member{Name: cfg.name, Incarnation: incarnation, LeaseMS: cfg.lease.Milliseconds()},
	}
}

// look reads the list, and puts this replica into it where a beat is over. It reports whether
// others are there than before.
func (m *members) look(ctx context.Context) (changed bool, err error) {
	for range 3 { // others put too
		var value []byte
		var rev string
		value, rev, err = m.get(ctx)
		if err != nil {
			return changed, err
		}
		var list memberList
		if rev != "" {
			list, err = decodeMembers(value)
		}
		now := time.Now()
		m.read = true // the list says how to share, not who may lead
		switch {
		case errors.Is(err, errNewer):
			return changed, fmt.Errorf("cluster: key %q: %w", m.key, err)
		case err != nil:
			list = memberList{} // it may be half there
			m.log.Warn("cluster: the list of members is damaged, and written anew", "key", m.key, "error", err)
		default:
			changed = m.observe(list.Members, now) || changed
		}
		if m.isIn(list) && now.Sub(m.beaten) < m.cfg.beat() {
			return changed, nil
		}
		m.me.Counter++
		if err = m.putList(ctx, rev, true); !errors.Is(err, replaystore.ErrConflict) {
			if err == nil {
				m.beaten = now
			}
			return changed, err
		}
	}
	return changed, nil // next time
}

// isIn reports whether a list has this replica.
func (m *members) isIn(list memberList) bool {
	return slices.ContainsFunc(list.Members, func(o member) bool { return o.Incarnation == m.me.Incarnation })
}

func (m *members) get(ctx context.Context) (value []byte, rev string, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.patience())
	defer cancel()
	value, rev, err = m.cfg.register.Get(ctx, m.key)
	if errors.Is(err, replaystore.ErrNotFound) {
		return nil, "", nil
	}
	return value, rev, err
}

// observe takes notice of a list. It reports whether others are there than before: whose counter
// has not moved for its lease is gone.
func (m *members) observe(list []member, now time.Time) (changed bool) {
	before := m.names(now)
	for _, a := range m.others {
		a.listed = false
	}
	for _, o := range list {
		if o.Incarnation == m.me.Incarnation {
			m.me.Counter = max(m.me.Counter, o.Counter)
			continue
		}
		a := m.others[o.Incarnation]
		switch {
		case a == nil:
			a = &acquaintance{moved: now}
			m.others[o.Incarnation] = a
		case a.Counter != o.Counter:
			a.moved, a.alive = now, true
		}
		a.member, a.listed = o, true
	}
	// Who is gone is remembered: another replica may not know it yet and put it into the list again.
	maps.DeleteFunc(m.others, func(_ string, a *acquaintance) bool {
		return !a.listed && now.Sub(a.moved) > 10*a.lease(m.cfg)
	})
	if changed = !slices.Equal(before, m.names(now)); changed {
		m.changed = now
	}
	return changed
}

// putList puts those who are there, with this replica or without.
func (m *members) putList(ctx context.Context, rev string, withMe bool) error {
	list := memberList{Version: membersVersion}
	for _, a := range m.present(time.Now()) {
		list.Members = append(list.Members, a.member)
	}
	if withMe {
		list.Members = append(list.Members, m.me)
	}
	slices.SortFunc(list.Members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	value, err := json.Marshal(list)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.beat())
	defer cancel()
	_, err = m.cfg.register.Put(ctx, m.key, value, rev)
	return err
}

// leave takes this replica out of the list. Where that fails the others find out by themselves.
func (m *members) leave(ctx context.Context) {
	for range 3 {
		value, rev, err := m.get(ctx)
		if err != nil || rev == "" {
			return
		}
		list, err := decodeMembers(value)
		if err != nil {
			return
		}
		m.observe(list.Members, time.Now())
		if m.putList(ctx, rev, false) == nil {
			return
		}
	}
}

// names returns the names of all members, sorted.
func (m *members) names(now time.Time) []string {
	names := []string{m.me.Name}
	for _, a := range m.present(now) {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names
}

// share is how many of n channels are this replica's fair share, if the one named gone is not
// there.
func (m *members) share(n int, gone string, now time.Time) int {
	replicas := 1
	for _, a := range m.present(now) {
		if a.Name != gone {
			replicas++
		}
	}
	return (n + replicas - 1) / replicas
}

// settled reports whether the same members have been there for a lease.
func (m *members) settled(now time.Time) bool {
	return now.Sub(m.changed) >= m.cfg.lease
}

// twin reports, once, that another living replica has this one's name.
func (m *members) twin() bool {
	for _, a := range m.others {
		if a.Name == m.me.Name && a.alive && !m.told {
			m.told = true
			return true
		}
	}
	return false
}
