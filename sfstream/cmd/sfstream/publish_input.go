package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// publishLine is a line of the input: an event, or why it is none.
type publishLine struct {
	number  int
	event   sfstream.Event
	mistake error
}

// longestLine bounds a line of input. An event of more than 1 MB cannot be published.
const longestLine = 8 << 20

// publishInput reads events from lines.
type publishInput struct {
	file    io.Reader
	generic bool    // of a channel /u/…
	keepIDs bool    // those of the lines
	rate    float64 // lines per second; 0: no limit

	err error // set before the channel of read is closed
}

// read returns the lines. Ctrl-C ends the wait for a terminal or a pipe that tells nothing; the
// read itself goes on until the program ends.
func (in *publishInput) read(ctx context.Context) <-chan publishLine {
	lines := make(chan publishLine)
	go func() { // it ends with the file, or with ctx
		defer close(lines)
		scanner, number, begun := bufio.NewScanner(in.file), 0, time.Now()
		scanner.Buffer(nil, longestLine)
		for sent := 0; scanner.Scan(); {
			number++
			text := scanner.Bytes()
			if number == 1 {
				text = bytes.TrimPrefix(text, []byte("\ufeff")) // with which programs of Windows begin a file
			}
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			line := publishLine{number: number}
			line.event, line.mistake = in.parse(text)
			if in.rate > 0 && !sleepUntil(ctx, begun.Add(time.Duration(float64(sent)/in.rate*float64(time.Second)))) {
				return
			}
			select {
			case lines <- line:
				sent++
			case <-ctx.Done():
				return
			}
		}
		if in.err = scanner.Err(); errors.Is(in.err, bufio.ErrTooLong) {
			in.err = fmt.Errorf("line %d is longer than %d MB: this line and what is below are not published", number+1, longestLine>>20)
		}
	}()
	return lines
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tailed is a line that tail has printed.
type tailed struct {
	Channel string `json:"channel"`
	Error   string `json:"error"`
	Data    *struct {
		Payload json.RawMessage `json:"payload"`
		Event   struct{ EventUUID string }
	} `json:"data"`
}

func (t *tailed) is() bool {
	return strings.HasPrefix(t.Channel, "/") && t.Data != nil && (len(t.Data.Payload) > 0 || t.Error != "")
}

// parse reads an event.
func (in *publishInput) parse(text []byte) (e sfstream.Event, err error) {
	if !json.Valid(text) {
		return e, notJSON(text)
	}
	var printed tailed
	isPrinted := text[0] == '{' && json.Unmarshal(text, &printed) == nil && printed.is()
	if isPrinted && printed.Error != "" {
		return e, errors.New("tail could not read this event: " + printed.Error)
	}
	if isPrinted {
		text = printed.Data.Payload
		if in.keepIDs {
			e.ID = printed.Data.Event.EventUUID
		}
	}
	if in.generic {
		return in.generics(text)
	}
	if text[0] != '{' {
		return e, errors.New("an event is a JSON object with its fields")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // a float64 does not hold all of them
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return e, err
	}
	if isPrinted { // who published it, and when, is said of the new event
		delete(fields, "CreatedDate")
		delete(fields, "CreatedById")
	}
	e.Value = fields
	return e, nil
}

// generics reads the text of a generic event.
func (in *publishInput) generics(text []byte) (e sfstream.Event, err error) {
	payload := string(text)
	if text[0] == '"' {
		err = json.Unmarshal(text, &payload)
	}
	e.Value = payload
	return e, err
}

func notJSON(text []byte) error {
	var v any
	err := json.Unmarshal(text, &v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("column %d: %w", syntax.Offset, err)
	}
	return err
}
