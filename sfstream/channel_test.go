package sfstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// TestGroups has a channel's groups told what sessions bring, one word each, and compares what they
// answer, where it is not "new": which group is whole by it, and whether an event is known.
//
//	+4          a session begins, after id 4; + after none
//	-           the session ends
//	5a 5b       events of id 5, by identity; 5a? came before its turn, 5a! is remembered
//	|           the end of a batch
//	=7 ~7       a keepalive that names id 7, of a server that has nothing more, or may be seeking
//	ok          nothing is missing before what came before its turn
func TestGroups(t *testing.T) {
	for _, test := range []struct{ name, script, want string }{
		{"another id closes a group", "+ 5a 5b 6a 8a", "6a closes 5, 8a closes 6"},
		{"an event that comes twice is known", "+ 5a 5b 5a 5a!", "5a is known, 5a! is known"},
		{"an event that is remembered is known", "+ 5a 5b!", "5b! is known"},
		{"the end of a session closes nothing", "+4 5a | - +4 5a 5b 6a", "5a is known, 6a closes 5"},
		{"another id first closes the group before which the session began", "+ 4a 5a | - +4 7a", "5a closes 4, 7a closes 5"},
		{"but not where the session began before that", "+ 4a 5a | - +3 7a 8a", "5a closes 4, 8a closes 7"},
		{"nor where the server sends old events first", "+ 4a 5a | - +4 3a 5b 6a", "5a closes 4, 5b closes 3, 6a closes 5"},
		{"an old id within a session closes nothing", "+ 5a 4a 5b 6a", "5b closes 4, 6a closes 5"},
		{"a keepalive beyond the group closes it", "+ 5a | =7", "=7 closes all up to 5"},
		{"a keepalive without an id closes it", "+ 5a | =", "= closes all up to 5"},
		{"a keepalive before the group does not", "+ 5a | =4 6a", "6a closes 5"},
		{"nor that of a server that may be seeking", "+ 5a | ~7 6a", "6a closes 5"},
		{"nor in a session that has brought nothing", "+ 5a | - +4 =7 5a", "5a is known"},
		{"a keepalive with the group's id closes it at the second in a row", "+ 5a | =5 =5", "=5 closes all up to 5"},
		{"an event between them starts again", "+ 5a | =5 5b | =5 =5", "=5 closes all up to 5"},
		{"before its turn nothing closes a group", "+ 5a 6a? 7a? 5b", ""},
		{"until nothing is missing before it", "+ 5a 6a? 7a? | ok", "ok closes 5, ok closes 6"},
		{"a group in its turn closes one that had come before its turn", "+ 5a? | 4a 5a 6a", "5a closes 4, 5a is known, 6a closes 5"},
		{"what came before its turn is closed behind what came after", "+ 5a? | 7a ok", "ok closes 5"},
		{"a group that came before its turn is open in the next session, too", "+4 5a 7a? | - +4 7a 8a", "7a closes 5, 7a is known, 8a closes 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told []string
			gs := new(groups)
			for _, word := range strings.Fields(test.script) {
				told = append(told, tellGroups(gs, word)...)
			}
			if got := strings.Join(told, ", "); got != test.want {
				t.Errorf("%s: %s\nwant %s", test.script, got, test.want)
			}
		})
	}
}

// tellGroups tells groups one word of TestGroups and returns what they answer.
func tellGroups(gs *groups, word string) (told []string) {
	closed := func(g *group) {
		if g != nil {
			told = append(told, fmt.Sprintf("%s closes %s", word, g.id))
		}
	}
	id := []byte(strings.TrimLeft(word, "+=~"))
	switch word[0] {
	case '+':
		gs.begin(id)
	case '-':
		gs.end()
	case '|':
		gs.delivered()
	case 'o':
		for _, g := range gs.confirm() {
			closed(g)
		}
	case '=', '~':
		if gs.isWhole(word[0] == '=', id) {
			told = append(told, fmt.Sprintf("%s closes all up to %s", word, gs.closeAll().id))
		}
	default:
		id = id[:1]
		g := gs.find(id)
		if g == nil {
			g = gs.add(id, &Message{codec: new(codec), ReplayID: id}, []byte{id[0] - 1})
		}
		closed(gs.enter(g, strings.HasSuffix(word, "?"), []byte{id[0] - 1}))
		if !gs.receive(g, 0, uint64(word[1]), strings.HasSuffix(word, "!")) {
			told = append(told, word+" is known")
		}
	}
	return told
}

// A group of a stored marker is open behind the position, its events are known, and where the
// position is not retained any more the session seeks it.
func TestRestoredGroup(t *testing.T) {
	gs := new(groups)
	if gs.canSeek() || gs.first() != nil {
		t.Error("there is a group")
	}
	gs.restore(replaystore.Group{ReplayID: []byte("5"), Date: judgedAt, Handled: []uint64{'a'}}, []byte("4"))
	if !gs.canSeek() || gs.first() == nil || string(gs.newest([]byte("4"))) != "4" {
		t.Error("there is none")
	}
	gs.begin([]byte("4"))
	if told := tellGroups(gs, "5a"); len(told) != 1 || string(gs.newest([]byte("4"))) != "5" {
		t.Error("its event is not known:", told)
	}
	gs.begin(nil)
	if g := gs.seek(); string(g.id) != "5" || gs.canSeek() || gs.first() != nil {
		t.Errorf("sought: %+v", g)
	}
	if tellGroups(gs, "5b"); gs.awaited != nil {
		t.Error("it has come, and is still sought")
	}
}

// The log warns when sessions end in the same group again and again and bring nothing new.
func TestVainSessions(t *testing.T) {
	gs := new(groups)
	for session, want := range []bool{0: false, 1: false, 2: false, vainSessions: true, 4: false} {
		gs.begin([]byte("4"))
		tellGroups(gs, "5a")
		if vain := gs.end() != nil; vain != want {
			t.Errorf("session %d: %v, want %v", session, vain, want)
		}
	}
}

func TestSkipper(t *testing.T) {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	const platform, change = `{"payload":{"CreatedDate":"%s"}}`, `{"payload":{"ChangeEventHeader":{"commitTimestamp":"%s"}}}`
	for name, test := range map[string]struct {
		form  string
		after time.Duration // the date, from the start
		now   time.Duration // what Salesforce's clock shows, from the start
		exact bool
		want  bool
	}{
		"just before a start of the user's": {platform, -1, 0, true, true},
		"at it":                             {platform, 0, 0, true, false},
		"a publisher's clock may be wrong by an hour": {platform, -time.Hour, 0, false, false},
		"but not by more":                              {platform, -time.Hour - 1, 0, false, true},
		"Salesforce's differs by ten minutes":          {change, -10 * time.Minute, 0, false, false},
		"but not by more either":                       {change, -10*time.Minute - 1, 0, false, true},
		"a publisher's date in the future":             {platform, -time.Minute, -2 * time.Minute, true, false},
		"Salesforce's date, by a reading that is late": {change, -time.Minute, -2 * time.Minute, true, true},
		"older than anything that Salesforce retains":  {change, -74 * time.Hour, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			date := start.Add(test.after).Format("2006-01-02T15:04:05.999999999Z07:00")
			m := &Message{codec: new(codec), payload: fmt.Appendf(nil, test.form, date)}
			s := skipper{before: start, exact: test.exact}
			if got := s.skips(m, start.Add(test.now)); got != test.want {
				t.Errorf("skips = %v, want %v", got, test.want)
			}
			if again := s.skips(m, start.Add(test.now)); again != test.want {
				t.Errorf("the next one: skips = %v, want %v", again, test.want)
			}
		})
	}
}
