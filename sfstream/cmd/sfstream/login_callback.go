package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

const callbackPath = "/callback"

// callbackValues are the parameters that Salesforce sends the browser to the callback with.
type callbackValues = url.Values

// outcome is how a login at the browser ended.
type outcome struct {
	saved *authenticator.SavedLogin
	err   error
}

// callback serves the callback URL until the browser has come with the answer of the login under
// way. Others that come, by mistake or on purpose, change nothing.
type callback struct {
	port     string
	complete func(callbackValues) (*authenticator.SavedLogin, error)
	stderr   io.Writer
	outcome  chan outcome // gets one
	server   *http.Server
	serving  sync.WaitGroup

	mu    sync.Mutex // also makes callbacks take turns
	ended bool
}

// listenForCallback serves the callback URL at a port of this computer, for no other computer.
func listenForCallback(port int, complete func(callbackValues) (*authenticator.SavedLogin, error), stderr io.Writer) (*callback, error) {
	c := &callback{port: strconv.Itoa(port), complete: complete, stderr: stderr, outcome: make(chan outcome, 1)}
	var listeners []net.Listener
	// A browser may take localhost for either address.
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, c.port))
		switch {
		case err == nil:
			listeners = append(listeners, ln)
		case host == "127.0.0.1", inUse(err):
			for _, ln := range listeners {
				ln.Close()
			}
			return nil, portError(port, err)
		}
		// Else there is no IPv6 here.
	}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	for _, ln := range listeners {
		c.serving.Go(func() { _ = c.server.Serve(ln) })
	}
	return c, nil
}

// inUse reports whether somebody else has the address. Windows has a number of its own for that.
func inUse(err error) bool {
	const wsaeAddrInUse = syscall.Errno(10048)
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeAddrInUse)
}

func portError(port int, err error) error {
	if !inUse(err) {
		return fmt.Errorf("login: the callback URL cannot be served at port %d: %w; choose another one by -port, which the app's callback URL must then have too", port, err)
	}
	other := port + 1
	if other > 65535 {
		other = port - 1
	}
	return fmt.Errorf("login: port %d is in use, perhaps by another \"sfstream login\": end that, or choose another port by -port %d and add to the app, to the letter, the callback URL http://localhost:%[2]d%s",
		port, other, callbackPath)
}

// close ends the serving, when the browser has got its page.
func (c *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
	c.serving.Wait()
}

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := url.URL{Host: r.Host}
	host := at.Hostname()
	switch {
	// A page of another site can have a name of its own stand for this computer. Then its Host
	// tells.
	case portOf(&at) != c.port || !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, host):
		writePage(w, http.StatusForbidden, "Not here", "This address is for the login of sfstream on this computer.")
	case r.URL.Path != callbackPath:
		writePage(w, http.StatusNotFound, "Nothing here", "This address is for the login of sfstream on this computer.")
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		writePage(w, http.StatusMethodNotAllowed, "Not so", "Salesforce sends the browser here by GET.")
	default:
		c.answer(w, r.URL.Query())
	}
}

// portOf returns the port of an address of http, from which browsers leave out the usual one.
func portOf(u *url.URL) string { return cmp.Or(u.Port(), "80") }

// answer takes a callback, and shows its outcome to the browser.
func (c *callback) answer(w http.ResponseWriter, values callbackValues) {
	got, mine := c.take(values)
	switch {
	case !mine:
		writePage(w, http.StatusBadRequest, "Not this login", "This is not the answer to the login that sfstream waits for. Go back to the terminal, and open the page that it shows.")
	case got.err != nil:
		writePage(w, http.StatusBadRequest, "The login failed", got.err.Error())
	default:
		who := got.saved.Username
		if who != "" {
			who = " as " + who
		}
		writePage(w, http.StatusOK, "Logged in"+who, "sfstream has saved the login as "+got.saved.Name+". You can close this page.")
	}
}

// take completes the login with a callback. It reports whether the callback was that of the login
// under way.
func (c *callback) take(values callbackValues) (got outcome, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return outcome{}, false
	}
	got.saved, got.err = c.complete(values)
	if e, ok := errors.AsType[*authenticator.Error](got.err); ok && e.Code == "wrong_state" {
		fmt.Fprintln(c.stderr, "A callback came that is not that of this login; still waiting.")
		return outcome{}, false
	}
	c.ended = true
	c.outcome <- got
	return got, true
}

// end takes no further callback. If one was being handled, end waits for its outcome: the login may
// be saved by then.
func (c *callback) end() (got outcome, came bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	select {
	case got = <-c.outcome:
		return got, true
	default:
		return outcome{}, false
	}
}

// readPasted takes the addresses that a person pastes, line by line.
func (c *callback) readPasted(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		pasted := strings.TrimSpace(lines.Text())
		if pasted == "" {
			continue
		}
		u, err := url.Parse(pasted)
		if err != nil || u.Path != callbackPath || portOf(u) != c.port || u.RawQuery == "" {
			fmt.Fprintf(c.stderr, "That is not the whole address: it begins with http://localhost:%s%s? and has a code or an error.\n", c.port, callbackPath)
			continue
		}
		if _, mine := c.take(u.Query()); mine {
			return
		}
	}
}

// writePage answers with a page that needs nothing else, and from which no address goes anywhere.
func writePage(w http.ResponseWriter, status int, title, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	title, text = html.EscapeString(title), html.EscapeString(text)
	_, _ = fmt.Fprintf(w, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>sfstream: %s</title>
<style>body{font-family:system-ui,sans-serif;max-width:36em;margin:4em auto;padding:0 1em;line-height:1.5}</style>
</head><body><h1>%s</h1><p>%s</p></body></html>
`, title, title, text)
}
