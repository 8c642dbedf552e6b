package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

const markersOrg = "00D000000000062EAA"

// markersIn returns the markers in a replay file.
func markersIn(t *testing.T, path string) map[replaystore.Key]replaystore.Marker {
	t.Helper()
	store, err := replaystore.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return maps.Collect(all)
}

// markersFile makes a replay file with markers.
func markersFile(t *testing.T, markers map[replaystore.Key]replaystore.Marker) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "replay.db")
	store, err := replaystore.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), markers); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameMarker(a, b replaystore.Marker) bool {
	x, errX := a.MarshalBinary()
	y, errY := b.MarshalBinary()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func key(api, channel string) replaystore.Key {
	return replaystore.Key{OrgID: markersOrg, API: api, Channel: channel}
}

// someMarkers has a marker of each kind.
func someMarkers(now time.Time) map[replaystore.Key]replaystore.Marker {
	return map[replaystore.Key]replaystore.Marker{
		key(apiPubSub, "/event/Order__e"):          {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6, 0, 0}, Date: now.Add(-5*time.Hour - 12*time.Minute), Live: now.Add(-time.Hour)},
		key(apiStreaming, "/event/Order__e"):       {ReplayID: []byte("1234"), Date: now.Add(-23 * time.Hour)},
		key(apiStreaming, "/topic/Accounts"):       {ReplayID: []byte("77"), Date: now.Add(-23*time.Hour - 30*time.Minute)},
		key(apiStreaming, "/topic/Old"):            {ReplayID: []byte("7"), Date: now.Add(-25 * time.Hour), Live: now},
		key(apiStreaming, "/u/News"):               {ReplayID: []byte("8"), Date: now.Add(-25 * time.Hour), Live: now.Add(-time.Hour), Followed: now},
		key(apiPubSub, "/data/AccountChangeEvent"): {Live: now.Add(-90 * time.Second)},
		key(apiPubSub, "/data/ChangeEvents"): {ReplayID: []byte{0, 0, 1}, Group: replaystore.Group{
			ReplayID: []byte{0, 0, 2}, Date: now, Handled: []uint64{1, 1<<64 - 1, 0}}},
		{OrgID: "00Dxx0000001gEREAY", API: apiPubSub, Channel: "/event/Order__e"}: {ReplayID: []byte{0, 1}},
	}
}

