package sfstream

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/unidiff"
)

// diffOf is a unified diff as Salesforce sends it.
func diffOf(result, hunks string) string {
	return fmt.Sprintf("--- \n+++ %x\n%s", sha256.Sum256([]byte(result)), hunks)
}

// withDiff is an UPDATE of the Streaming API that has a diff of the Description.
func withDiff(tb testing.TB, diff string) *Message {
	text, err := json.Marshal(diff)
	if err != nil {
		tb.Fatal(err)
	}
	return streamedChange(`{"ChangeEventHeader":{"recordIds":["001000000000001AAA"],"changeType":"UPDATE"},"Description":{"diff":` + string(text) + `},"Name":"Acme"}`)
}

func TestApplyDiffGivesTheNewValue(t *testing.T) {
	const old = "one\ntwo\nthree\nfour\nfive\nsix"
	for _, tt := range []struct{ name, old, want, hunks string }{
		{"a line", old, "one\nTWO\nthree\nfour\nfive\nsix", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"two hunks", old, "one\n2\nthree\nfour\nfive\n6\n7", "@@ -2,1 +2,1 @@\n-two\n+2\n@@ -6,1 +6,2 @@\n-six\n+6\n+7\n"},
		{"context", old, "one\ntwo\n3\nfour\nfive\nsix", "@@ -2,3 +2,3 @@ a heading\n two\n-three\n+3\n four"},
		{"counts left out", old, "1\ntwo\nthree\nfour\nfive\nsix", "@@ -1 +1 @@\n-one\n+1"},
		{"a line less", old, "one\nthree\nfour\nfive\nsix", "@@ -2,1 +1,0 @@\n-two"},
		{"a line more, after", old, "one\ntwo\nnew\nthree\nfour\nfive\nsix", "@@ -2,0 +3,1 @@\n+new"},
		{"a line more, before", old, "one\ntwo\nnew\nthree\nfour\nfive\nsix", "@@ -3,0 +3,1 @@\n+new"},
		{"a line more at the end", old, old + "\nnew", "@@ -6,1 +6,2 @@\n six\n+new\n\\ No newline at end of file\n"},
		{"the first line", old, "new\n" + old, "@@ -0,0 +1,1 @@\n+new"},
		{"an empty line", "a\n\nb", "a\n\nc", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c"},
		{"lines that look like a diff", "a\n--- \n+++ x\n@@ -1 +1 @@", "b\n--- \n+++ x\n@@ -1 +1 @@", "@@ -1,2 +1,2 @@\n-a\n+b\n --- "},
		{"no hunk", old, old, ""},
		{"it came again", "one\nTWO", "one\nTWO", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"a browser's lines", "one\r\ntwo\r\nthree", "one\r\nTWO\r\nnew\r\nthree", "@@ -2,1 +2,2 @@\n-two\n+TWO\n+new"},
		{"a browser's lines in the diff", "one\r\ntwo\r\nthree", "one\r\nTWO\r\nthree", "@@ -2,1 +2,1 @@\r\n-two\r\n+TWO\r\n"},
		{"the ends of lines were changed when stored", "one\ntwo\nthree", "one\r\nTWO\r\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"and the other way", "one\r\ntwo\r\nthree", "one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"},
		{"mixed ends", "one\ntwo\r\nthree\nfour", "one\ntwo\r\n3\nfour", "@@ -3,1 +3,1 @@\n-three\n+3"},
		{"a last line", "one\r\ntwo", "one\r\ntwo\r\nthree", "@@ -2,1 +2,2 @@\n two\n+three"},
		{"ünïcode", "é\n\xff", "é\n✓", "@@ -2,1 +2,1 @@\n-\xff\n+✓"},
	} {
		if got, err := unidiff.Apply(diffOf(tt.want, tt.hunks), tt.old); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if strings.Contains(tt.hunks, "\xff") {
			continue // no JSON
		}
		got, err := withDiff(t, strings.ToUpper(diffOf(tt.want, ""))+tt.hunks).ApplyDiff("Description", tt.old)
		if err != nil || got != tt.want {
			t.Errorf("%s, in a message: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestApplyDiffRefusesWhatIsNotExact(t *testing.T) {
	const old = "one\ntwo\nthree"
	good := diffOf("one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO")
	head := strings.Join(strings.SplitAfter(good, "\n")[:2], "")
	for _, tt := range []struct {
		name, diff, old string
		is              error
	}{
		{"another old value", good, "one\n2\nthree", unidiff.ErrOld},
		{"another line elsewhere", good, "one\ntwo\n3", unidiff.ErrSum},
		{"a shorter old value", good, "one", unidiff.ErrOld},
		{"none", good, "", unidiff.ErrOld},
		{"hunks out of order", head + "@@ -2,1 +2,1 @@\n-two\n+TWO\n@@ -1,1 +1,1 @@\n-one\n+1", old, unidiff.ErrOld},
		{"beyond the end", head + "@@ -9,0 +9,1 @@\n+x", old, unidiff.ErrOld},
		{"nothing", "", old, unidiff.ErrSyntax},
		{"plain text", "a new value\nof two lines", old, unidiff.ErrSyntax},
		{"a short sum", "--- \n+++ 00\n", old, unidiff.ErrSyntax},
		{"no sum", "--- \n+++ \n", old, unidiff.ErrSyntax},
		{"no hex", "--- \n+++ " + strings.Repeat("x", 64), old, unidiff.ErrSyntax},
		{"names of files", "--- a/file\n+++ b/file\n", old, unidiff.ErrSyntax},
		{"cut", good[:len(good)-5], old, unidiff.ErrSyntax},
		{"too many lines", head + "@@ -2,1 +2,1 @@\n-two\n-three\n+TWO", old, unidiff.ErrSyntax},
		{"a strange line", head + "@@ -2,1 +2,1 @@\n*two\n+TWO", old, unidiff.ErrSyntax},
		{"no numbers", head + "@@ -x,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"negative", head + "@@ --2,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"large", head + "@@ -99999999999999999999,1 +2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"no end of the ranges", head + "@@ -2,1 +2,1\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"one range", head + "@@ -2,1 @@\n-two\n+TWO", old, unidiff.ErrSyntax},
		{"a tail", good + "\nmore", old, unidiff.ErrSyntax},
	} {
		got, err := withDiff(t, tt.diff).ApplyDiff("Description", tt.old)
		var bad *DiffError
		if got != "" || !errors.As(err, &bad) || !errors.Is(err, tt.is) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
			continue
		}
		if bad.Field != "Description" || bad.Channel != "/data/ChangeEvents" || bad.RecordIDs[0] != "001000000000001AAA" || !strings.HasSuffix(err.Error(), "read the field by REST") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, field := range []string{"Name", "Phone", "", "Description.diff", "ChangeEventHeader"} {
		_, err := withDiff(t, good).ApplyDiff(field, old)
		var bad *DecodeError
		if !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var bad *DecodeError
	if _, err := (&Message{}).ApplyDiff("Description", old); !errors.As(err, &bad) {
		t.Errorf("of nobody: %v", err)
	}
}

// FuzzApplyDiff gives ApplyDiff any diff and any old value: it never panics.
func FuzzApplyDiff(f *testing.F) {
	f.Add(diffOf("one\nTWO\nthree", "@@ -2,1 +2,1 @@\n-two\n+TWO"), "one\ntwo\nthree")
	f.Add(diffOf("a\r\nx\r\nb", "@@ -1,0 +2 @@\n+x\n\\ none"), "a\r\nb")
	f.Add(diffOf("", "@@ -0,0 +0,0 @@\n@@ -1 +1 @@\n \n"), "\n")
	f.Fuzz(func(t *testing.T, text, old string) {
		if _, err := withDiff(t, text).ApplyDiff("Description", old); err == nil && !strings.HasPrefix(text, "---") {
			t.Errorf("%q is a diff", text)
		}
	})
}
