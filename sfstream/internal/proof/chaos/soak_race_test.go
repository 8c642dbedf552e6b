//go:build race

package chaos

// The race detector keeps several bytes for each byte that was ever used, and does not give them
// back.
const soakDetector = 4