func TestMarkersList(t *testing.T) {
	now := time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)
	store := replaystore.NewMemory()
	if err := store.Save(t.Context(), someMarkers(now)); err != nil {
		t.Fatal(err)
	}
	all, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table, lines bytes.Buffer
	if err := listMarkers(&table, all, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CHANNEL API ORG REPLAY ID DATE AGE LEFT",
		"/event/Order__e pubsub 00D000000000062EAA 00000000000012d60000 2026-11-27T14:48:00Z 5h12m 2d23h", // complete until an hour ago
		"/event/Order__e cometd 00D000000000062EAA 1234 2026-11-26T21:00:00Z 23h0m 2d1h",
		"/topic/Accounts cometd 00D000000000062EAA 77 2026-11-26T20:30:00Z 23h30m 30m0s",
		"/topic/Old cometd 00D000000000062EAA 7 2026-11-26T19:00:00Z 25h0m none", // an old release's Live
		"/u/News cometd 00D000000000062EAA 8 2026-11-26T19:00:00Z 25h0m 23h0m",
		"/data/AccountChangeEvent pubsub 00D000000000062EAA - 2026-11-27T19:58:30Z 1m30s 2d23h",
		"/data/ChangeEvents pubsub 00D000000000062EAA 000001 and 3 of 000002 - - -",
		"/event/Order__e pubsub 00Dxx0000001gEREAY 0001 - - -",
	} {
		if !slices.ContainsFunc(strings.Split(table.String(), "\n"), func(line string) bool { return strings.Join(strings.Fields(line), " ") == want }) {
			t.Errorf("the list lacks %s:\n%s", want, &table)
		}
	}
	if err := printMarkers(&lines, all, &now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"channel":"/topic/Accounts","api":"cometd","org":"00D000000000062EAA","replay_id":"77","date":"2026-11-26T20:30:00Z","age_seconds":84600,"left_seconds":1800}`,
		`"replay_id":"7","date":"2026-11-26T19:00:00Z","live":"2026-11-27T20:00:00Z","age_seconds":90000,"left_seconds":0}`,
		`"replay_id":"000001","group":{"replay_id":"000002","date":"2026-11-27T20:00:00Z","handled":["0000000000000001","ffffffffffffffff","0000000000000000"]}}`,
	} {
		if !strings.Contains(lines.String(), want+"\n") {
			t.Errorf("the lines lack %s:\n%s", want, &lines)
		}
	}
}

// What one file exports another one imports: through processes, all of it.
func TestMarkersGoFromFileToFile(t *testing.T) {
	want := someMarkers(time.Now())
	from, dir := markersFile(t, want), t.TempDir()
	for _, flag := range []string{"-export", "-json"} {
		lines, err := program(t, nil, "markers", from, flag).Output()
		if err != nil || bytes.Count(lines, []byte("\n")) != len(want) {
			t.Fatalf("%s: %s (%v)", flag, lines, err)
		}
		array := "[" + strings.ReplaceAll(strings.TrimSpace(string(lines)), "\n", ",\n") + "]"
		for form, text := range map[string]string{"lines": string(lines), "array": array} {
			to := filepath.Join(dir, flag+form)
			cmd := program(t, nil, "markers", "-import", "-", to)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", form, err, out)
			}
			if got := markersIn(t, to); !maps.EqualFunc(got, want, sameMarker) {
				t.Errorf("%s as %s came as %+v, want %+v", flag, form, got, want)
			}
		}
	}
}

func TestMarkersThatPeopleWrite(t *testing.T) {
	date := time.Date(2026, 11, 27, 20, 0, 0, 5e6, time.UTC)
	for _, test := range []struct {
		text, api string
		want      map[replaystore.Key]replaystore.Marker
	}{
		{`{"/topic/A": 12, "/event/Order__e": 0012}`, "", nil},
		{`{"/topic/A": 1234567890123456789, "/event/Order__e": "00000000000012D60000", "/event/Other__e": 12}`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/topic/A"):        {ReplayID: []byte("1234567890123456789")},
			key(apiPubSub, "/event/Order__e"):    {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6, 0, 0}},
			key(apiStreaming, "/event/Other__e"): {ReplayID: []byte("12")},
		}},
		{`{"/topic/A": 12, "/event/Order__e": 4822, "/data/ChangeEvents": "AAAAAAAAEtYAAA=="}`, apiPubSub, map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/topic/A"):        {ReplayID: []byte("12")},
			key(apiPubSub, "/event/Order__e"):    {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6, 0, 0}},
			key(apiPubSub, "/data/ChangeEvents"): {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6, 0, 0}},
		}},
		{`{"/topic/A?Name='x=y'": ["2026-11-27T20:00:00.005Z", 12]}`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/topic/A"): {ReplayID: []byte("12"), Date: date},
		}},
		{`{"/topic/A": {"date": "2026-11-27T20:00:00.005+0000", "replay_id": 9007199254740993}, "/data/ChangeEvents": ["1795809600005", 18446744073709551615]}`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/topic/A"):           {ReplayID: []byte("9007199254740993"), Date: date},
			key(apiStreaming, "/data/ChangeEvents"): {ReplayID: []byte("18446744073709551615"), Date: date},
		}},
		{`{"/data/ChangeEvents": ["None", 0], "/u/B": [null, "12"], "/event/A__e": {"replay_id": 13}, "/event/B__e": {"date": 1795809600005, "replay_id": "00000000000012D6"}}`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/data/ChangeEvents"): {ReplayID: []byte("0")},
			key(apiStreaming, "/u/B"):               {ReplayID: []byte("12")},
			key(apiStreaming, "/event/A__e"):        {ReplayID: []byte("13")},
			key(apiPubSub, "/event/B__e"):           {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6}, Date: date},
		}},
		{`[{"/topic/A": 12}, {"channel": "/u/B", "api": "cometd", "replay_id": 13}]`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/topic/A"): {ReplayID: []byte("12")},
			key(apiStreaming, "/u/B"):     {ReplayID: []byte("13")},
		}},
		{`{"channel": "/u/B", "api": "cometd", "org": "00D000000000062", "live": "2026-11-27T21:00:00.005+01:00"}`, "", map[replaystore.Key]replaystore.Marker{
			key(apiStreaming, "/u/B"): {Live: date},
		}},
	} {
		got, err := readMarkers([]byte(test.text), markersOrg, test.api)
		if !maps.EqualFunc(got, test.want, sameMarker) || (err == nil) != (test.want != nil) {
			t.Errorf("%s: got %+v, %v", test.text, got, err)
		}
	}
}

// Nothing is saved of what has a mistake in it, and no file is made.
func TestMarkersThatAreWrong(t *testing.T) {
	saved := someMarkers(time.Now())
	path := markersFile(t, saved)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"channel": "/topic/A", "api": "cometd", "org": "00D000000000062EAA", "replay_id": "9"}` + "\n"
	for _, test := range []struct{ json, text string }{
		{good + `{"channel": "/topic/A"`, "no JSON"},
		{good + `{"channel": "/topic/B", "api": "cometd", "org": "00D000000000062EAA", "replay_id": "9", "replayId": 3}`, `marker 2: unknown field "replayId"`},
		{good + `{"channel": "/topic/B", "api": "pub/sub", "org": "00D000000000062EAA"}`, "want pubsub or cometd"},
		{good + `{"channel": "/topic/B", "api": "pubsub", "org": "00D000000000062EAA", "replay_id": "00"}`, "of the Streaming API"},
		{good + `{"channel": "/topic/B", "api": "cometd", "org": "00D000000000062EAA", "replay_id": "00a0"}`, "no replay id of the Streaming API"},
		{good + `{"channel": "/event/B__e", "api": "pubsub", "org": "00D000000000062EAA", "replay_id": 1234567}`, "no replay id of the Pub/Sub API"},
		{good + `{"channel": "/event/B__e", "api": "pubsub", "org": "00D000000000062EAA", "replay_id": 12.5}`, "no replay id"},
		{good + `{"channel": "B__e", "api": "pubsub", "org": "00D000000000062EAA"}`, "no channel"},
		{good + `{"channel": "/event/*", "api": "pubsub", "org": "00D000000000062EAA"}`, "no channel"},
		{good + `{"channel": "/event/B__e", "api": "pubsub", "org": "00D000000000062EAA", "group": {"handled": []}}`, "no \"replay_id\""},
		{good + `{"channel": "/event/B__e", "api": "pubsub", "org": "00D000000000062EAA", "group": {"replay_id": "0001", "handled": ["1"]}}`, "16 hexadecimal"},
		{good + good, "/topic/A is there twice"},
		{good + `{"/topic/B": 1, "/topic/B?x": 2}`, "-org"},
		{good + `17`, "no object"},
		{good + `{"/topic/B": -1}`, "-1 is no replay id"},
		{good + `{"B": 1}`, `unknown field "B": a channel is`},
		{good + `{"/topic/B": 1, "C": 1}`, `unknown field "C": a channel is`},
		{good + `{"/topic/B": "0000000000001234"}`, "the Streaming API has numbers"},
		{good + `{"/topic/B": "abc"}`, "no replay id"},
		{good + `{"/topic/B": null}`, "no replay id"},
		{good + `{"/topic/B": ["yesterday", 1]}`, "no time"},
		{good + `{"/topic/B": ["123456789012345", 1]}`, "no time"},
		{good + `{"/topic/B": [1]}`, "no replay id"},
		{good + `{"/topic/B": 1.8446744073709552e+19}`, "all its digits"},
		{good + `{"/topic/B": 18446744073709551616}`, "the Streaming API has numbers"},
		{good + `{"/topic/B": {"date": null}}`, "no \"replay_id\""},
		{good + `{"/topic/B": {"date": null, "replayId": 7}}`, `unknown field "replayId"`},
		{``, "has no markers"},
		{`{}`, "has no markers"},
		{`[]`, "has no markers"},
	} {
		in, missing := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "new.db")
		if err := os.WriteFile(in, []byte(test.json), 0o600); err != nil {
			t.Fatal(err)
		}
		want := 1
		if test.text == "-org" {
			want = 2
		}
		for _, file := range []string{path, missing} {
			status, stdout, stderr := printed(t, "markers", "-import", in, file)
			if status != want || stdout != "" || !strings.Contains(stderr, test.text) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: exit status %d: %s", test.json, status, stderr)
			}
		}
		if _, err := os.Stat(missing); err == nil {
			t.Errorf("%s: a file was made", test.json)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed (%v)", err)
	}
}

