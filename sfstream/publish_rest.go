package sfstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// maxGeneric is how many characters a generic event may have.
const maxGeneric = 3000

// restRoute publishes events of one call on one channel over REST: platform events as records of
// one collection, generic events as pushes on their StreamingChannel. It belongs to the goroutine
// of that call.
type restRoute struct {
	*services
	channel  string
	values   []any // by outbox.Event.Of
	known    *topics
	enqueued map[int]bool // by outbox.Event.Of: Salesforce has promised to publish it
}

// complete adds to results what Salesforce alone knows.
func (r *restRoute) complete(results []PublishResult) {
	for i := range results {
		results[i].Enqueued = r.enqueued[i]
	}
}

func (r *restRoute) isGeneric() bool { return strings.HasPrefix(r.channel, "/u/") }

// encode makes the JSON of all events. Nothing is asked: what the event's fields are, Salesforce
// tells by its refusal.
func (r *restRoute) encode(_ context.Context, _ *authenticator.Credentials, events []outbox.Event[int]) error {
	for i := range events {
		e := &events[i]
		var err error
		if r.isGeneric() {
			e.Payload, err = r.push(r.values[e.Of])
		} else {
			e.Payload, err = r.record(r.values[e.Of])
		}
		if err != nil {
			field, cause := decodeErrorOf(err)
			e.Err = &EncodeError{Channel: r.channel, Field: field, Index: e.Of, err: cause}
		}
	}
	return nil
}

// record is a platform event as a record to be created.
func (r *restRoute) record(value any) ([]byte, error) {
	fields, err := r.cfg.prefs.binder.Plain(value)
	if err != nil {
		return nil, err
	}
	delete(fields, "CreatedDate") // Salesforce sets them, and takes them of nobody
	delete(fields, "CreatedById")
	fields["attributes"] = map[string]string{"type": path.Base(r.channel)}
	return marshalPlain(fields)
}

// push is a generic event: a text, or a value that becomes one.
func (r *restRoute) push(value any) ([]byte, error) {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		encoded, err := r.cfg.prefs.marshal(value)
		if err != nil {
			return nil, err
		}
		text = string(encoded)
	}
	if n := utf8.RuneCountInString(text); n > maxGeneric {
		return nil, fmt.Errorf("it has %d characters, and Salesforce takes %d", n, maxGeneric)
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("its text is not UTF-8")
	}
	return marshalPlain(map[string]any{"payload": text, "userIds": []string{}})
}

func (r *restRoute) again(context.Context, *authenticator.Credentials, *outbox.Event[int]) (bool, error) {
	return false, nil
}

func (r *restRoute) isOutdated() bool { return false }

func (r *restRoute) send(ctx context.Context, _ *authenticator.Credentials, request []*outbox.Event[int]) (results []outbox.Result, sent bool, err error) {
	if !r.isGeneric() {
		return r.post(ctx, "composite/sobjects", `{"allOrNone":false,"records":[`, request)
	}
	id := r.known.channelID(r.channel)
	for asked := id == ""; ; asked = true {
		if asked {
			if id, err = r.askID(ctx); err != nil {
				return nil, false, err
			}
			r.known.setChannelID(r.channel, id)
		}
		results, sent, err = r.post(ctx, "sobjects/StreamingChannel/"+url.PathEscape(id)+"/push", `{"pushEvents":[`, request)
		if server, ok := errors.AsType[*ServerError](err); asked || !ok || server.Code != NotFound {
			return results, sent, err
		} // else it may have been made anew
	}
}

// post sends a request whose body begins with before.
func (r *restRoute) post(ctx context.Context, to, before string, request []*outbox.Event[int]) (results []outbox.Result, sent bool, err error) {
	body := []byte(before)
	for i, e := range request {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.Payload...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(append(body, "]}"...)))
	if err != nil {
		return nil, false, fmt.Errorf("%w: channel %q: %w", ErrInvalidOption, r.channel, err)
	}
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	var answer saveResults
	call := &restCall{services: r.services, req: req, into: &answer}
	_, done, err := call.send()
	if err != nil {
		return nil, call.sent, err
	}
	done()
	return r.read(request, answer, call.creds), true, nil
}

// read reads what an answer says of each event. The results are in the order of the request.
func (r *restRoute) read(request []*outbox.Event[int], answer saveResults, creds *authenticator.Credentials) []outbox.Result {
	results := make([]outbox.Result, len(answer))
	for i, a := range answer {
		switch {
		case a.FanoutCount != nil:
		case !a.Success:
			results[i].Err = answer[i].refusal(r.channel, creds)
		case len(answer) == len(request):
			for _, said := range a.Errors {
				if said.StatusCode == "OPERATION_ENQUEUED" {
					request[i].ID, r.enqueued[request[i].Of] = said.Message, true
				}
			}
		}
	}
	return results
}

// saveResults are what the answer says of each event: of a record, or of a push.
type saveResults []saveResult

type saveResult struct {
	Success     bool
	Errors      []saveError
	FanoutCount *int // of a push, however many it has reached; nil: it is none
}

type saveError struct {
	StatusCode string
	Message    string
	Fields     []string
}

// IsAnswer tells a list of results from an answer that is none.
func (r *saveResults) IsAnswer() bool { return *r != nil }

// refusal is the error of an event that Salesforce has not taken.
func (r *saveResult) refusal(channel string, creds *authenticator.Credentials) *ServerError {
	clean := func(text string) string { return clip(bayeux.Hide(text, creds.AccessToken)) }
	e := &ServerError{API: apiREST, request: channel, Message: "no reason given"}
	for i, said := range r.Errors {
		if i == 0 {
			e.Reason, e.Message = clean(said.StatusCode), ""
		}
		e.Message = strings.TrimPrefix(e.Message+"; "+clean(said.Message), "; ")
		for _, field := range said.Fields {
			e.Fields = append(e.Fields, clean(field))
		}
	}
	e.Code, _ = judgeEvent(e.Reason, e.Message)
	return e
}

// streamingChannels is the answer to the question for a StreamingChannel's id.
type streamingChannels struct {
	Records []struct {
		ID string `json:"Id"`
	}
}

// IsAnswer tells an answer without records from one that is none.
func (s *streamingChannels) IsAnswer() bool { return s.Records != nil }

// askID asks for the id of the channel's StreamingChannel.
func (r *restRoute) askID(ctx context.Context) (string, error) {
	name := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(r.channel)
	query := url.Values{"q": {"SELECT Id FROM StreamingChannel WHERE Name = '" + name + "'"}}
	var found streamingChannels
	if err := r.getJSON(ctx, &url.URL{Path: "query", RawQuery: query.Encode()}, &found); err != nil {
		return "", err
	}
	if len(found.Records) == 0 {
		return "", &ServerError{API: apiREST, Code: NotFound, request: r.channel, Message: "there is no StreamingChannel of this name, or the user may not see it"}
	}
	return found.Records[0].ID, nil
}
