package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/jsonevent"
)

// markerLine is a marker as JSON: all that a replaystore.Marker has, so that nothing gets lost on
// the way from -export to -import.
type markerLine struct {
	Channel  string     `json:"channel"`
	API      string     `json:"api"`               // pubsub or cometd
	Org      string     `json:"org"`               // its id
	ReplayID replayText `json:"replay_id"`         // see idText; empty if no event has been handled yet
	Date     time.Time  `json:"date,omitzero"`     // of that event
	Live     time.Time  `json:"live,omitzero"`     // until then the channel was followed without a gap
	Followed time.Time  `json:"followed,omitzero"` // until then it was followed
	Group    *groupLine `json:"group,omitempty"`   // what of the next replay id is handled
	// These two are for readers of -json only.
	AgeSeconds  *int64 `json:"age_seconds,omitempty"`  // since Date, or since Live without an event
	LeftSeconds *int64 `json:"left_seconds,omitempty"` // until Salesforce can drop what comes next
}

type groupLine struct {
	ReplayID replayText `json:"replay_id"`
	Date     time.Time  `json:"date,omitzero"`
	Handled  []string   `json:"handled"` // of each event 16 hexadecimal digits
}

// replayText is a replay id as text, or as a JSON number.
type replayText string

func (t *replayText) UnmarshalJSON(data []byte) error {
	if wholeNumber.Match(data) {
		*t = replayText(data)
		return nil
	}
	if rounded.Match(data) {
		return fmt.Errorf("%.40s is rounded: a replay id has all its digits", data)
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%.40s is no replay id", data)
	}
	*t = replayText(text)
	return nil
}

var (
	wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	rounded     = regexp.MustCompile(`^[1-9][0-9.]*[eE][+]?[0-9]+$`) // as JavaScript writes 1e+21
	digits      = regexp.MustCompile(`^[0-9]+$`)
)

// idText prints a replay id: of the Streaming API as the number that it is, or with 0x before it
// where it is none; of the Pub/Sub API in hexadecimal digits.
func idText(api string, id []byte) string {
	switch {
	case len(id) == 0:
		return ""
	case api != apiStreaming:
		return hex.EncodeToString(id)
	case digits.Match(id):
		return string(id)
	}
	return "0x" + hex.EncodeToString(id)
}

// idBytes reads what idText printed.
func idBytes(api string, text replayText) ([]byte, error) {
	if api == apiStreaming && digits.MatchString(string(text)) {
		return []byte(text), nil
	}
	rest, marked := strings.CutPrefix(string(text), "0x")
	id, err := hex.DecodeString(rest)
	if err != nil || text != "" && (len(id) == 0 || marked != (api == apiStreaming)) {
		return nil, fmt.Errorf("%q is no replay id of the %s", text, apiName(api))
	}
	return id, nil
}

// readID reads a replay id of an API as people write it.
func readID(text, api string) ([]byte, error) {
	id, _, err := parseID(text, api == apiStreaming)
	if err == nil && id == nil {
		err = fmt.Errorf("%q is no replay id of the %s", text, apiName(api))
	}
	return id, err
}

func lineOf(key replaystore.Key, marker replaystore.Marker) markerLine {
	line := markerLine{
		Channel: key.Channel, API: key.API, Org: key.OrgID, ReplayID: replayText(idText(key.API, marker.ReplayID)),
		Date: marker.Date.UTC(), Live: marker.Live.UTC(), Followed: marker.Followed.UTC(),
	}
	if g := marker.Group; len(g.ReplayID) > 0 {
		line.Group = &groupLine{ReplayID: replayText(idText(key.API, g.ReplayID)), Date: g.Date.UTC(), Handled: []string{}}
		for _, h := range g.Handled {
			line.Group.Handled = append(line.Group.Handled, fmt.Sprintf("%016x", h))
		}
	}
	return line
}

// marker returns what lineOf was given.
func (l markerLine) marker() (key replaystore.Key, marker replaystore.Marker, err error) {
	if l.API != apiPubSub && l.API != apiStreaming {
		return key, marker, fmt.Errorf(`"api" is %q: want %s or %s`, l.API, apiPubSub, apiStreaming)
	}
	key = replaystore.Key{OrgID: l.Org, API: l.API, Channel: l.Channel}.Canonical()
	if err := checkChannel(key); err != nil {
		return key, marker, err
	}
	marker = replaystore.Marker{Date: l.Date, Live: l.Live, Followed: l.Followed}
	if marker.ReplayID, err = idBytes(l.API, l.ReplayID); err != nil || l.Group == nil {
		return key, marker, err
	}
	if marker.Group.ReplayID, err = idBytes(l.API, l.Group.ReplayID); err != nil {
		return key, marker, err
	}
	if len(marker.Group.ReplayID) == 0 {
		return key, marker, errors.New(`"group" has no "replay_id"`)
	}
	marker.Group.Date = l.Group.Date
	for _, text := range l.Group.Handled {
		h, err := strconv.ParseUint(text, 16, 64)
		if err != nil || len(text) != 16 {
			return key, marker, fmt.Errorf(`"handled": %q is not 16 hexadecimal digits`, text)
		}
		marker.Group.Handled = append(marker.Group.Handled, h)
	}
	return key, marker, nil
}

