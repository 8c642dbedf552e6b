// Package unidiff applies the unified diffs that Salesforce sends in place of long texts.
package unidiff

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// Why a diff gives no value.
var (
	ErrSyntax = errors.New("it is not a unified diff of one text with its SHA-256")
	ErrOld    = errors.New("the old value is another than the one it was made for")
	ErrSum    = errors.New("the result does not have the SHA-256 that Salesforce gives")
)

// Apply returns the text that a diff makes of an old one. An old text that is the new one already
// is returned as it is.
func Apply(text, old string) (string, error) {
	d, err := parse(text)
	if err != nil {
		return "", err
	}
	return d.apply(old)
}

// diff is what Salesforce sends in place of a text:
//
//	---
//	+++ 682b8747ccdb93b546e7bbe479b27d26ec7c38ccabb76cdd8308c6595492bffc
//	@@ -2,1 +2,1 @@
//	-the old line
//	+the new line
type diff struct {
	sum   [sha256.Size]byte // of the new text
	hunks []hunk
}

type hunk struct {
	line  int      // of the old text, from 1: the first one of the hunk
	old   int      // how many lines of the old text it covers
	lines []string // ' ', '-' or '+' and the line
}

func parse(text string) (diff, error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	var d diff
	if len(lines) < 2 || strings.TrimRight(lines[0], " \t") != "---" || !d.readSum(lines[1]) {
		return d, ErrSyntax
	}
	lines = lines[2:]
	for len(lines) > 0 {
		if lines[0] == "" || lines[0][0] == '\\' { // the end; "\ No newline at end of file"
			lines = lines[1:]
			continue
		}
		h, n, ok := parseHunk(lines)
		if !ok {
			return d, ErrSyntax
		}
		d.hunks = append(d.hunks, h)
		lines = lines[n:]
	}
	return d, nil
}

// readSum reads the line "+++ <SHA-256 in hex>".
func (d *diff) readSum(line string) bool {
	text, ok := strings.CutPrefix(line, "+++ ")
	text = strings.Trim(text, " \t")
	if !ok || len(text) != hex.EncodedLen(sha256.Size) {
		return false
	}
	_, err := hex.Decode(d.sum[:], []byte(text))
	return err == nil
}

// parseHunk reads the hunk that lines begin with, and how many of them it is.
func parseHunk(lines []string) (h hunk, n int, ok bool) {
	ranges, ok := strings.CutPrefix(lines[0], "@@ -")
	if !ok {
		return h, 0, false
	}
	ranges, _, ok = strings.Cut(ranges, " @@")
	oldRange, newRange, both := strings.Cut(ranges, " +")
	if !ok || !both {
		return h, 0, false
	}
	var left, right int
	h.line, left, ok = parseRange(oldRange)
	if !ok {
		return h, 0, false
	}
	if _, right, ok = parseRange(newRange); !ok {
		return h, 0, false
	}
	h.old = left
	for n = 1; left > 0 || right > 0; n++ {
		if n == len(lines) {
			return h, 0, false
		}
		line := lines[n]
		if line == "" {
			line = " " // an editor has taken the space of an empty line
		}
		switch line[0] {
		case ' ':
			left--
			right--
		case '-':
			left--
		case '+':
			right--
		case '\\':
			continue
		default:
			return h, 0, false
		}
		if left < 0 || right < 0 {
			return h, 0, false
		}
		h.lines = append(h.lines, line)
	}
	return h, n, true
}

// parseRange reads "2,1", or "2" for the one line 2.
func parseRange(text string) (line, count int, ok bool) {
	first, more, counted := strings.Cut(text, ",")
	line, err := strconv.Atoi(first)
	count = 1
	if err == nil && counted {
		count, err = strconv.Atoi(more)
	}
	return line, count, err == nil && line >= 0 && count >= 0 && line <= 1<<30 && count <= 1<<30
}

// apply makes the new text. What the format leaves open (which end a new line has, and which line
// "-5,0" means) is tried: the SHA-256 tells.
func (d *diff) apply(old string) (string, error) {
	if sha256.Sum256([]byte(old)) == d.sum {
		return old, nil // an event that came again
	}
	lines := splitLines(old)
	err := ErrOld
	for _, insertAfter := range []bool{true, false} {
		patched, ok := d.patch(lines, insertAfter)
		if !ok {
			continue
		}
		err = ErrSum
		for _, ends := range []func(textLine) string{
			func(l textLine) string { return cmp.Or(l.end, lines[0].end, "\n") },
			func(textLine) string { return "\r\n" },
			func(textLine) string { return "\n" },
		} {
			text := joinLines(patched, ends)
			if sha256.Sum256([]byte(text)) == d.sum {
				return text, nil
			}
		}
	}
	return "", err
}

// textLine is a line and what it ended in: "\n", "\r\n", or "" for the last one and for one that a
// diff has added.
type textLine struct{ text, end string }

// splitLines gives one line at least.
func splitLines(text string) []textLine {
	var lines []textLine
	for line := range strings.SplitAfterSeq(text, "\n") {
		body := strings.TrimSuffix(line, "\n")
		if len(body) < len(line) {
			body = strings.TrimSuffix(body, "\r")
		}
		lines = append(lines, textLine{body, line[len(body):]})
	}
	return lines
}

func joinLines(lines []textLine, end func(textLine) string) string {
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(line.text)
		if i < len(lines)-1 {
			b.WriteString(end(line))
		}
	}
	return b.String()
}

// patch applies the hunks. insertAfter is how the line of a hunk is meant that covers none: as in
// diff(1), the line before it, or as in Java's libraries the one after.
func (d *diff) patch(old []textLine, insertAfter bool) ([]textLine, bool) {
	var patched []textLine
	next := 0 // the next line of old
	for _, h := range d.hunks {
		first := h.line - 1
		if h.old == 0 && insertAfter {
			first = h.line
		}
		if first < next || first > len(old) {
			return nil, false
		}
		patched = append(patched, old[next:first]...)
		next = first
		for _, line := range h.lines {
			if line[0] == '+' {
				patched = append(patched, textLine{text: line[1:]})
				continue
			}
			if next == len(old) || old[next].text != line[1:] {
				return nil, false
			}
			if line[0] == ' ' {
				patched = append(patched, old[next])
			}
			next++
		}
	}
	return append(patched, old[next:]...), true
}
