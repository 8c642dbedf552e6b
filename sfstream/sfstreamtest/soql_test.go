package sfstreamtest

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSOQLWhere(t *testing.T) {
	rec := map[string]any{
		"Name": "Acme's", "Rating": nil, "Empty": "", "N": 7, "F": 1.5, "On": true, "Off": false,
		"At": time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC), "Text": "2026-01-09T10:00:00Z",
	}
	for where, want := range map[string]bool{
		`Name = 'acme\'s'`: true, `Name != 'x'`: true, `Name = 'x'`: false, `Name > 'A'`: true, `Name < 'A'`: false,
		`Name LIKE 'ac%'`: true, `Name LIKE '_cme%s'`: true, `Name LIKE 'cme'`: false, `Rating LIKE '%'`: false,
		`Rating = null`: true, `Rating != NULL`: false, `Name = null`: false, `Rating != 'Hot'`: true, `Rating = 'Hot'`: false, `Missing = null`: true,
		`Rating = ''`: true, `Rating != ''`: false, `Name = ''`: false, `Name != ''`: true, `Empty = null`: true, `Empty != null`: false,
		`N = 7`: true, `N >= 7`: true, `N > 7`: false, `N <= 7.0`: true, `N < 8`: true, `N <> 8`: true, `N = '7'`: false, `N != '7'`: true, `F = 1.5`: true,
		`On = TRUE`: true, `Off = true`: false, `On > false`: true, `Off < TRUE`: true,
		`At = 2026-01-09`: true, `At > 2026-01-08T23:59:59Z`: true, `Text > 2026-01-09T09:00:00+00:00`: true, `At < 2025-01-01`: false,
		`N IN (1, 7)`: true, `N NOT IN (1, 7)`: false, `Name IN ('x')`: false,
		`N = 1 OR N = 7 AND On = true`: true, `(N = 7 OR N = 1) AND On = false`: false, `NOT N = 1`: true, `not (N = 7 and On = true)`: false,
	} {
		q, err := parseSOQL("SELECT Id, Name FROM Account WHERE " + where)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if got := q.where.holds(rec); got != want {
			t.Errorf("%s is %v", where, got)
		}
	}
}

func TestSOQLParts(t *testing.T) {
	q, err := parseSOQL("select Id , Owner.Name\nfrom Account where (A = 'x' and B > 1) or not C in ('y')")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q.fields, []string{"Id", "Owner.Name"}) || q.object != "Account" ||
		!slices.Equal(q.where.fields(nil), []string{"A", "B", "C"}) {
		t.Errorf("%+v", q)
	}
}

func TestBadSOQL(t *testing.T) {
	for _, text := range []string{
		"", "SELECT", "SELECT Id", "SELECT FROM X", "SELECT Id FROM", "SELECT Id, FROM X", "SELECT Id FROM X WHERE", "SELECT COUNT(Id) FROM X",
		"SELECT Id FROM X WHERE A", "SELECT Id FROM X WHERE A =", "SELECT Id FROM X WHERE A = B", "SELECT Id FROM X WHERE A = 'x",
		"SELECT Id FROM X WHERE (A = 1", "SELECT Id FROM X WHERE A IN 1", "SELECT Id FROM X WHERE A IN (1", "SELECT Id FROM X WHERE A == 1",
		"SELECT Id FROM X WHERE A NOT 1", "SELECT Id FROM X ORDER BY A", "SELECT Id FROM X WHERE 1 = 1",
		"SELECT Id FROM X WHERE " + strings.Repeat("(", 1000) + "A = 1" + strings.Repeat(")", 1000),
	} {
		if q, err := parseSOQL(text); err == nil {
			t.Errorf("%q: %+v", text, q)
		}
	}
}

func FuzzSOQL(f *testing.F) {
	f.Add("SELECT Id, Name FROM Account WHERE (Name LIKE 'A%_\\'' OR N >= -1.5e3) AND NOT X IN (null, TRUE, 2026-01-09T00:00:00Z)")
	f.Fuzz(func(_ *testing.T, text string) {
		q, err := parseSOQL(text)
		if err == nil && q.where != nil {
			q.where.holds(map[string]any{"Name": text, "N": 3, "X": nil})
		}
	})
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add([]byte(`[{"id":7,"channel":"/meta/subscribe","clientId":"x","subscription":"/topic/A?N='1'&M=2","ext":{"replay":{"/topic/A":-2}},"advice":{"timeout":0}}]`))
	f.Add([]byte(`{"channel":"/meta/handshake","ext":{"replay":true}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		messages, err := decodeMessages(body)
		if err == nil && len(messages) == 0 {
			t.Error("no messages and no error")
		}
		for i := range messages {
			m := &messages[i]
			_, filter, _ := strings.Cut(m.name(), "?")
			parseFilter(filter).matches(body)
			replayOf(m.Ext.Replay, m.bare())
			(&bayeuxReply{message: m}).append(nil)
		}
	})
}

func FuzzEventJSON(f *testing.F) {
	header, err := parseSchema(`{"type":"record","name":"E","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[
{"name":"changeType","type":{"type":"enum","name":"C","symbols":["CREATE","UPDATE"]}},{"name":"changedFields","type":{"type":"array","items":"string"}},
{"name":"N","type":{"type":"array","items":"null"}}]}},
{"name":"A","type":["null",{"type":"record","name":"R","fields":[{"name":"X","type":["null","double"]},{"name":"B","type":["null","bytes"]}]}]},
{"name":"T","type":["null","long","string"],"doc":"Data:DateTime"}]}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("\x02\x04\x060x7\x0c1-0x03\x00\x00\x02\x00\x00\x02\x08"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, _, ok := header.appendPayload(nil, payload)
		if ok && !jsonValid(b) {
			t.Errorf("%x: %s", payload, b)
		}
	})
}

func jsonValid(b []byte) bool { return json.Valid(b) }

func FuzzJSONString(f *testing.F) {
	f.Add("a\"\\\b\x00\x7f\n\r\té\u2028\xff<&>\ufffd")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		text := appendJSONString(nil, s)
		if err := json.Unmarshal(text, &got); err != nil || got != s && utf8.ValidString(s) {
			t.Errorf("%q is %s, %q, %v", s, text, got, err)
		}
	})
}

func TestDoublesHaveAPoint(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 3: "3.0", -1.5: "-1.5", 1e20: "100000000000000000000.0", 1e21: "1e+21", 1e-7: "1e-07", math.Inf(1): "null",
	} {
		if got := string(appendDouble(nil, f)); got != want {
			t.Errorf("%v is %s, want %s", f, got, want)
		}
	}
}
