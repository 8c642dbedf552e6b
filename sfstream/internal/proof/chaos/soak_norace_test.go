//go:build !race

package chaos

const soakDetector = 1
