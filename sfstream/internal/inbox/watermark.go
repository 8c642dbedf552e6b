package inbox

import "time"

// quietSave is how old the stored Live of a channel may get while nothing of it is handled, and how
// far ahead of the truth a clock that was wrong may have left it.
const quietSave = time.Hour

// watermark is the contiguous end of what is handled of a channel. Its list holds the slabs that
// have unhandled messages and, merged into one slab, the handled ones between two of these: it
// grows with what is unhandled, not with what came after.
//
// Invariant: the message of the head at its index passed is unhandled, and of two neighbours in the
// list at least one has unhandled messages. Inbox.mu guards it.
type watermark[M any] struct {
	cfg        *Config[M]
	head, tail *Slab[M]
	current    mark[M] // all up to it is handled
	saved      mark[M] // the newest one known to be in the store
}

// pushLocked appends a slab in order of arrival. It reports what advanceLocked reports: a slab
// whose messages are all handled already, at the head of the list, moves the watermark at once.
func (w *watermark[M]) pushLocked(s *Slab[M], dirty bool) (save bool) {
	if s.before = w.tail; w.tail != nil {
		w.tail.after = s
	} else {
		w.head = s
	}
	w.tail = s
	switch {
	case w.head == s:
		return w.advanceLocked(dirty)
	case s.unhandled == 0:
		w.mergeLocked(s)
	}
	return false
}

// settleLocked marks a message as handled. It reports what advanceLocked reports.
func (w *watermark[M]) settleLocked(m Slot[M], dirty bool) (save bool) {
	s := m.slab
	m.setLocked(handled)
	s.unhandled--
	switch {
	case w.head == s:
		if int(m.place) == s.passed {
			return w.advanceLocked(dirty)
		}
	case s.unhandled == 0:
		w.mergeLocked(s)
	}
	return false
}

// advanceLocked moves the watermark to the first message that is not handled. It reports whether it
// has moved far enough to be saved. It does not look at that if the channel is dirty, because the
// saver will then save it anyway. This runs for every message that is handled, so it compares a few
// fields and allocates nothing.
func (w *watermark[M]) advanceLocked(dirty bool) (save bool) {
	current := &w.current
	for s := w.head; s != nil; s = w.head {
		for ; s.passed < len(s.states) && s.states[s.passed]&handled != 0; s.passed++ {
			current.pass(w.cfg, s, s.passed)
			if s.states[s.passed]&duplicate == 0 {
				current.Evidence = s.evidence
			}
		}
		all := s.passed == len(s.states)
		if all {
			current.moveTo(s.end)
			current.Evidence = s.evidence
			w.unlinkLocked(s)
		}
		save = save || !dirty && w.isFarLocked(s.quiet)
		if !all {
			break
		}
	}
	return save
}

// isFarLocked reports whether current differs enough from what the store has to be saved. On a
// quiet channel only the first id is, and later ones once in quietSave: nothing has come since the
// older id, so a restart from it repeats nothing.
func (w *watermark[M]) isFarLocked(quiet bool) bool {
	current, saved := &w.current, &w.saved
	switch {
	case current.Live.Sub(saved.Live).Abs() >= quietSave,
		current.Followed.Sub(saved.Followed).Abs() >= quietSave:
		return true
	case !current.hasIDOf(saved, w.cfg) && (!quiet || len(saved.id) == 0):
		return true
	}
	return !current.group.same(saved.group)
}

// mergeLocked makes one slab of a slab whose messages are all handled and of its neighbours if
// theirs are, too. The slab is not the head of the list. Its messages are let go of, so that one
// message that is never handled does not keep a million others in memory; only the last place to
// resume from stays, in end.
func (w *watermark[M]) mergeLocked(s *Slab[M]) {
	if s.identities == nil {
		for i := len(s.states) - 1; i >= s.passed; i-- {
			if s.states[i]&hasID != 0 {
				s.end.msg = &s.messages[i]
				break
			}
		}
	} else {
		for i := s.passed; i < len(s.states); i++ {
			s.end.pass(w.cfg, s, i)
		}
	}
	s.passed, s.messages, s.identities = len(s.states), nil, nil
	if before := s.before; before.unhandled == 0 {
		w.supersedeLocked(before, s)
	}
	if after := s.after; after != nil && after.unhandled == 0 {
		w.supersedeLocked(s, after)
	}
}

// supersedeLocked drops a handled slab in favour of the next one, which is handled too. Where the
// next one has no place of its own, that of the dropped one stays.
func (w *watermark[M]) supersedeLocked(s, by *Slab[M]) {
	end := s.end
	end.moveTo(by.end)
	by.end, by.quiet = end, by.quiet && s.quiet
	w.unlinkLocked(s)
}

// unlinkLocked forgets a slab. A Clone has it, and must not keep the batch alive.
func (w *watermark[M]) unlinkLocked(s *Slab[M]) {
	if s.before != nil {
		s.before.after = s.after
	} else {
		w.head = s.after
	}
	if s.after != nil {
		s.after.before = s.before
	} else {
		w.tail = s.before
	}
	s.before, s.after, s.messages, s.identities, s.end = nil, nil, nil, nil, mark[M]{}
}
