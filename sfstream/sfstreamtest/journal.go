package sfstreamtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// journal is the file of WithLog: what was defined and published, one JSON object per line. A nil
// journal keeps nothing.
type journal struct {
	file  *os.File
	lines int // how many there were at the start
}

type op string

const (
	opDefine   op = "define"
	opChannel  op = "channel"
	opEvent    op = "event"
	opTruncate op = "truncate"
	opRemove   op = "remove"
	opMember   op = "member"   // ID is the full name of its record, if that is not the usual one
	opUnmember op = "unmember" // Channel no longer carries the events of Members
	opLabel    op = "label"    // ID is the label of a custom channel
	// Of these two Members has the name before a change of name, At and ID are when and by whom.
	opPushTopic op = "pushTopic"
	opGeneric   op = "generic" // Schema is the description
	opManaged   op = "managed"
	opRequire   op = "require" // Channel is an object
	// Channel is an object, Schema the record type in JSON.
	opRecordType op = "recordType"
)

// entry is one line of the journal.
type entry struct {
	Op      op       `json:"op"`
	Channel string   `json:"channel"`
	Members []string `json:"members,omitempty"`
	Schema  string   `json:"schema,omitempty"` // in a definition the schema's JSON, in an event its id or the type
	Replay  uint64   `json:"replay,omitempty"`
	At      int64    `json:"at,omitempty"`
	ID      string   `json:"id,omitempty"`
	Payload []byte   `json:"payload,omitempty"`
	Kind    kind     `json:"kind,omitempty"`
	Owner   string   `json:"owner,omitempty"` // of a generic channel
	Member  *Member  `json:"member,omitempty"`
	Managed *managed `json:"managed,omitempty"`
}

// author returns who wrote the line, and when.
func (e entry) author() author { return author{e.ID, time.Unix(0, e.At).UTC()} }

// openJournal restores what the file has and makes ready to append. If the last line does not end,
// a crash cut off a write that nobody was told of: openJournal removes it.
func openJournal(path string, restore func(entry) error) (*journal, error) {
	wrong := func(err error) error {
		if at, ok := errors.AsType[*fs.PathError](err); ok {
			err = at.Err // it names the file again
		}
		return fmt.Errorf("sfstreamtest: WithLog(%q): %w", path, err)
	}
	// A pipe or a device may have no end.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, wrong(errors.New("it is no regular file"))
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, wrong(err)
	}
	fail := func(err error) (*journal, error) {
		_ = file.Close()
		return nil, wrong(err)
	}
	var good int64
	for r, line := bufio.NewReaderSize(file, 1<<16), 1; ; line++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(text) > 0 {
				if err := file.Truncate(good); err != nil {
					return fail(err)
				}
			}
			return &journal{file, line - 1}, nil
		}
		if err != nil {
			return fail(err)
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return fail(fmt.Errorf("line %d: %w", line, err))
		}
		if err := restore(e); err != nil {
			return fail(fmt.Errorf("line %d: %w", line, err))
		}
		good += int64(len(text))
	}
}

// write appends a line with one system call, so that lines of concurrent calls do not mix, and a
// killed process leaves at most one torn line.
func (j *journal) write(e entry) error {
	if j == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("sfstreamtest: log: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("sfstreamtest: log: %w", err)
	}
	return nil
}

func (j *journal) writeRecord(channel string, r record) error {
	if j == nil {
		return nil
	}
	return j.write(entry{
		Op: opEvent, Channel: channel, Schema: r.schema,
		Replay: r.replay, At: r.at, ID: r.id, Payload: r.payload, Kind: r.kind,
	})
}

// restored returns how many lines the file had at the start.
func (j *journal) restored() int {
	if j == nil {
		return 0
	}
	return j.lines
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// restore does again what a line says was done.
func (s *Server) restore(e entry) error {
	if e.Op == opRequire {
		s.records.require(e.Channel, e.Members)
		return nil
	}
	if e.Op == opRecordType {
		return s.recordTypes.restore(e)
	}
	t := s.topic(e.Channel)
	switch e.Op {
	case opDefine:
		return s.define(e.Channel, e.Schema, false)
	case opChannel:
		return s.defineChannel(e.Channel, e.Members, false)
	case opMember:
		if e.Member == nil {
			return fmt.Errorf("a member of %s is missing", e.Channel)
		}
		return s.defineMembers(e.Channel, []Member{*e.Member}, e.ID, false)
	case opUnmember:
		for _, name := range e.Members {
			if err := s.removeMember(t, s.topic(name), false); err != nil {
				return err
			}
		}
	case opLabel:
		t.label = e.ID
	case opPushTopic:
		return s.restorePushTopic(e)
	case opGeneric:
		from := ""
		if len(e.Members) > 0 {
			from = e.Members[0]
		}
		return s.defineGeneric(e.Channel, from, genericTold{e.Schema, e.Owner}, e.author(), false)
	case opEvent:
		if e.Replay < t.log.last && t.log.next > 0 { // the events of a group have equal ids
			return fmt.Errorf("replay id %d of %s is below %d", e.Replay, e.Channel, t.log.last)
		}
		s.clock.pass(e.At)
		t.log.append(record{replay: e.Replay, at: e.At, id: e.ID, schema: e.Schema, payload: e.Payload, kind: e.Kind})
	case opTruncate:
		t.log.forget(t.log.next)
		if e.Replay > 0 {
			t.log.begin(e.Replay)
		}
	case opRemove:
		t.removeLocked()
		s.emptied(t)
	case opManaged:
		s.managed.restore(e)
	default:
		return fmt.Errorf("unknown op %q", e.Op)
	}
	return nil
}
