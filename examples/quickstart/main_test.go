package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// quickstart runs the program, with a home directory of its own.
func quickstart(t *testing.T, home string, args ...string) string {
	t.Helper()
	return exampletest.Program{Args: args, Env: []string{"HOME=" + home, "LocalAppData=" + home, "XDG_CACHE_HOME="}}.Run(t)
}

var message = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  ([0-9a-f]{20})  (/\S+)`)

// ids returns the printed replay ids, by channel.
func ids(out string) map[string][]string {
	found := make(map[string][]string)
	for _, m := range message.FindAllStringSubmatch(out, -1) {
		found[m[2]] = append(found[m[2]], m[1])
	}
	return found
}

func TestTheSecondRunContinuesAfterTheFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "replay.db")
	first := quickstart(t, t.TempDir(), "-count", "5", "-replay", file)
	second := quickstart(t, t.TempDir(), "-count", "5", "-replay", file)
	if n := len(message.FindAllString(first, -1)); n != 5 {
		t.Fatalf("the first run printed %d messages: %s", n, first)
	}
	if n := len(message.FindAllString(second, -1)); n != 5 {
		t.Fatalf("the second run printed %d messages: %s", n, second)
	}
	// The two runs together must print what one run from the beginning prints.
	all := ids(quickstart(t, t.TempDir(), "-count", "15", "-replay", filepath.Join(filepath.Dir(linked(t, file)), "other.db")))
	for channel, before := range ids(first) {
		if !strings.Contains(second, "Continuing "+channel+" after replay id "+before[len(before)-1]) {
			t.Errorf("the second run does not say where it continues on %s: %s", channel, second)
		}
		got := append(before, ids(second)[channel]...)
		if want := all[channel]; len(want) < len(got) || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s: the runs printed %v, in the org are %v", channel, got, want)
		}
	}
}

// By default its file is in the user's cache directory, and it tells of the channels that it
// follows.
func TestItKeepsItsPlaceInTheCacheDirectory(t *testing.T) {
	home := t.TempDir()
	quickstart(t, home, "-count", "1", accounts)
	quickstart(t, home, "-count", "1", orders)
	var files []string
	err := filepath.WalkDir(home, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
			if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("others can look into the directory: %v (%v)", info, err)
			}
		}
		return err
	})
	if err != nil || len(files) != 2 || !strings.HasSuffix(files[0], filepath.Join("sfstream-quickstart", "replay.db")) {
		t.Errorf("its files are %v (%v)", files, err)
	}
	again := quickstart(t, home, "-count", "1", orders)
	if !strings.Contains(again, "Continuing "+orders+" after") || strings.Contains(again, accounts) {
		t.Errorf("it does not tell of %s alone: %s", orders, again)
	}
}

// linked copies the org of a replay file to where a run with the replay file other.db looks for it,
// and returns the path of other.db.
func linked(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	data, err := os.ReadFile(file + ".org")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.db.org"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "other.db")
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t, "-replay", filepath.Join(t.TempDir(), "replay.db"))
}
