// Package lab is what the tests of the whole have in common: orgs in memory with the programs
// that follow them, stores and logs that are watched, and servers that follow a script.
package lab
