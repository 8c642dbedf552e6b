package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
)

// terminal is what standard output or standard error is connected to. The zero value is a file or a
// pipe.
type terminal struct {
	is     bool
	width  int  // columns; 0: not known
	colour bool // it shows colours, and the user wants them
}

// terminalOf describes what w writes to.
func terminalOf(w io.Writer) terminal {
	if p, ok := w.(pipe); ok {
		w = p.Writer
	}
	file, ok := w.(*os.File)
	if !ok {
		return terminal{}
	}
	width, ok := columnsOf(file)
	dumb := os.Getenv("TERM") == "dumb"
	// https://no-color.org: any value but the empty one.
	return terminal{is: ok, width: width, colour: ok && !dumb && os.Getenv("NO_COLOR") == ""}
}

// rewrites reports whether a line can be written over: a dumb terminal has no cursor to move.
func (t terminal) rewrites() bool { return t.is && os.Getenv("TERM") != "dumb" }

// columnsWide is how many columns of a terminal a character takes: none where it combines with the
// one before, two where it is East Asian or a picture.
func columnsWide(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r < 0x1100:
		return 1
	case r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// harmless escapes what could drive a terminal, or change the order in which it shows a text:
// whatever is not printable. Text of events and of servers goes through it.
func harmless(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// The colours, as numbers of SGR (ECMA-48).
const (
	noColour = ""
	bold     = "1"
	dim      = "2"
	red      = "31"
	green    = "32"
	yellow   = "33"
	magenta  = "35"
	cyan     = "36"
)

// A painter makes one line of texts in colours.
type painter []painted

type painted struct{ colour, text string }

// add adds a text, which is made harmless.
func (p *painter) add(colour, text string) { *p = append(*p, painted{colour, harmless(text)}) }

// line returns the line as t shows it: cut at its width, and in colours where it has some.
func (p painter) line(t terminal) string {
	room := t.width
	if room == 0 || p.columns() <= room {
		room = p.columns() + 1
	}
	var b strings.Builder
	for _, part := range p {
		fits := len(part.text)
		for i, r := range part.text {
			if n := columnsWide(r); n < room {
				room -= n
			} else {
				fits, room = i, 0
				break
			}
		}
		if fits > 0 && t.colour && part.colour != noColour {
			b.WriteString("\x1b[" + part.colour + "m" + part.text[:fits] + "\x1b[0m")
		} else {
			b.WriteString(part.text[:fits])
		}
		if room == 0 {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}

func (p painter) columns() (n int) {
	for _, part := range p {
		for _, r := range part.text {
			n += columnsWide(r)
		}
	}
	return n
}
