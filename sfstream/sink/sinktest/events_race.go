//go:build race

package sinktest

// The events of a storm, and those with -short. The race detector takes its time.
const (
	stormEvents = 10_000
	shortEvents = 1_000
)
