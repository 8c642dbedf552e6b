package scripted

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
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// Message is a request message as the scripted server sees it.
type Message struct {
	ID           string `json:"id"`
	Channel      string `json:"channel"`
	ClientID     string `json:"clientId"`
	Subscription string `json:"subscription"`
	Ext          struct {
		Replay json.RawMessage `json:"replay"`
	} `json:"ext"`
}

// Org is a Bayeux server without network: an http.RoundTripper.
type Org struct {
	mu     sync.Mutex
	Counts map[string]int // by last part of the channel
	Logins int
	Answer func(r *http.Request, kind string, n int, msgs []Message) (*http.Response, error)
}

// Body is an HTTP response with a status and a body.
func Body(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body))}
}

// Count is how many requests of a kind came in, by the last part of their channel.
func (s *Org) Count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Counts[kind]
}

// RoundTrip answers as the script says, and where it says nothing with success.
func (s *Org) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet { // the time is asked for, without a login
		resp := Body(200, `[{"version":"62.0"}]`)
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		return resp, nil
	}
	text, _ := io.ReadAll(r.Body)
	var msgs []Message
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
	return OK(kind, msgs, ""), nil
}

// OK is success for all messages, with more elements before the replies.
func OK(kind string, msgs []Message, events string) *http.Response {
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
	return Body(200, "["+strings.Join(parts, ",")+"]")
}

// Failure refuses a message, with an error and the advice to shake hands.
func Failure(m Message, text string) *http.Response {
	return Body(200, fmt.Sprintf(`[{"channel":%q,"id":%q,"successful":false,"error":%q,"advice":{"reconnect":"handshake","interval":0}}]`, m.Channel, m.ID, text))
}

// Event is an event of now, as a Bayeux message.
func Event(channel string, id int) string {
	return fmt.Sprintf(`{"channel":%q,"data":{"event":{"createdDate":%q,"replayId":%d,"type":"updated"},"sobject":{"Id":"a00","N__c":%d}}}`,
		channel, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), id, id)
}

// Hold is a connect that has nothing to say.
func Hold(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(110 * time.Second):
		return nil, nil
	}
}

// Client is a program that has logged in at the scripted server.
func (s *Org) Client(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
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
	lab.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	lab.Must(t, c.Open(t.Context()))
	return c
}
