package channels

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// ErrNotFound is wrapped by errors that say that a channel, or what it is to be made of, is not
// there, or not for the user: REST does not tell these apart.
var ErrNotFound = errors.New("not found")

// errUnread says that a request was answered, and the answer not understood: what it asked for may be
// done.
var errUnread = errors.New("the answer cannot be read")

// errBroken says that the answer was not read to its end.
var errBroken = fmt.Errorf("%w to its end", errUnread)

// invalidType is Salesforce's reason to refuse a query about an object that is not there or that no
// PushTopic can be about.
const invalidType = "INVALID_TYPE"

// answerLimit is how much of an answer is read. A describe of the largest objects has a few MB.
const answerLimit = 32 << 20

// rest is the REST API of the client's org, in JSON. Its paths are those of [sfstream.Client.Do]:
// relative to the API version.
type rest struct{ client *sfstream.Client }

// recordID matches the id of a record. The last three of 18 characters repeat the case of the others.
var recordID = regexp.MustCompile(`^[A-Za-z0-9]{15}([A-Z0-5]{3})?$`)

// short is the form of an id by which two are compared, of which one may have 15 characters and the
// other 18.
func short(id string) string { return id[:min(len(id), 15)] }

// check refuses a client that is none.
func (r rest) check() error {
	if r.client == nil {
		return fmt.Errorf("%w: no client", sfstream.ErrInvalidOption)
	}
	return nil
}

// get reads what is at a path into a variable. It returns the API version that was asked, as in
// "62.0". An answer that breaks off is asked for once more.
func (r rest) get(ctx context.Context, path string, query url.Values, into any) (version string, err error) {
	at, err := r.call(ctx, http.MethodGet, path, query, nil, into)
	if errors.Is(err, errBroken) && ctx.Err() == nil {
		at, err = r.call(ctx, http.MethodGet, path, query, nil, into)
	}
	if err != nil {
		return "", err
	}
	_, version, _ = strings.Cut(at.Path, "/services/data/v")
	version, _, _ = strings.Cut(version, "/")
	return version, nil
}

// post sends a value to a path and reads the answer into a variable.
func (r rest) post(ctx context.Context, path string, body, into any) error {
	_, err := r.call(ctx, http.MethodPost, path, nil, body, into)
	return err
}

// create makes a record below a path such as sobjects/PushTopic, and returns its id.
func (r rest) create(ctx context.Context, path string, fields any) (id string, err error) {
	var made struct {
		ID string `json:"id"`
	}
	if err := r.post(ctx, path, fields, &made); err != nil {
		return "", err
	}
	if made.ID == "" {
		return "", fmt.Errorf("%s: %w: it has no id", path, errUnread)
	}
	return made.ID, nil
}

// update changes fields of the record at a path.
func (r rest) update(ctx context.Context, path string, fields any) error {
	_, err := r.call(ctx, http.MethodPatch, path, nil, fields, nil)
	return err
}

// delete deletes the record at a path. To delete what is not there is [ErrNotFound], and so may be a
// second attempt at a deletion whose first answer was lost.
func (r rest) delete(ctx context.Context, path string) error {
	_, err := r.call(ctx, http.MethodDelete, path, nil, nil, nil)
	return err
}

// call sends body, nil for none, and reads the answer into a variable, nil for none. It returns the
// URL that was asked, which names the API version. A record that is not there is [ErrNotFound] and
// still the *[sfstream.ServerError]. To a user who may not see the records of an object a query says
// that there is no such object: that is no word on any record.
func (r rest) call(ctx context.Context, method, path string, query url.Values, body, into any) (*url.URL, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	at := url.URL{Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	server, ok := errors.AsType[*sfstream.ServerError](err)
	if ok && (server.Code == sfstream.NotFound && (method != http.MethodGet || server.Reason != invalidType) || refersToNothing(method, server)) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if into == nil {
		return resp.Request.URL, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", method, path, errBroken, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", method, path, errUnread, err)
	}
	return resp.Request.URL, nil
}

// refersToNothing reports whether the record that a request changes or deletes is not there any more,
// in the words that Salesforce has for any id that leads nowhere. Of a field's id it names the field.
func refersToNothing(method string, server *sfstream.ServerError) bool {
	return (method == http.MethodPatch || method == http.MethodDelete) && server.Reason == "INVALID_CROSS_REFERENCE_KEY" &&
		server.Message == "invalid cross reference id" && len(server.Fields) == 0
}

// longestPause is how long Salesforce may ask to wait; where it asks for more, that is the failure.
const longestPause = time.Minute

// pause waits before what is there is looked at after a write that failed. Where the write is in doubt
// for the first time that is at once, because its answer alone may be lost; then a second longer each
// time, and always as long as Salesforce asks for. A rival in the way is not waited for.
func pause(ctx context.Context, round int, failure error) error {
	if !inDoubt(failure) || round == declareRounds-1 {
		return nil
	}
	wait := time.Duration(round) * time.Second
	if server, ok := errors.AsType[*sfstream.ServerError](failure); ok {
		wait = max(wait, server.RetryAfter)
	}
	if wait > longestPause {
		return failure
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w; the last failure: %w", ctx.Err(), failure)
	}
}

// givenUp is the error after declareRounds, of which the last write may have failed.
func givenUp(failure error) error {
	if inDoubt(failure) {
		return failure
	}
	return fmt.Errorf("others make and delete it all the time, or the user does not see it: %w", cmp.Or(failure, ErrNotFound))
}

// inDoubt reports whether what a failed request asked for may be done: its answer was lost, or is no
// refusal.
func inDoubt(err error) bool {
	server, ok := errors.AsType[*sfstream.ServerError](err)
	return errors.Is(err, errUnread) || ok && (server.Code == sfstream.Unavailable || server.Code == sfstream.Internal)
}

// isTaken reports whether Salesforce has refused to make what is there.
func isTaken(err error) bool {
	server, ok := errors.AsType[*sfstream.ServerError](err)
	return ok && strings.HasPrefix(server.Reason, "DUPLICATE")
}

// isGone reports whether a record was deleted, and it is not an object that the org does not have.
func isGone(err error) bool {
	server, ok := errors.AsType[*sfstream.ServerError](err)
	return ok && (server.Code == sfstream.NotFound && server.Reason != invalidType || refersToNothing(http.MethodPatch, server))
}
