//go:build !race

package chaos

const soakDetector = 1

// defaultSeeds is small, because the gate runs 500 more without the race detector.
const defaultSeeds = 100
