//go:build race

package sinktest

const stormEvents = 10_000 // of a storm, because the race detector takes its time; 5,000 with -short