func TestMarkersMistakesAndFailures(t *testing.T) {
	path, dir := markersFile(t, someMarkers(time.Now())), t.TempDir()
	missing, text, empty := filepath.Join(dir, "none.db"), filepath.Join(dir, "text"), filepath.Join(dir, "empty")
	for file, content := range map[string]string{text: strings.Repeat("no marker file\n", 9000), empty: ""} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	locked := markersFile(t, nil)
	store, err := replaystore.OpenBolt(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	contents := func() (all string) {
		for _, file := range []string{path, text, empty} {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all += string(data)
		}
		return all
	}
	before := contents()
	const set = "/event/Order__e=0000000000001234"
	for _, test := range []struct {
		status int
		text   string
		args   []string
	}{
		{2, "no file given", nil},
		{2, "unexpected argument", []string{path, text}},
		{2, "exclude each other", []string{path, "-json", "-delete", "/topic/A"}},
		{2, "exclude each other", []string{path, "-set", set, "-export"}},
		{2, "it is empty", []string{path, "-import", ""}},
		{2, "it is there twice", []string{path, "-delete", "/topic/A", "-delete", "/topic/B"}},
		{2, "is there twice", []string{path, "-set", set, "-set", "/event/Order__e?x=0001"}},
		{2, "want CHANNEL=ID", []string{path, "-set", "/event/Order__e"}},
		{2, "no replay id", []string{path, "-set", "/event/Order__e=-1"}},
		{2, "no replay id", []string{path, "-set", "/event/Order__e=00a"}},
		{2, "no channel", []string{path, "-set", "Order__e=0001"}},
		{2, "has numbers for replay ids", []string{path, "-set", set, "-api", "cometd"}},
		{2, "has numbers for replay ids", []string{path, "-set", "/topic/A=0000000000001234"}},
		{2, "not of the Pub/Sub API", []string{path, "-api", "pubsub", "-set", "/topic/A=1234"}},
		{2, "id of an org", []string{path, "-org", "acme"}},
		{2, "do not fit", []string{path, "-org", "00D000000000062EAB"}},
		{2, "several orgs", []string{path, "-set", set}},
		{2, "-org 00D000000000062EAA -api cometd, or with", []string{path, "-delete", "/event/Order__e"}},
		{2, "-set needs -org", []string{missing, "-set", set}},
		{2, "-set needs -org", []string{empty, "-set", set}},
		{2, "-set needs -org", []string{locked + ".new", "-set", set}},
		{1, "no file", []string{missing}},
		{1, "no file", []string{missing, "-json"}},
		{1, "no file", []string{missing, "-export"}},
		{1, "no file", []string{missing, "-delete", "/topic/A"}},
		{1, "is empty", []string{empty}},
		{1, "no such marker", []string{path, "-delete", "/event/Order__e", "-org", "00Dxx0000001gEREAY", "-api", "cometd"}},
		{1, "not a usable replay file", []string{text}},
		{1, "not a usable replay file", []string{text, "-set", set, "-org", markersOrg}},
		{1, "not a usable replay file", []string{dir}},
		{1, "no such file", []string{path, "-import", missing}},
		{1, "is in use: end the program", []string{locked}},
		{1, "is in use: end the program", []string{locked, "-set", set, "-org", markersOrg}},
	} {
		began := time.Now()
		status, stdout, stderr := printed(t, append([]string{"markers"}, test.args...)...)
		if status != test.status || stdout != "" || !strings.Contains(stderr, test.text) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, want %d; stdout %q; stderr %s", test.args, status, test.status, stdout, stderr)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v took %v", test.args, took)
		}
	}
	if contents() != before {
		t.Error("a file has changed")
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a file was made")
	}
}

