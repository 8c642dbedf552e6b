package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// start is a place in a channel's events that -from names.
type start struct {
	replay sfstream.Replay
	id     []byte // the replay id, in the form of the API; empty where it is no id
	number bool   // the id of the Pub/Sub API was given as a number
}

// clockSlack is how far ahead a time may be: nobody's clock is quite right.
const clockSlack = 5 * time.Minute

// parseStart reads -from for channels of the Streaming API or of the Pub/Sub API. Its errors say
// what it wants in place of text.
func parseStart(text string, streaming bool, now time.Time) (start, error) {
	switch text {
	case "new", "-1":
		return start{replay: sfstream.ReplayNew}, nil
	case "all", "-2":
		return start{replay: sfstream.ReplayAll}, nil
	}
	if id, number, err := parseID(text, streaming); id != nil || err != nil {
		return start{sfstream.ReplayAfter(id), id, number}, err
	}
	since, ok := parseTime(text, now)
	switch {
	case !ok && !streaming && len(text)%2 == 0 && strings.Trim(text, "0123456789abcdefABCDEF") == "" && text != "":
		return start{}, fmt.Errorf("it is too short for a replay id of the Pub/Sub API, which has 16 or 20 hex digits")
	case !ok:
		return start{}, fmt.Errorf("want new, all, a replay id, how long ago (90m, 2d), a day (%s) or a time (%s)",
			now.Format(time.DateOnly), now.Format(time.RFC3339))
	case since.After(now.Add(clockSlack)):
		return start{}, fmt.Errorf("%s is in the future", since.Format(time.RFC3339))
	}
	return start{replay: sfstream.ReplaySince(since)}, nil
}

// parseID reads a replay id as either API, or a client of it, prints it. It returns nil where text
// is none at all, and an error where it looks like one and cannot be one of the API.
//
// Ids of the Streaming API are numbers. Those of the Pub/Sub API are bytes that begin with a zero
// byte: a number of 8 bytes, followed by two zero bytes since 2022 (eventbus/PROTOCOL.md, "Replay
// ids"). We print them in hex, grpcurl in base64, and clients for other languages as the number. So
// digits alone are hex if they begin with two zeros and are as many as an id has, and the number if
// they begin with none; others could be either, and are refused.
func parseID(text string, streaming bool) (id []byte, number bool, err error) {
	digits := text != "" && strings.Trim(text, "0123456789") == ""
	n, tooLarge := strconv.ParseUint(text, 10, 64)
	inHex, notHex := hex.DecodeString(text)
	in64, not64 := base64.StdEncoding.DecodeString(text)
	isHex := notHex == nil && len(inHex) >= 8
	is64 := not64 == nil && (len(in64) == 8 || len(in64) == 10) && in64[0] == 0
	plain := digits && tooLarge == nil && (text == "0" || text[0] != '0')
	switch {
	case streaming && plain:
		return []byte(text), false, nil
	case streaming && (digits || isHex || is64):
		return nil, false, fmt.Errorf("the Streaming API has numbers for replay ids, as 12907478: this may be one of the Pub/Sub API")
	case streaming:
		return nil, false, nil
	case isHex && (inHex[0] == 0 || !digits):
		return inHex, false, nil
	case is64:
		return in64, false, nil
	case plain:
		return append(binary.BigEndian.AppendUint64(nil, n), 0, 0), true, nil
	case digits:
		return nil, false, fmt.Errorf("it could be a number or hex: write a replay id of the Pub/Sub API as it is printed here, "+
			"with 16 or 20 hex digits (%x), or as a number without zeros before it (12907478)", []byte{0, 0, 0, 0, 0, 0xc4, 0xf3, 0xd6, 0, 0})
	}
	return nil, false, nil
}

// parseTime reads how long ago, a day, which begins at midnight here, or a time, which is one here
// unless it names its zone.
func parseTime(text string, now time.Time) (time.Time, bool) {
	if ago, ok := parseAgo(text); ok {
		return now.Add(-ago), true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseAgo reads a duration as 90m or 2d12h.
func parseAgo(text string) (time.Duration, bool) {
	const day = 24 * time.Hour
	var ago time.Duration
	if days, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, false
		}
		ago, text = time.Duration(n)*day, rest
		if text == "" {
			return ago, ago > 0
		}
	}
	more, err := time.ParseDuration(text)
	if err != nil || more < 0 || strings.HasPrefix(text, "+") || more > 1<<16*day {
		return 0, false
	}
	return ago + more, ago+more > 0
}

// told says which id a number is, empty where there is nothing to tell.
func (s start) told() string {
	if !s.number {
		return ""
	}
	return "the replay id " + replayid.Text(s.id) + " by its number"
}
