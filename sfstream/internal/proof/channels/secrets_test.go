package channels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/channels"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

const plantedToken = "00D000000000001!planted-access-token"

// gossip is an org that repeats in its answers all that it was sent. Where it lets lookups pass it
// refuses what follows them.
type gossip struct {
	answer  func(said string) (status int, body string)
	lookups bool
}

func (g *gossip) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
	}
	query, _ := url.QueryUnescape(r.URL.RawQuery)
	status, reply := g.answer(strings.Join([]string{r.Header.Get("Authorization"), r.Header.Get("Cookie"), body, query}, " "))
	// Objects and users are found, and channels that are to be changed or deleted.
	switch {
	case !g.lookups || r.Method != http.MethodGet:
	case strings.HasSuffix(r.URL.Path, "/describe"):
		status, reply = 200, `{"name":"Contact","fields":[{"name":"LastModifiedById"},{"name":"Email"}]}`
	case strings.HasSuffix(r.URL.Path, "/userinfo"):
		status, reply = 200, `{"user_id":"005000000000001AAA"}`
	case strings.HasSuffix(r.URL.Path, "/data/v62.0/query"):
		status, reply = 200, `{"done":true,"records":[{"Id":"0IF000000000001AAA","Name":"Person","Query":"SELECT Id FROM Lead"},{"Id":"0M6000000000001AAA","Name":"/u/planted"}]}`
	case strings.HasSuffix(r.URL.Path, "/tooling/query") && strings.Contains(query, "FROM PlatformEventChannel "):
		status, reply = 200, `{"done":true,"records":[{"Id":"0YL000000000001AAA","DeveloperName":"Person","ChannelType":"data","MasterLabel":"Person__chn"}]}`
	case strings.HasSuffix(r.URL.Path, "/tooling/query"):
		status, reply = 200, `{"done":true,"records":[]}`
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(reply))}, nil
}

// Neither a token nor a value of a query or of a filter is in an error or a log, whatever an org or a
// proxy repeats of it.
func TestNothingPlantedIsShown(t *testing.T) {
	const person = "planted.person@example.com"
	calls := map[string]func(ctx context.Context, c *sfstream.Client) error{
		"PushTopics": func(ctx context.Context, c *sfstream.Client) error {
			topics := channels.NewPushTopics(c)
			_, declared := topics.Declare(ctx, channels.PushTopic{Name: "Person", Query: "SELECT Id FROM Contact WHERE Email = '" + person + "' AND Name != 'planted \\'name'"})
			_, made := topics.Declare(ctx, channels.PushTopic{Name: "Other", Query: "SELECT Id FROM Contact WHERE Email = '" + person + "'"})
			_, built := topics.ForSObject(ctx, "Contact", channels.ExcludeCurrentUser(), channels.RecordType("Student"))
			_, got := topics.Get(ctx, "Nobody")
			return errors.Join(declared, made, built, got, topics.Delete(ctx, "Person"))
		},
		"Generic": func(ctx context.Context, c *sfstream.Client) error {
			generic := channels.NewGeneric(c)
			_, made := generic.Create(ctx, channels.GenericChannel{Name: "/u/new"})
			_, pushed := generic.Push(ctx, "/u/planted", channels.PushEvent{Payload: "hello " + person})
			_, online := generic.Online(ctx, "/u/new")
			return errors.Join(made, pushed, online, generic.Delete(ctx, "/u/new"))
		},
		"Custom": func(ctx context.Context, c *sfstream.Client) error {
			custom := channels.NewCustom(c)
			_, declared := custom.Declare(ctx, channels.CustomChannel{Name: "Person__chn", Members: []channels.Member{{Event: "ContactChangeEvent", Filter: "Email = '" + person + "'"}}})
			_, listed := custom.List(ctx)
			return errors.Join(declared, listed, custom.Delete(ctx, "Person__chn"))
		},
	}
	answers := map[string]func(said string) (int, string){
		"refusal": func(said string) (int, string) {
			text, _ := json.Marshal([]map[string]any{{"errorCode": "MALFORMED_QUERY", "message": "you sent\n" + said}})
			return 400, string(text)
		},
		"page": func(said string) (int, string) { return 403, "<html>" + said },
		"fine": func(said string) (int, string) { return 200, said },
	}
	for room, call := range calls {
		for kind, answer := range answers {
			for _, lookups := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", room, kind, lookups), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var log lab.Log
						auth := authenticator.Static{AccessToken: plantedToken, InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA"}
						client, err := sfstream.New(auth, sfstream.WithAPIVersion("62.0"), sfstream.WithLogger(log.Logger()),
							sfstream.WithHTTPClient(&http.Client{Transport: &gossip{answer, lookups}}))
						lab.Must(t, err)
						defer client.Close()
						lab.Must(t, client.Open(t.Context()))
						err = call(t.Context(), client)
						if err == nil {
							t.Fatal("no error")
						}
						shown := fmt.Sprintf("%v %+v\n%s", err, err, log.String())
						for line := range strings.SplitSeq(shown, "\n") {
							line = strings.ReplaceAll(line, "/u/planted", "") // its name
							for _, secret := range []string{"planted", "person@", "example.com"} {
								if strings.Contains(line, secret) {
									t.Errorf("%q is in: %s", secret, line)
								}
							}
						}
					})
				})
			}
		}
	}
}
