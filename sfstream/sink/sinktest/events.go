//go:build !race

package sinktest

// The events of a storm, and those with -short.
const (
	stormEvents = 50_000
	shortEvents = 5_000
)
