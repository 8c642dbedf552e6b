package sfstream_test

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
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// scriptedMessage is a request message as the scripted server sees it.
type scriptedMessage struct {
	ID           string `json:"id"`
	Channel      string `json:"channel"`
	ClientID     string `json:"clientId"`
	Subscription string `json:"subscription"`
	Ext          struct {
		Replay json.RawMessage `json:"replay"`
	} `json:"ext"`
}

// scriptedOrg is a scripted Bayeux server without network: an http.RoundTripper.
type scriptedOrg struct {
	mu     sync.Mutex
	counts map[string]int // by last part of the channel
	logins int
	answer func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error)
}

func scriptedBody(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body))}
}

func (s *scriptedOrg) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[kind]
}

func (s *scriptedOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet { // the time is asked for, without a login
		resp := scriptedBody(200, `[{"version":"62.0"}]`)
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		return resp, nil
	}
	text, _ := io.ReadAll(r.Body)
	var msgs []scriptedMessage
	if err := json.Unmarshal(text, &msgs); err != nil {
		return nil, err
	}
	kind := strings.TrimPrefix(msgs[0].Channel, "/meta/")
	s.mu.Lock()
	s.counts[kind]++
	n := s.counts[kind]
	s.mu.Unlock()
	<-time.After(time.Millisecond) // a fast network
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if s.answer != nil {
		if resp, err := s.answer(r, kind, n, msgs); resp != nil || err != nil {
			return resp, err
		}
	}
	return scriptedOK(kind, msgs, ""), nil
}

// scriptedOK is success for all messages, with more elements before the replies.
func scriptedOK(kind string, msgs []scriptedMessage, events string) *http.Response {
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
	return scriptedBody(200, "["+strings.Join(parts, ",")+"]")
}

func scriptedFailure(m scriptedMessage, text string) *http.Response {
	return scriptedBody(200, fmt.Sprintf(`[{"channel":%q,"id":%q,"successful":false,"error":%q,"advice":{"reconnect":"handshake","interval":0}}]`, m.Channel, m.ID, text))
}

func scriptedEvent(channel string, id int) string {
	return fmt.Sprintf(`{"channel":%q,"data":{"event":{"createdDate":%q,"replayId":%d,"type":"updated"},"sobject":{"Id":"a00","N__c":%d}}}`,
		channel, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), id, id)
}

// scriptedHold is a connect that has nothing to say.
func scriptedHold(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(110 * time.Second):
		return nil, nil
	}
}

// client is a program that has logged in at the scripted server.
func (s *scriptedOrg) client(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	s.counts = make(map[string]int)
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.logins++
		return &authenticator.Credentials{AccessToken: fmt.Sprintf("SECRET-%d", s.logins), InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"}, nil
	})
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithAPIVersion("62.0"), sfstream.WithTransport(sfstream.CometD), sfstream.WithReplayStore(replaystore.NewMemory()),
		sfstream.WithHTTPClient(&http.Client{Transport: s}), sfstream.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.Open(t.Context()))
	return c
}

// inStreamingBubble runs a test in a bubble, over the Streaming API.
func inStreamingBubble(t *testing.T, run func(t *testing.T)) {
	t.Run("cometd", func(t *testing.T) { synctest.Test(t, run) })
}
