// Package moving holds the code that docs/moving.md names in place of other clients' names, run
// against a simulated org, and tests of that page.
package moving