func TestMarkersSetAndDelete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	for _, args := range [][]string{
		{path, "-org", "00D000000000062", "-set", "/event/Order__e=0000000000001234", "-set", "/topic/A?Name='x=y'=12"},
		{"-set=/event/Order__e=AAAAAAAAEtYAAA==", path}, // of the org in the file
		{"-set=/event/Order__e=4661", path},
		{path, "-api", "cometd", "-set", "/event/Order__e=13"},
		{path, "-delete", "/topic/A?Name='z'"},
	} {
		status, stdout, stderr := printed(t, append([]string{"markers"}, args...)...)
		if status != 0 || stdout != "" {
			t.Fatalf("%v: exit status %d; stdout %q; stderr %s", args, status, stdout, stderr)
		}
		if strings.Contains(args[0], "4661") && !strings.Contains(stderr, "goes on after 00000000000012350000, no longer after 00000000000012d60000") {
			t.Errorf("it does not say what was there: %s", stderr)
		}
	}
	want := map[replaystore.Key]replaystore.Marker{
		key(apiPubSub, "/event/Order__e"):    {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0x35, 0, 0}},
		key(apiStreaming, "/event/Order__e"): {ReplayID: []byte("13")},
	}
	if got := markersIn(t, path); !maps.EqualFunc(got, want, sameMarker) {
		t.Errorf("the file has %+v, want %+v", got, want)
	}
}