// readFile reads the markers in the file of -import.
func (f *markersFlags) readFile(ctx context.Context) (map[replaystore.Key]replaystore.Marker, error) {
	name, read := f.file, func() ([]byte, error) { return os.ReadFile(f.file) }
	if f.file == "-" {
		name, read = "standard input", func() ([]byte, error) { return io.ReadAll(os.Stdin) }
	}
	data, err := readInput(ctx, read)
	if err != nil {
		return nil, fmt.Errorf("-import: %w", err)
	}
	markers, err := readMarkers(data, f.org, f.api)
	switch {
	case errors.Is(err, errNoOrg):
		return nil, usageError{fmt.Sprintf("sfstream markers: -import: %s does not tell the org of its markers: give its id with -org", name)}
	case err != nil:
		return nil, fmt.Errorf("-import: %s: %w", name, err)
	case len(markers) == 0:
		return nil, fmt.Errorf("-import: %s has no markers", name)
	}
	return markers, nil
}

var errNoOrg = errors.New("no org")

// readMarkers reads JSON in any of the forms that the help of markers tells. Markers without an org
// are of the given one, ids of /event and /data without an API of the given one.
func readMarkers(data []byte, org, api string) (map[replaystore.Key]replaystore.Marker, error) {
	values, err := split(data)
	if err != nil {
		return nil, err
	}
	markers := make(map[replaystore.Key]replaystore.Marker)
	for i, value := range values {
		lines, err := linesOf(value, api)
		for _, line := range lines {
			if err != nil {
				break
			}
			var key replaystore.Key
			var marker replaystore.Marker
			if line.Org == "" {
				line.Org = org
			}
			key, marker, err = line.marker()
			_, twice := markers[key]
			switch {
			case err != nil:
			case key.OrgID == "":
				return nil, errNoOrg
			case org != "" && key.OrgID != org:
				err = fmt.Errorf("%s is of the org %s, and -org says %s", key.Channel, key.OrgID, org)
			case twice:
				err = fmt.Errorf("%s is there twice", key.Channel)
			}
			markers[key] = marker
		}
		if err != nil && len(values) > 1 {
			err = fmt.Errorf("marker %d: %w", i+1, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return markers, nil
}

// split returns the JSON values in data, and those in its arrays.
func split(data []byte) (values []json.RawMessage, err error) {
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var value json.RawMessage
		switch err := dec.Decode(&value); {
		case err == io.EOF:
			return values, nil
		case err != nil:
			return nil, fmt.Errorf("no JSON at byte %d: %w", dec.InputOffset(), err)
		}
		if value[0] != '[' {
			values = append(values, value)
			continue
		}
		var many []json.RawMessage
		if err := json.Unmarshal(value, &many); err != nil {
			return nil, err
		}
		values = append(values, many...)
	}
}

// linesOf returns the markers in an object: itself, or those of its channels in the simple form.
func linesOf(object json.RawMessage, api string) (lines []markerLine, err error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("%.40s is no object with a marker", object)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		channel, _ := name.(string)
		if !strings.HasPrefix(channel, "/") {
			line, err := lineIn(object)
			if unknown := fmt.Sprintf("unknown field %q", channel); len(lines) > 0 || err != nil && err.Error() == unknown {
				return nil, fmt.Errorf("%s: a channel is /event/Name__e, /data/NameChangeEvent, /topic/Name or /u/Name", unknown)
			}
			return line, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		line, err := simpleLine(channel, value, api)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", channel, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func lineIn(object json.RawMessage) ([]markerLine, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	var line markerLine
	if err := dec.Decode(&line); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return []markerLine{line}, nil
}

// simpleLine reads the id of a channel, alone or with a date as aiosfstream keeps them.
func simpleLine(channel string, value json.RawMessage, api string) (line markerLine, err error) {
	line.Channel = channel
	date, id, err := dateAndID(value)
	if err == nil {
		line.Date, err = dateOf(date)
	}
	var text replayText
	if err == nil {
		err = text.UnmarshalJSON(id)
	}
	if err != nil {
		return line, err
	}
	line.API = cmp.Or(api, usualAPI(channel))
	if usualAPI(channel) == apiStreaming || api == "" && wholeNumber.Match(id) {
		line.API = apiStreaming
	}
	read, err := readID(string(text), line.API)
	line.ReplayID = replayText(idText(line.API, read))
	return line, err
}

// dateAndID takes [date, id] apart, and {"date": date, "replay_id": id}. Anything else is an id
// without a date.
func dateAndID(value json.RawMessage) (date, id json.RawMessage, err error) {
	var pair []json.RawMessage
	if json.Unmarshal(value, &pair) == nil && len(pair) == 2 {
		return pair[0], pair[1], nil
	}
	if value[0] != '{' {
		return nil, value, nil
	}
	var object struct {
		Date     json.RawMessage `json:"date"`
		ReplayID json.RawMessage `json:"replay_id"`
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&object); err != nil {
		return nil, nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if object.ReplayID == nil {
		return nil, nil, errors.New(`there is no "replay_id"`)
	}
	return object.Date, object.ReplayID, nil
}

// dateOf reads a date as aiosfstream takes it from an event: a DateTime of Salesforce's, the commit
// time of a change event in milliseconds, as text or number, or the word None where there was none.
func dateOf(value json.RawMessage) (time.Time, error) {
	text := strings.Trim(string(value), `"`)
	if text == "" || text == "null" || text == "None" {
		return time.Time{}, nil
	}
	if ms, err := strconv.ParseUint(text, 10, 64); err == nil && len(text) <= 14 { // before the year 5139
		return time.UnixMilli(int64(ms)).UTC(), nil
	}
	date, ok := jsonevent.ParseTime(text)
	if !ok {
		return date, fmt.Errorf("%.40s is no time as 2026-01-31T10:00:00.000Z", value)
	}
	return date, nil
}
