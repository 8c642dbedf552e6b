package sfstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

// oldestVersion is the first API version of which events have replay ids:
// internal/bayeux/PROTOCOL.md, "Addresses and versions".
const oldestVersion = 37.0

var versionForm = regexp.MustCompile(`^[1-9]\d{1,2}\.0$`)

// checkAPIVersion refuses what WithAPIVersion cannot take.
func checkAPIVersion(version string) error {
	if !versionForm.MatchString(version) {
		return fmt.Errorf("%w: API version %q: want a form such as 62.0", ErrInvalidOption, version)
	}
	if v, _ := strconv.ParseFloat(version, 64); v < oldestVersion {
		return fmt.Errorf("%w: API version %s: versions before %.1f have no replay ids and are retired", ErrInvalidOption, version, oldestVersion)
	}
	return nil
}

// apiVersion is the version of the Streaming API and the REST API.
type apiVersion struct {
	client     *http.Client
	configured string // WithAPIVersion; empty: the org's newest

	mu       sync.Mutex
	instance string // the instance of which newest is the newest version
	newest   string
	asking   *versionQuestion // under way; nil: there is none
}

// A versionQuestion is shared by all who want the version of one instance.
type versionQuestion struct {
	instance string
	answered chan struct{} // closed when the fields below are set
	newest   string
	err      error
	left     bool // who asked did not wait for the answer
}

// get returns the configured version, else the newest one that the org has.
func (v *apiVersion) get(ctx context.Context, instance string) (string, error) {
	if v.configured != "" {
		return v.configured, nil
	}
	for {
		v.mu.Lock()
		if v.instance == instance {
			defer v.mu.Unlock()
			return v.newest, nil
		}
		q := v.asking
		if q == nil || q.instance != instance {
			q = &versionQuestion{instance: instance, answered: make(chan struct{})}
			v.asking = q
			v.mu.Unlock()
			v.answer(ctx, q)
			return q.newest, q.err
		}
		v.mu.Unlock()
		select {
		case <-q.answered:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if !q.left { // else somebody else asks
			return q.newest, q.err
		}
	}
}

// answer asks the server, for all who share the question.
func (v *apiVersion) answer(ctx context.Context, q *versionQuestion) {
	q.newest, q.err = v.ask(ctx, q.instance)
	q.left = q.err != nil && ctx.Err() != nil
	v.mu.Lock()
	if q.err == nil {
		v.instance, v.newest = q.instance, q.newest
	}
	if v.asking == q {
		v.asking = nil
	}
	v.mu.Unlock()
	close(q.answered)
}

// ask asks an instance for the org's newest API version.
func (v *apiVersion) ask(ctx context.Context, instance string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, instance+"/services/data/", nil) // needs no login
	if err != nil {
		return "", fmt.Errorf("%w: instance URL %q: %w", ErrInvalidOption, instance, err)
	}
	resp, err := rest.Send(v.client, req, "")
	if err != nil {
		return "", v.failed(req, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", v.failed(req, err)
	}
	var versions []struct {
		Version string `json:"version"`
	}
	err = json.Unmarshal(text, &versions)
	newest, number := "", 0.0
	for _, listed := range versions {
		if n, err := strconv.ParseFloat(listed.Version, 64); err == nil && n > number && checkAPIVersion(listed.Version) == nil {
			newest, number = listed.Version, n
		}
	}
	if resp.StatusCode != http.StatusOK || err != nil || newest == "" {
		return "", v.failed(req, rest.ErrorIn(resp, text, ""))
	}
	return newest, nil
}

// failed makes a *ServerError of an answer that does not tell the versions. Such an answer says
// nothing about a channel or a record: what is not known of it may pass.
func (v *apiVersion) failed(req *http.Request, err error) *ServerError {
	e := translateREST(req, err)
	if e.Code == NotFound {
		e.Code, e.moved = Unavailable, &relocated{} // there is no instance
	}
	if e.Code == PermissionDenied || e.Code == Internal || e.Code == Invalid && e.Reason != "API_DISABLED_FOR_ORG" {
		e.unknown = unknownWords
	}
	e.Message = "it does not tell the org's API versions (WithAPIVersion makes that unnecessary): " + e.Message
	return e
}
