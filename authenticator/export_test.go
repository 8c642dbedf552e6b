package authenticator

import (
	"testing"
	"time"
)

// SetCLITimeout sets the time limit of the Salesforce CLI for a test.
func SetCLITimeout(t testing.TB, limit time.Duration) (before time.Duration) {
	before = cliTimeout
	cliTimeout = limit
	t.Cleanup(func() { cliTimeout = before })
	return before
}