// tail goes on where a marker is that was set or imported.
func TestTailGoesOnAtAMarkerThatWasSet(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	ids := o.publish(t, 1, 6)
	file := filepath.Join(t.TempDir(), "replay.db")
	const channel = "/event/Order__e"
	if status, _, stderr := printed(t, "markers", file, "-set", channel+"="+ids[1], "-org", o.OrgID); status != 0 {
		t.Fatal(stderr)
	}
	if got := o.tailed(t, "-replay", file, "-count", "1", channel); got != "3" {
		t.Errorf("tail went on with %s, want 3", got)
	}
	// As aiosfstream had it: the id is a number of the Streaming API.
	out, err := program(t, o.env(), "tail", "-cometd", "-from", "all", "-count", "4", channel).Output()
	if err != nil {
		t.Fatal(err)
	}
	var last struct {
		Data struct {
			Event struct{ ReplayID json.Number }
		}
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, nil, "markers", file, "-import", "-", "-org", o.OrgID)
	cmd.Stdin = strings.NewReader(`{"` + channel + `": ` + last.Data.Event.ReplayID.String() + `}`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := o.tailed(t, "-replay", file, "-cometd", "-count", "1", channel); got != "5" {
		t.Errorf("tail -cometd went on with %s, want 5", got)
	}
	if got := o.tailed(t, "-replay", file, "-count", "1", channel); got != "4" {
		t.Errorf("the marker of the Pub/Sub API has changed: tail went on with %s, want 4", got)
	}
}

// A marker comes back from JSON as it was, or is refused; what is accepted is a marker.
func FuzzMarkerLines(f *testing.F) {
	for key, marker := range someMarkers(time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)) {
		data, err := marker.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, key.API == apiPubSub, key.Channel)
	}
	f.Add([]byte{1, 0, '0', '0', '1'}, false, "/topic/A")
	f.Add([]byte{1, 0, 'x'}, false, "/u/\xff")
	f.Add([]byte(`{"/topic/A": ["2026-11-27T20:00:00Z", 12]}`), true, "/event/A__e")
	f.Add([]byte(`[{"channel": "/u/A", "api": "cometd", "replay_id": 1}]`), true, "/data/ChangeEvents")
	f.Fuzz(func(t *testing.T, data []byte, pubsub bool, channel string) {
		if markers, err := readMarkers(data, markersOrg, ""); err == nil {
			roundTrip(t, markers)
		}
		k := key(apiStreaming, channel).Canonical()
		if pubsub {
			k.API = apiPubSub
		}
		var marker replaystore.Marker
		if checkChannel(k) == nil && marker.UnmarshalBinary(data) == nil {
			roundTrip(t, map[replaystore.Key]replaystore.Marker{k: marker})
		}
	})
}

func roundTrip(t *testing.T, want map[replaystore.Key]replaystore.Marker) {
	t.Helper()
	var text bytes.Buffer
	if err := printMarkers(&text, maps.All(want), new(time.Now())); err != nil {
		return // a year that JSON has no form for
	}
	got, err := readMarkers(text.Bytes(), "", "")
	if err != nil || !maps.EqualFunc(got, want, sameMarker) {
		t.Errorf("%s is read as %+v, want %+v (%v)", &text, got, want, err)
	}
}
