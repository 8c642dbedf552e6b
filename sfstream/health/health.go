// Package health answers probes about a client of package sfstream, as Kubernetes makes them:
//
//	probes, err := health.New(client.Status)
//	…
//	go http.ListenAndServe(":8080", probes)
//
// # /livez
//
// 503 where a restart may help, and only there: the client has ended with an error, or nothing
// moves although it could, because the program itself is stuck. It does not depend on Salesforce: a
// restart ends no outage of Salesforce, costs a login, and where many programs restart together
// their logins may use up what the org allows. It is 200 while a channel is disconnected, refused
// or quiet, while the consumer is slow, before Open and after Close.
//
// # /readyz
//
// 503 where [sfstream.Status.Check] finds a problem; the options of [New] say what that is. It is
// for people and alerts rather than for restarts: nobody sends requests to a consumer of events.
//
// # Answers
//
// The body is "ok", or a line for each problem; JSON where Accept asks for application/json:
//
//	{"status": "ok"}
//	{"status": "not ready", "problems": [{"channel": "/event/Order__e", "trouble": "disconnected",
//	  "since": "2026-11-27T10:00:00Z", "detail": "disconnected for 11m0s", "text": "sfstream: …"}]}
//
// status is "ok", "not ready" or "not alive", and trouble one of [sfstream.Trouble] or "stuck".
// Answers have no secret and nothing of any event in them, but names of channels and hosts.
package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// New returns the handler of /livez and /readyz for a client, whose method Status it is given. The
// options are those of [sfstream.Status.Check], for /readyz; the error is
// [sfstream.ErrInvalidOption].
//
// A program that stands by without an open client gives a function of its own, which returns an
// empty Status meanwhile: that is well.
func New(status func() sfstream.Status, opts ...sfstream.CheckOption) (http.Handler, error) {
	if status == nil {
		return nil, fmt.Errorf("%w: health.New: no function", sfstream.ErrInvalidOption)
	}
	if err := (sfstream.Status{}).Check(opts...); err != nil {
		return nil, err
	}
	p := &probes{status: status, opts: opts}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", p.live)
	mux.HandleFunc("GET /readyz", p.ready)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}), nil
}

// stuckAfter is how long messages may wait, of which none is taken, while a consumer waits for one.
const stuckAfter = time.Minute

// probes answers probes.
type probes struct {
	status func() sfstream.Status
	opts   []sfstream.CheckOption

	mu        sync.Mutex
	since     time.Time // since when probes have seen messages and a consumer wait; zero: the last one has not
	delivered uint64    // how many messages were handed out then
}

// problem is a line of an answer.
type problem struct {
	Channel string    `json:"channel,omitempty"`
	Trouble string    `json:"trouble"`
	Since   time.Time `json:"since,omitzero"`
	Detail  string    `json:"detail"`
	Text    string    `json:"text"`
}

func problemOf(p *sfstream.Problem) problem {
	return problem{p.Channel, string(p.Trouble), p.Since.UTC(), p.Detail, p.Error()}
}

func (p *probes) ready(w http.ResponseWriter, r *http.Request) {
	err := p.status().Check(p.opts...)
	var health *sfstream.HealthError
	var problems []problem
	if errors.As(err, &health) {
		for i := range health.Problems {
			problems = append(problems, problemOf(&health.Problems[i]))
		}
	}
	answer(w, r, "not ready", problems)
}

func (p *probes) live(w http.ResponseWriter, r *http.Request) {
	status := p.status()
	answer(w, r, "not alive", append(ended(status), p.stuck(status)...))
}

// ended returns the problem of a client that has ended with an error.
func ended(status sfstream.Status) (all []problem) {
	if status.Err == nil || errors.Is(status.Err, sfstream.ErrNotOpen) || errors.Is(status.Err, sfstream.ErrClosed) {
		return nil
	}
	var health *sfstream.HealthError
	if errors.As(status.Check(), &health) { // an ended client has this problem only
		all = append(all, problemOf(&health.Problems[0]))
	}
	return all
}

// stuck returns what does not move although it could.
func (p *probes) stuck(status sfstream.Status) (all []problem) {
	var pending, unacked int
	var delivered uint64
	for _, ch := range status.Channels {
		pending += ch.Pending
		unacked += ch.Unacked
		delivered += ch.Delivered
		if ch.Overdue > 0 {
			last := ch.LastHeard
			all = append(all, stuckProblem(ch.Channel, last,
				"its connection does nothing, although no server may be silent for so long: a hook may not return"))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case status.Waiting == 0 || pending == 0,
		unacked > 0: // under AckManual a Run whose handlers are slow may hold those that are pending
		p.since = time.Time{}
	case p.since.IsZero() || p.delivered != delivered:
		p.since, p.delivered = status.At, delivered
	case status.At.Sub(p.since) >= stuckAfter:
		all = append(all, stuckProblem("", p.since,
			fmt.Sprintf("%d messages wait, and so does a consumer", pending)))
	}
	return all
}

func stuckProblem(channel string, since time.Time, detail string) problem {
	text := &sfstream.Problem{Channel: channel, Trouble: "stuck", Since: since, Detail: detail}
	return problemOf(text)
}

// answer answers a probe: no problem is 200, and others are 503.
func answer(w http.ResponseWriter, r *http.Request, otherwise string, problems []problem) {
	status, code := "ok", http.StatusOK
	if len(problems) > 0 {
		status, code = otherwise, http.StatusServiceUnavailable
	}
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(struct { // it fails only if the prober has gone
			Status   string    `json:"status"`
			Problems []problem `json:"problems,omitempty"`
		}{status, problems})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	if len(problems) == 0 {
		_, _ = io.WriteString(w, status+"\n")
	}
	for _, p := range problems {
		_, _ = io.WriteString(w, p.Text+"\n")
	}
}
