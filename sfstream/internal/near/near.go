// Package near finds the word that somebody meant who wrote another one.
package near

import "strings"

// Word returns the word of which name can be a slip of the pen, the first of those that are nearest;
// empty if there is none. A third of the letters may be wrong, and so many slips in any case. Upper
// and lower case and the ending of custom fields, which people forget, do not count.
func Word(name string, words []string, slips int) string {
	best, least := "", 1+max(slips, len(name)/3)
	for _, word := range words {
		if d := distance(plain(name), plain(word)); d < least {
			best, least = word, d
		}
	}
	return best
}

func plain(word string) string { return strings.TrimSuffix(strings.ToLower(word), "__c") }

// distance is the number of letters to insert, delete, replace or swap with their neighbour that
// makes b of a.
func distance(a, b string) int {
	var before, last []int
	next := make([]int, len(b)+1)
	for j := range next {
		next[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, next = last, next, make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			next[j] = min(last[j]+1, next[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
	}
	return next[len(b)]
}
