package interop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestADroppedConnectLosesItsBatch proves that the servers do what the tests rely on
// (bayeux/PROTOCOL.md, "Lost replies"): a client that connects again on the same session after a
// dropped connect never sees what the server wrote into the dead one.
func TestADroppedConnectLosesItsBatch(t *testing.T) {
	for _, server := range []string{"cometd", "faye"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			o := startOrg(t, server+".js")
			c := newNaive(t, o)
			c.post(`{"channel":"/meta/subscribe","clientId":"ID","subscription":"/topic/Lab","ext":{"replay":{"/topic/Lab":-1}}}`)
			connect := `{"channel":"/meta/connect","clientId":"ID","connectionType":"long-polling"}`
			held := make(chan struct{})
			go func() {
				defer close(held)
				c.post(connect)
			}()
			o.await("held", func(n int) bool { return n == 1 })
			o.control("drop", object{})
			<-held
			o.publish(lab, 1) // into the dead response
			o.publish(lab, 5)
			var got []float64
			for deadline := time.Now().Add(6 * time.Second); len(got) == 0 || got[len(got)-1] != 6; {
				if time.Now().After(deadline) {
					t.Fatalf("got %v", got)
				}
				got = append(got, c.post(connect)...)
			}
			if len(got) == 6 {
				t.Errorf("nothing was lost: %v", got)
			}
		})
	}
}

// naive is a Bayeux client as many write it.
type naive struct {
	t        *testing.T
	url      string
	token    string
	clientID string
	http     http.Client
}

func newNaive(t *testing.T, o *org) *naive {
	t.Helper()
	jar, err := cookiejar.New(nil)
	check(t, err)
	c := &naive{t: t, url: o.url, http: http.Client{Jar: jar}}
	resp, err := http.PostForm(o.url+"/services/oauth2/token", url.Values{"grant_type": {"password"}, "username": {"u"}, "password": {"p"}})
	check(t, err)
	defer resp.Body.Close()
	var login struct {
		AccessToken string `json:"access_token"`
	}
	check(t, json.NewDecoder(resp.Body).Decode(&login))
	c.token = login.AccessToken
	c.post(`{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}`)
	if c.clientID == "" {
		t.Fatal("no client id")
	}
	return c
}

// post sends a message and returns the numbers of the events in the reply: none where the
// connection breaks.
func (c *naive) post(message string) (numbers []float64) {
	req, err := http.NewRequest(http.MethodPost, c.url+"/cometd/60.0", strings.NewReader("["+strings.ReplaceAll(message, `"ID"`, `"`+c.clientID+`"`)+"]"))
	if err != nil {
		c.t.Error(err)
		return nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	var replies []struct {
		Channel  string
		ClientID string
		Data     struct{ Sobject struct{ N float64 } }
	}
	if err := json.Unmarshal(text, &replies); err != nil {
		c.t.Errorf("%s: %v", text, err)
	}
	for _, reply := range replies {
		if reply.Channel == "/meta/handshake" {
			c.clientID = reply.ClientID
		} else if reply.Channel == lab {
			numbers = append(numbers, reply.Data.Sobject.N)
		}
	}
	return numbers
}
