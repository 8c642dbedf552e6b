package sqlsink_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if postgres.server != nil {
		postgres.stop()
	}
	os.Exit(code)
}
