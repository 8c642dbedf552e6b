// Package lab is the rig of the tests of the whole: a Lab is an org in memory with the programs
// that follow it, their Store and their Log. Its methods publish, receive, break and expect.
package lab
