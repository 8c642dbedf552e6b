// Package managed plays what happens to programs that follow managed subscriptions, whose position
// the org keeps.
package managed
