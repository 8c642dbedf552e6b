package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// ScriptedMessage is a request message as the scripted server sees it.
type ScriptedMessage struct {
	ID           string `json:"id"`
	Channel      string `json:"channel"`
	ClientID     string `json:"clientId"`
	Subscription string `json:"subscription"`
	Ext          struct {
		Replay json.RawMessage `json:"replay"`
	} `json:"ext"`
}

// ScriptedOrg is a Bayeux server without network: an http.RoundTripper. It is for tests of replies
// that sfstreamtest does not give, because no server should: broken ones, those of another order, at
// an exact moment or to an exact request. All other tests follow a Lab's org.
type ScriptedOrg struct {
	mu     sync.Mutex
	Counts map[string]int // by last part of the channel
	Logins int
	Answer func(r *http.Request, kind string, n int, msgs []ScriptedMessage) (*http.Response, error)
}

// ScriptedBody is an HTTP response with a status and a body.
func ScriptedBody(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body))}
}

// Count is how many requests of a kind came in, by the last part of their channel.
func (s *ScriptedOrg) Count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Counts[kind]
}

// RoundTrip answers as the script says, and where it says nothing with success.
func (s *ScriptedOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet { // the time is asked for, without a login
		resp := ScriptedBody(200, `[{"version":"62.0"}]`)
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		return resp, nil
	}
	text, _ := io.ReadAll(r.Body)
	var msgs []ScriptedMessage
	if err := json.Unmarshal(text, &msgs); err != nil {
		return nil, err
	}
	kind := strings.TrimPrefix(msgs[0].Channel, "/meta/")
	s.mu.Lock()
	s.Counts[kind]++
	n := s.Counts[kind]
	s.mu.Unlock()
	<-time.After(time.Millisecond) // a fast network
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if s.Answer != nil {
		if resp, err := s.Answer(r, kind, n, msgs); resp != nil || err != nil {
			return resp, err
		}
	}
	return ScriptedOK(kind, msgs, ""), nil
}

// ScriptedOK is success for all messages, with more elements before the replies.
func ScriptedOK(kind string, msgs []ScriptedMessage, events string) *http.Response {
	var parts []string
	if events != "" {
		parts = append(parts, events)
	}
	for _, m := range msgs {
		more := ""
		if m.Subscription != "" {
			more = fmt.Sprintf(`,"subscription":%q`, m.Subscription)
		}
		parts = append(parts, fmt.Sprintf(`{"channel":%q,"id":%q,"clientId":"abc","successful":true%s}`, m.Channel, m.ID, more))
	}
	return ScriptedBody(200, "["+strings.Join(parts, ",")+"]")
}

// ScriptedFailure refuses a message, with an error and the advice to shake hands.
func ScriptedFailure(m ScriptedMessage, text string) *http.Response {
	return ScriptedBody(200, fmt.Sprintf(`[{"channel":%q,"id":%q,"successful":false,"error":%q,"advice":{"reconnect":"handshake","interval":0}}]`, m.Channel, m.ID, text))
}

// ScriptedEvent is an event of now, as a Bayeux message.
func ScriptedEvent(channel string, id int) string {
	return fmt.Sprintf(`{"channel":%q,"data":{"event":{"createdDate":%q,"replayId":%d,"type":"updated"},"sobject":{"Id":"a00","N__c":%d}}}`,
		channel, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), id, id)
}

// ScriptedHold is a connect that has nothing to say.
func ScriptedHold(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(110 * time.Second):
		return nil, nil
	}
}

// Client is a program that has logged in at the scripted server.
func (s *ScriptedOrg) Client(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	s.Counts = make(map[string]int)
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Logins++
		return &authenticator.Credentials{AccessToken: fmt.Sprintf("SECRET-%d", s.Logins), InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"}, nil
	})
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithAPIVersion("62.0"), sfstream.WithTransport(sfstream.CometD), sfstream.WithReplayStore(replaystore.NewMemory()),
		sfstream.WithHTTPClient(&http.Client{Transport: s}), sfstream.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	Must(t, c.Open(t.Context()))
	return c
}
