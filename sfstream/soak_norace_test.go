//go:build !race

package sfstream_test

const soakDetector = 1
