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

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
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

// apiVersion is the API version of the transport's requests.
type apiVersion struct {
	client     *http.Client
	configured string // WithAPIVersion; empty: the org's newest

	mu       sync.Mutex
	instance string // the instance of which newest is the newest version
	newest   string
}

// get returns the configured version, else the newest one that the org has.
func (v *apiVersion) get(ctx context.Context, instance string) (string, error) {
	if v.configured != "" {
		return v.configured, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock() // one link at a time asks the server
	if v.instance == instance {
		return v.newest, nil
	}
	newest, err := v.ask(ctx, instance)
	if err == nil {
		v.instance, v.newest = instance, newest
	}
	return newest, err
}

// ask asks an instance for the org's newest API version.
func (v *apiVersion) ask(ctx context.Context, instance string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, instance+"/services/data/", nil) // needs no login
	if err != nil {
		return "", fmt.Errorf("%w: instance URL %q: %w", ErrInvalidOption, instance, err)
	}
	client := *v.client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 5 || req.URL.Host != via[0].URL.Host || isLoginPage(req.URL) {
			return http.ErrUseLastResponse // the org has moved
		}
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", translateCometD("", err)
	}
	defer resp.Body.Close()
	if resp.Request == nil { // not every RoundTripper sets it, and ErrorOf needs it
		resp.Request = req
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", translateCometD("", err)
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
		e := translateCometD("", bayeux.ErrorOf(resp, text, ""))
		e.Message = "GET /services/data/ does not tell the org's API versions (WithAPIVersion makes it unnecessary): " + e.Message
		return "", e
	}
	return newest, nil
}
