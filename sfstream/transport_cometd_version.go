package sfstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// oldestVersion is the first API version of which events have replay ids.
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

// apiVersion returns the configured version, else the newest one that the org has.
func (t *cometd) apiVersion(ctx context.Context, instance string) (string, error) {
	if t.version != "" {
		return t.version, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock() // one link at a time asks the server
	if t.instance == instance {
		return t.newest, nil
	}
	newest, err := t.askVersion(ctx, instance)
	if err == nil {
		t.instance, t.newest = instance, newest
	}
	return newest, err
}

// askVersion asks an instance for the org's newest API version.
func (t *cometd) askVersion(ctx context.Context, instance string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, instance+"/services/data/", nil) // needs no login
	if err != nil {
		return "", fmt.Errorf("%w: instance URL %q: %w", ErrInvalidOption, instance, err)
	}
	client := *t.client
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
	for _, v := range versions {
		if n, err := strconv.ParseFloat(v.Version, 64); err == nil && n > number && checkAPIVersion(v.Version) == nil {
			newest, number = v.Version, n
		}
	}
	if resp.StatusCode != http.StatusOK || err != nil || newest == "" {
		e := translateCometD("", bayeux.ErrorOf(resp, text, ""))
		e.Message = "GET /services/data/ does not tell the org's API versions (WithAPIVersion makes it unnecessary): " + e.Message
		return "", e
	}
	return newest, nil
}
