//go:build race

package chaos

// The race detector keeps several bytes for each byte that was ever used, and does not give them
// back.
const soakDetector = 4

// defaultSeeds is how many seeds TestChaos runs unless it is told.
const defaultSeeds = 200
