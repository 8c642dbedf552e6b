package authenticator_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const pidHeader = "X-Test-Pid"

// TestSavedWorker is the program of the processes below: it logs in again and again with the saved
// login until its standard input ends, and prints "done" after each login.
func TestSavedWorker(t *testing.T) {
	if os.Getenv("SAVED_TEST_WORKER") == "" {
		t.Skip("it is a process of other tests")
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	login := authenticator.Login{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r.Header.Set(pidHeader, strconv.Itoa(os.Getpid()))
		return http.DefaultTransport.RoundTrip(r)
	})}}
	a, _, err := authenticator.Saved("it")
	for err == nil && ctx.Err() == nil {
		if _, err = a.Authenticate(context.Background(), login); err == nil {
			fmt.Println("done")
		}
	}
	if err != nil {
		fmt.Println("failed:", err)
	}
}

// worker is a process of TestSavedWorker.
type worker struct {
	*exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the fields below are set
	done  int           // logins
	fails []string
}

// startWorker starts a process. failed gets a value if a login of it fails, and is not waited for.
func startWorker(t *testing.T, failed chan<- struct{}) *worker {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{Cmd: exec.Command(self, "-test.run=^TestSavedWorker$"), ended: make(chan struct{})}
	w.Env = append(os.Environ(), "SAVED_TEST_WORKER=1", "GORACE=atexit_sleep_ms=0")
	w.Stderr = os.Stderr
	stdout, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if w.stdin, err = w.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "done":
				w.done++
			case strings.HasPrefix(line, "failed"):
				w.fails = append(w.fails, line)
				select {
				case failed <- struct{}{}:
				default:
				}
			}
		}
		w.Wait()
	}()
	t.Cleanup(func() {
		w.Process.Kill()
		<-w.ended
	})
	return w
}

// gate stands before an org. Each refresh stops at it twice: before the org gets it, which it does
// only if before says so, and when the org has answered and the process has not got the answer yet.
type gate struct {
	*httptest.Server
	mu     sync.Mutex
	before func(pid int) bool
	after  func(pid int)
}

// at sets what happens at the gate.
func (g *gate) at(before func(pid int) bool, after func(pid int)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before, g.after = before, after
}

func forward(int) bool { return true }
func answer(int)       {}

func newGate(t *testing.T, org *sfstreamtest.Server) *gate {
	t.Helper()
	target, err := url.Parse(org.LoginURL())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{before: forward, after: answer}
	proxy := httputil.NewSingleHostReverseProxy(target)
	g.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		pid, _ := strconv.Atoi(r.Header.Get(pidHeader))
		if pid == 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		g.mu.Lock()
		before, after := g.before, g.after
		g.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil || !before(pid) {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		reply := httptest.NewRecorder()
		proxy.ServeHTTP(reply, r.WithContext(context.WithoutCancel(r.Context())))
		after(pid)
		w.WriteHeader(reply.Code)
		w.Write(reply.Body.Bytes())
	})
	return g
}

// saveBehind saves the login "it" of the org behind the gate.
func (g *gate) saveBehind(t *testing.T, org *sfstreamtest.Server) {
	t.Helper()
	a := authorization(org, "it")
	a.Login.URL = g.URL
	if _, err := a.Complete(t.Context(), begin(t, org, a)); err != nil {
		t.Fatal(err)
	}
}

func (w *worker) kill(t *testing.T) {
	if err := w.Process.Kill(); err != nil {
		t.Error(err)
	}
	select {
	case <-w.ended:
	case <-time.After(30 * time.Second):
		t.Error("a killed process does not end")
	}
}

// Processes log in with one saved login, whose app rotates refresh tokens, and some are killed:
// those that wait for their turn or run freely, and those that hold the lock and have sent the
// refresh. No process ever sends a token that was used, and the last one still logs in.
func TestProcessesShareASavedLogin(t *testing.T) {
	configDir(t)
	org := sfstreamtest.NewServer(t, sfstreamtest.WithRefreshRotation())
	g := newGate(t, org)
	g.saveBehind(t, org)
	const (
		crowd     = 5
		refreshes = 60
	)
	var (
		mu      sync.Mutex
		workers = make(map[int]*worker) // that live, by pid
		dead    []*worker
		count   int
	)
	enough, failed := make(chan struct{}), make(chan struct{}, 1)
	replace := func(pid int) { // mu is held
		w := workers[pid]
		delete(workers, pid)
		dead = append(dead, w)
		w.kill(t)
		w = startWorker(t, failed)
		workers[w.Process.Pid] = w
	}
	// The process that is at the gate has the lock: no other one is between an answer and its file.
	g.at(func(pid int) (forward bool) {
		mu.Lock()
		defer mu.Unlock()
		if count++; count == refreshes {
			close(enough)
		}
		if count >= refreshes {
			return true
		}
		switch {
		case count%6 == 0:
			for other := range workers {
				if other != pid {
					replace(other)
					break
				}
			}
		case count%7 == 0:
			replace(pid)
			return false
		}
		return true
	}, answer)
	mu.Lock()
	for range crowd {
		w := startWorker(t, failed)
		workers[w.Process.Pid] = w
	}
	mu.Unlock()
	select {
	case <-enough:
	case <-failed: // what it was is told below
	case <-time.After(90 * time.Second):
		t.Error("the processes make no progress")
	}
	mu.Lock()
	all, inTurn := dead, 0
	for _, w := range workers {
		w.stdin.Close()
		all = append(all, w)
	}
	mu.Unlock()
	for _, w := range all {
		<-w.ended
		for _, fail := range w.fails {
			t.Error(fail)
		}
		if w.done > 0 {
			inTurn++
		}
	}
	if reused := org.ReusedRefreshTokens(); reused != 0 {
		t.Errorf("%d used refresh tokens were sent", reused)
	}
	if len(dead) < 10 || inTurn < 3 {
		t.Errorf("%d processes were killed, %d logged in", len(dead), inTurn)
	}
	a, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	mustLogin(t, a, authenticator.Login{})
}

// A process that dies after Salesforce has answered, and before it has saved the new token, takes
// the login with it. The next one says so.
func TestAProcessDiesBeforeItSavesTheToken(t *testing.T) {
	configDir(t)
	org := sfstreamtest.NewServer(t, sfstreamtest.WithRefreshRotation())
	g := newGate(t, org)
	g.saveBehind(t, org)
	var w *worker
	started := make(chan struct{})
	died := make(chan struct{})
	g.at(forward, func(int) {
		<-started
		w.kill(t)
		close(died)
	})
	w = startWorker(t, nil)
	close(started)
	<-died
	a, _, err := authenticator.Saved("it")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(t.Context(), authenticator.Login{})
	if err == nil || !authenticator.Permanent(err) || !strings.Contains(err.Error(), "sfstream login it saves it anew") {
		t.Errorf("got %v", err)
	}
	g.at(forward, answer)
	g.saveBehind(t, org)
	mustLogin(t, a, authenticator.Login{})
}
