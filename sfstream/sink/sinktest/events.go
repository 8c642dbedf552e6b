//go:build !race

package sinktest

const stormEvents = 50_000 // of a storm; 5,000 with -short
