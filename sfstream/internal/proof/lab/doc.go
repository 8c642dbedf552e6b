// Package lab is what the tests of the whole have in common. A Lab is an org in memory with the
// programs that follow it, their Store and their Log; its methods publish, receive, break and expect.
// ScriptedOrg and ScriptedStreams are servers that answer what a test says.
package lab
