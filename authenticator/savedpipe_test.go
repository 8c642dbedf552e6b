//go:build unix && !solaris && !aix

package authenticator_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

// TestANamedPipeIsNoSavedLogin: nothing waits for whoever may write into it.
func TestANamedPipeIsNoSavedLogin(t *testing.T) {
	dir := configDir(t)
	write(t, dir, "good", refreshToken)
	if err := syscall.Mkfifo(filepath.Join(dir, "login-it.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := authenticator.Saved("it")
	if err == nil || !authenticator.Permanent(err) || !strings.Contains(err.Error(), "login-it.json is a named pipe") {
		t.Errorf("got %v", err)
	}
	logins, err := authenticator.SavedLogins()
	if len(logins) != 1 || err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("got %v, %v", logins, err)
	}
}
