package authenticator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	savedVersion = 1       // of the files
	savedReserve = 8 << 10 // in bytes; a saved login has about 1 kB
)

// savedRecord is what the file of a saved login holds.
type savedRecord struct {
	Version int `json:"version"`
	SavedLogin
	ConsumerSecret string `json:"consumer_secret,omitempty"`
	RefreshToken   string `json:"refresh_token"`
}

// savedDir is the directory of the saved logins. Each has a file of its own, so that one that is
// damaged, or that waits for its host, leaves the others alone:
//
//	login-NAME.json       the login; it is only ever replaced as a whole
//	login-NAME.json.next  what replaces it
//	login-NAME.lock       locked by who refreshes or replaces the login
//	default-login         the name of the default login, if one was chosen
type savedDir string

// openSaved returns the directory, which need not exist.
func openSaved() (savedDir, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return "", savedError(codeSaved, err, "there is no directory for saved logins")
	}
	dir := savedDir(filepath.Join(config, "sfstream"))
	info, err := os.Stat(string(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err != nil:
		return "", savedError(codeSaved, err, "the saved logins cannot be read")
	}
	if reason := exposed(string(dir), info); reason != "" {
		return "", savedError(codeConfig, nil, "%s", reason)
	}
	return dir, nil
}

// make makes the directory.
func (d savedDir) make() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return savedError(codeSaved, err, "logins cannot be saved")
	}
	return nil
}

func (d savedDir) file(name string) string { return filepath.Join(string(d), "login-"+name+".json") }
func (d savedDir) lock(name string) string { return filepath.Join(string(d), "login-"+name+".lock") }
func (d savedDir) defaultFile() string     { return filepath.Join(string(d), "default-login") }

// savedNames are the names that are also names of files, everywhere.
var savedNames = regexp.MustCompile(`^[a-z0-9_@+][a-z0-9._@+-]{0,99}$`)

// savedName returns the name as it is in the files, or the reason why it cannot be one. Usernames
// of Salesforce, and the names of files on some systems, do not tell upper from lower case.
func savedName(name string) (string, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if !savedNames.MatchString(name) {
		return "", savedError(codeName, nil, "the name of a saved login has letters, digits and . _ @ + - only, at most 100 of them")
	}
	return name, nil
}

// read reads a saved login. If there is none, its error is fs.ErrNotExist.
func (d savedDir) read(name string) (*savedRecord, error) {
	path := d.file(name)
	// Whoever opens a named pipe waits for a writer, whatever ends meanwhile.
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return nil, savedError(codeConfig, nil, "%s is a named pipe: move it away and log in again (sfstream login %s)", path, name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, savedError(codeSaved, err, "the saved login cannot be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, savedError(codeSaved, err, "the saved login cannot be read")
	}
	if reason := exposed(path, info); reason != "" {
		return nil, savedError(codeConfig, nil, "%s", reason)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(f, replyLimit)); err != nil {
		return nil, savedError(codeSaved, err, "the saved login cannot be read")
	}
	var r savedRecord
	// An error of encoding/json may quote what it cannot read: it is not shown.
	if err := json.Unmarshal(text.Bytes(), &r); err != nil || r.Version < 1 || r.Version == savedVersion && (r.ConsumerKey == "" || r.RefreshToken == "") {
		return nil, savedError(codeConfig, nil, "%s holds no saved login: it is empty, cut off or damaged; delete it and log in again (sfstream login %s)", path, name)
	}
	if r.Version > savedVersion {
		return nil, savedError(codeConfig, nil, "%s was written by a newer version of sfstream: use that, or delete the file and log in again (sfstream login %s)", path, name)
	}
	r.Name = name
	return &r, nil
}

// nextFile is the file that will replace that of a saved login. It is made before a refresh token
// is sent, with room for what may come, so that a full or read-only disk is found while the token
// is still good.
type nextFile struct {
	dir  savedDir
	name string
	f    *os.File
}

// prepare makes the next file of a saved login. The caller has the lock, and calls close.
func (d savedDir) prepare(name string) (*nextFile, error) {
	path := d.file(name) + ".next"
	// What a process that died has left behind is of no use.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	n := &nextFile{d, name, f}
	_, err = f.Write(bytes.Repeat([]byte{' '}, savedReserve))
	if err = errors.Join(err, f.Sync()); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// replace puts r in place of the saved login; it can be called once. When it returns nil, r
// survives a crash of the machine. After an error the old login may be there still.
func (n *nextFile) replace(r savedRecord) error {
	r.Version = savedVersion
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := n.f.WriteAt(text, 0); err != nil {
		return err
	}
	if err := n.f.Truncate(int64(len(text))); err != nil {
		return err
	}
	if err := errors.Join(n.f.Sync(), n.f.Close()); err != nil { // Windows does not rename an open file
		return err
	}
	if err := moveFile(n.f.Name(), n.dir.file(n.name)); err != nil {
		return err
	}
	return n.dir.sync()
}

// close closes the file and, if it has not become the saved login, deletes it.
func (n *nextFile) close() {
	n.f.Close()
	os.Remove(n.f.Name())
}

// moveFile renames a file over another one.
func moveFile(from, to string) error {
	err := os.Rename(from, to)
	// Windows refuses it while another process has the file open, as for a list of the logins.
	for range 50 {
		if err == nil || runtime.GOOS != "windows" {
			break
		}
		time.Sleep(20 * time.Millisecond)
		err = os.Rename(from, to)
	}
	return err
}

// sync makes renames in the directory survive a crash of the machine.
func (d savedDir) sync() error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// names returns the names of all saved logins, in order.
func (d savedDir) names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, savedError(codeSaved, err, "the saved logins cannot be read")
	}
	var names []string
	for _, e := range entries {
		name, begins := strings.CutPrefix(e.Name(), "login-")
		name, ends := strings.CutSuffix(name, ".json")
		if begins && ends && savedNames.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// defaultOf returns which of the names is the default: the one that was chosen, or the only one;
// empty if there is none.
func (d savedDir) defaultOf(names []string) string {
	text, _ := os.ReadFile(d.defaultFile()) // if it cannot be read none was chosen
	chosen := strings.TrimSpace(string(text))
	switch {
	case slices.Contains(names, chosen):
		return chosen
	case len(names) == 1:
		return names[0]
	}
	return ""
}

// savedError makes an error about saved logins. A cause that is an *fs.PathError names the file.
func savedError(code string, cause error, format string, args ...any) *Error {
	return &Error{Flow: "saved", Code: code, Description: fmt.Sprintf(format, args...), err: cause}
}
