package k8sstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxAnswer is far above the 1 MiB that an object can have, encoded as JSON.
const maxAnswer = 4 << 20

// request sends one request and returns the object that the server answers with. It sends it again
// only where the server was too busy to begin with it: of any other error nobody knows what has
// become of a put.
func (r *Register) request(ctx context.Context, method, name string, body *configMap) (*configMap, error) {
	url := r.url
	if method != http.MethodPost {
		url += "/" + name
	}
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for {
		object, err := r.send(ctx, method, url, encoded)
		failure, ok := err.(*apiError)
		if !ok || failure.code != http.StatusTooManyRequests || failure.retryAfter == 0 {
			return object, err
		}
		timer := time.NewTimer(failure.retryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w, and then: %w", err, ctx.Err())
		}
	}
}

// send is one attempt.
func (r *Register) send(ctx context.Context, method, url string, body []byte) (*configMap, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "sfstream")
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return nil, newAPIError(response, answer)
	}
	object := new(configMap)
	if err := json.Unmarshal(answer, object); err != nil {
		return nil, fmt.Errorf("the answer is no object of the Kubernetes API: %w", err)
	}
	if object.Kind != "ConfigMap" {
		return nil, fmt.Errorf("the answer is a %q, no ConfigMap", object.Kind)
	}
	return object, nil
}

// apiError is an answer other than an object: a Status of the API, or what something in between
// has said, such as a proxy.
type apiError struct {
	code       int
	retryAfter time.Duration // zero if the server does not say
	status     status
}

type status struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Details struct {
		Name string `json:"name"`
	} `json:"details"`
}

func newAPIError(response *http.Response, answer []byte) *apiError {
	e := &apiError{code: response.StatusCode}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retryAfter = time.Duration(seconds) * time.Second
	}
	if json.Unmarshal(answer, &e.status) != nil || e.status.Kind != "Status" {
		e.status = status{}
	}
	return e
}

// is is whether the API itself has said this of the ConfigMap. A 404 can also mean that the
// namespace or the whole path is not there, a 409 that a quota is being changed.
func (e *apiError) is(reason, name string) bool {
	return e.status.Reason == reason && e.status.Details.Name == name
}

// Error implements error.
func (e *apiError) Error() string {
	text := fmt.Sprintf("HTTP %d", e.code)
	if message := e.status.Message; message != "" {
		text += ": " + message[:min(len(message), 500)]
	}
	switch e.code {
	case http.StatusUnauthorized:
		text += " (the token is not accepted)"
	case http.StatusForbidden:
		text += " (the service account needs get, create and update of configmaps, see the documentation of k8sstore)"
	case http.StatusNotFound:
		text += " (is this the API server, and does the namespace exist?)"
	}
	return text
}
