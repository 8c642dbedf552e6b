package unidiff

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// FuzzApply gives Apply any diff and any old text: it never panics, and what it returns has the
// SHA-256 that the diff names. More of it is in the tests of Message.ApplyDiff.
func FuzzApply(f *testing.F) {
	diffOf := func(result, hunks string) string {
		return fmt.Sprintf("--- \n+++ %x\n%s", sha256.Sum256([]byte(result)), hunks)
	}
	f.Add(diffOf("one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"), "one\ntwo\nthree")
	f.Add(diffOf("a\r\nx\r\nb", "@@ -1,0 +2 @@\n+x\n\\ none"), "a\r\nb")
	f.Add(diffOf("", "@@ -0,0 +0,0 @@\n@@ -1 +1 @@\n \n"), "\n")
	f.Fuzz(func(t *testing.T, text, old string) {
		d, err := parse(text)
		if err != nil {
			return
		}
		d.sum = sha256.Sum256(nil)
		if got, err := d.apply(old); err == nil && got != "" {
			t.Errorf("%q has another sum", got)
		}
		_, rest, _ := strings.Cut(text, "\n")
		_, rest, _ = strings.Cut(rest, "\n")
		if patched, ok := d.patch(splitLines(old), true); ok && len(patched) > strings.Count(old, "\n")+strings.Count(rest, "\n")+2 {
			t.Errorf("%d lines of %q and %q", len(patched), text, old)
		}
	})
}
